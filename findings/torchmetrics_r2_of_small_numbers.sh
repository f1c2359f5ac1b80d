#!/usr/bin/env bash
# torchmetrics 1.9.0: R2Score of small numbers is 1 whatever is predicted, and of numbers far from 0 it is off.
#
# A sum of squares below 1e-4 counts as 0, in the unit of the target: 100 values of deviation 1e-4, such as metres of a
# tenth of a millimetre, are "explained" in full by a prediction that has nothing to do with them. And the sums are
# taken in float32 about 0 and not about the mean, so at 3000 ± 1 no digit is right. scikit-learn has neither.
# Instead: both sums about the mean, in double precision.
#
# Seen: torchmetrics 1.9.0, torch 2.13.0, scikit-learn 1.9.1:
#   deviation 0.0001 about 0: R² 1, scikit-learn -1.062
#   deviation 1 about 3000: R² 0, scikit-learn -1.076
"$(dirname "$0")/with_packages" torch==2.13.0 torchmetrics==1.9.0 scikit-learn==1.9.1 <<'PYTHON'
import torch
from sklearn.metrics import r2_score
from torchmetrics import R2Score

torch.manual_seed(0)
for deviation, level in ((1e-4, 0.0), (1.0, 3000.0)):
    truth, answer = (level + deviation * torch.randn(100) for _ in range(2))
    found, wanted = float(R2Score()(answer, truth)), r2_score(truth.double(), answer.double())
    print(f"deviation {deviation:g} about {level:g}: R² {found:.4g}, scikit-learn {wanted:.4g}")
    assert abs(found - wanted) > 0.02, "changed: it is scikit-learn's"
PYTHON
