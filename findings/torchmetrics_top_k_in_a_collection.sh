#!/usr/bin/env bash
# torchmetrics 1.9.0: in a MetricCollection top-5 accuracy is top-1 accuracy for good once a first batch was all right.
#
# After the first batch a collection takes metrics for one whose states are equal, and updates only one of them from
# then on. MulticlassAccuracy(top_k=5) and MulticlassF1Score hold the same four counts by class; where the first batch
# is answered rightly throughout, as one of an easy class may be, they are equal though they count different things.
# That metrics of other arguments are merged by the luck of a batch, without a word, is not what compute groups say of
# themselves. Instead: compute_groups=False, or metrics whose states differ in name or shape.
#
# Seen: torchmetrics 1.9.0, torch 2.13.0: in a collection 0.5, alone 1
"$(dirname "$0")/with_packages" torch==2.13.0 torchmetrics==1.9.0 <<'PYTHON'
import torch
from torch.nn.functional import one_hot
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score


def metrics():
    return {"top5": MulticlassAccuracy(10, top_k=5, average="micro"), "f1": MulticlassF1Score(10, average="macro")}


truth = torch.arange(10)
right = one_hot(truth, 10).float()
second = right + 2 * one_hot((truth + 1) % 10, 10)
together, alone = MetricCollection(metrics()), metrics()["top5"]
for logits in (right, second):
    together.update(logits, truth)
    alone.update(logits, truth)
found, wanted = float(together.compute()["top5"]), float(alone.compute())
print(f"in a collection {found:g}, alone {wanted:g}")
assert wanted == 1
assert found == 0.5, "changed: the collection keeps them apart"
PYTHON
