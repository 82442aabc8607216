"""What scikit-learn spells, or does, otherwise in the releases that this package supports (1.5 on)."""

import re

import sklearn
from sklearn.linear_model import LogisticRegressionCV

RELEASE = tuple(int(part) for part in re.findall(r"\d+", sklearn.__version__)[:2])
RATIOS = "use_legacy_attributes" in LogisticRegressionCV().get_params()  # since 1.8 `l1_ratio` alone says the penalty
LASSO = {"l1_ratio": 1.0} if RATIOS else {"penalty": "l1"}
RIDGE_CV = {"l1_ratios": (0.0,), "use_legacy_attributes": False} if RATIOS else {}
RIDGE_BY_RATIO_CV = {"l1_ratios": (0.0,)} if RATIOS else {}
MULTINOMIAL_NEWTON_CHOLESKY = RELEASE >= (1, 6)  # one-versus-rest before
MULTINOMIAL_SOLVER = "newton-cholesky" if MULTINOMIAL_NEWTON_CHOLESKY else "newton-cg"
