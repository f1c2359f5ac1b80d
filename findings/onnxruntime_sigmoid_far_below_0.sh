#!/usr/bin/env bash
# onnxruntime 1.32.0: Sigmoid on the CPU loses its small values: in float32 7 % off at -14 and exactly 0 at -18 and below, in
# float64 exactly 0 from -40 on (4 % off at -36). The logarithm of such a probability is -inf, where torch has -20 for -20.
#
# The error is small beside 1, not beside the value, though float32 holds sigmoid(-80) and float64 sigmoid(-700). Networks
# are seldom hurt; losses, odds and log probabilities of rare classes are, where they are taken from the probabilities of
# an exported model. Instead: export the logits, and take -Softplus(-x) of them, which is right there.
#
# Seen: onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6:
#   float32 sigmoid(-14): 7.749e-07, right 8.315e-07, 6.8% off
#   float32 sigmoid(-20): 0, right 2.061e-09, 100.0% off
#   float64 sigmoid(-36): 2.22e-16, right 2.32e-16, 4.3% off
#   float64 sigmoid(-40): 0, right 4.248e-18, 100.0% off
#   -Softplus(-x) in float32: [-20. -80.]
"$(dirname "$0")/with_packages" onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6 <<'PYTHON'
import numpy as np
import onnxruntime
from onnx import TensorProto, helper


def computed(names, x):
    kind = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE}[str(x.dtype)]
    places = ["x", *(f"at{number}" for number in range(1, len(names))), "y"]
    nodes = [helper.make_node(name, [a], [b]) for name, a, b in zip(names, places, places[1:])]
    ends = (helper.make_tensor_value_info(name, kind, [None]) for name in "xy")
    graph = helper.make_graph(nodes, "g", *([end] for end in ends))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


for dtype, points in (("float32", (-5, -14, -20)), ("float64", (-36, -40))):
    x = np.array(points, dtype)
    found, right = computed(["Sigmoid"], x), 1 / (1 + np.exp(-x.astype("float64")))
    for value, one, exact in zip(points, found, right):
        print(f"{dtype} sigmoid({value}): {one:.4g}, right {exact:.4g}, {abs(one / exact - 1):.1%} off")
    far = -18 if dtype == "float32" else -40
    assert (found[x <= far] == 0).all(), "changed: small values are kept"
x = np.array([-20, -80], "float32")
print("-Softplus(-x) in float32:", computed(["Neg", "Softplus", "Neg"], x))
PYTHON
