#!/usr/bin/env bash
# torch 2.13.0, onnxscript 0.7.2, onnx 1.23.2: torch.onnx.export(nn.GELU(), opset_version=26) gives a model that says opset 18
# and holds Gelu, an operator since opset 20: it is no valid model, and onnxruntime refuses it. No error is raised.
#
# Newer opsets than the exporter writes are reached by a converter afterwards, which has no way for Gelu; it logs that the model
# was not modified. But it was written with the operators of opset 20, under the number 18 that it starts from. SiLU, Mish or
# LeakyReLU are converted. Instead: ask for an opset of at most 24, or ask for none.
#
# Seen: torch 2.13.0, onnxscript 0.7.2, onnx 1.23.2:
#   opset 24 asked: opset 24, ['Gelu'], valid
#   opset 26 asked: opset 18, ['Gelu'], No Op registered for Gelu with domain_version of 18
"$(dirname "$0")/with_packages" torch==2.13.0 numpy==2.4.6 onnx==1.23.2 onnxscript==0.7.2 <<'PYTHON'
import logging
import warnings

import onnx
import torch

warnings.simplefilter("ignore")
logging.disable(logging.WARNING)
seen = {}
for asked in (24, 26):
    program = torch.onnx.export(
        torch.nn.GELU().eval(), (torch.randn(2, 3),), dynamo=True, verbose=False, opset_version=asked
    )
    proto = program.model_proto
    version, operators = proto.opset_import[0].version, [node.op_type for node in proto.graph.node]
    try:
        onnx.checker.check_model(proto)
        said = "valid"
    except onnx.checker.ValidationError as error:
        said = str(error).partition("\n")[0]
    seen[asked] = version, said
    print(f"opset {asked} asked: opset {version}, {operators}, {said}")
assert seen[24] == (24, "valid")
assert seen[26][0] == 18, "changed: the model says another opset"
assert seen[26][1].startswith("No Op registered for Gelu"), "changed: the model is valid"
PYTHON
