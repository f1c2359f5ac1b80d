#!/usr/bin/env bash
# torchmetrics 1.9.0: Matthews' correlation of a constant answer is 0.267, 0.292 or 0.9985 with two classes, the rarer the
# other class the closer to 1, and 1 where truth and answer are one class alone; with three classes it is 0.
#
# MulticlassMatthewsCorrCoef(2) replaces a denominator of 0 by small numbers (epsilon of float32), and the numerator too.
# The answer of a network that has learned nothing so looks like a good one, just where MCC is chosen: rare classes.
# scikit-learn gives 0 wherever the denominator is 0. Instead: a confusion matrix, and 0 where the denominator is 0.
#
# Seen: torchmetrics 1.9.0, torch 2.13.0, scikit-learn 1.9.1:
#   90 of class 0, 10 of class 1: 2 classes 0.2667, 3 classes 0, scikit-learn 0
#   190 of class 0, 10 of class 1: 2 classes 0.292, 3 classes 0, scikit-learn 0
#   999 of class 0, 1 of class 1: 2 classes 0.9985, 3 classes 0, scikit-learn 0
"$(dirname "$0")/with_packages" torch==2.13.0 torchmetrics==1.9.0 scikit-learn==1.9.1 <<'PYTHON'
import torch
from sklearn.metrics import matthews_corrcoef
from torchmetrics.classification import MulticlassMatthewsCorrCoef

for common, rare in ((90, 10), (190, 10), (999, 1)):
    truth = torch.tensor([0] * common + [1] * rare)
    answer = torch.zeros_like(truth)
    two, three = (float(MulticlassMatthewsCorrCoef(classes)(answer, truth)) for classes in (2, 3))
    other = matthews_corrcoef(truth, answer)
    print(f"{common} of class 0, {rare} of class 1: 2 classes {two:.4g}, 3 classes {three:g}, scikit-learn {other:g}")
    assert two > 0.2, "changed: a constant answer of two classes has no correlation"
    assert three == other == 0
PYTHON
