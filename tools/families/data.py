"""The training data that the families share: 40 examples, three features, a target of each kind; fixed seed."""

from __future__ import annotations

import numpy as np

N = 40
_rng = np.random.default_rng(11)
X = _rng.normal(size=(N, 3))
REAL = 1.5 + X @ [1.0, -0.7, 0.3] + 0.5 * _rng.normal(size=N)
REAL[7] += 4  # one outlier
TWO = np.stack([REAL, np.sin(REAL) + 0.2 * X[:, 1]], axis=1)
BIT = (X[:, 0] + _rng.logistic(size=N) > 0).astype(int)
LABEL = np.where(BIT == 1, "yes", "no")
THREE = np.array(["a", "b", "c"])[np.argmax(X + _rng.gumbel(size=(N, 3)), axis=1)]
CODE = np.unique(THREE, return_inverse=True)[1]
ORDERED = np.digitize(REAL + _rng.logistic(size=N), [0.0, 1.5, 3.0])
COUNT = _rng.poisson(np.exp(0.5 * X[:, 0] + 1)).astype(float)
POSITIVE = _rng.gamma(3.0, np.exp(0.4 * X[:, 0]) / 3)
TIME = _rng.exponential(np.exp(-0.5 * X[:, 0])).round(1) + 0.1  # with ties
EVENT = (_rng.random(N) < 0.7).astype(float)
WEIGHT = _rng.uniform(0.5, 2.0, N)
IDS = np.array([f"row {k:02d}" for k in range(N)])
OFFSET = 0.1 * X[:, 2]

# trees: more rows on few values, so that every library sees the same bins
_many = np.random.default_rng(12)
TREE_X = _many.integers(0, 20, (120, 3)).astype(float)
TREE_REAL = TREE_X[:, 0] / 5 + np.sin(TREE_X[:, 1] / 3) + 0.3 * _many.normal(size=120)
TREE_BIT = (TREE_REAL + _many.normal(size=120) > TREE_REAL.mean()).astype(int)
TREE_LABEL = np.where(TREE_BIT == 1, "yes", "no")
TREE_COUNT = _many.poisson(np.exp(0.3 * TREE_REAL)).astype(float)
TREE_THREE = np.digitize(TREE_REAL, np.quantile(TREE_REAL, [0.3, 0.7]))
TREE_WEIGHT = _many.uniform(0.5, 2.0, 120)
TREE_HOLES = np.where(_many.random(TREE_X.shape) < 0.2, np.nan, TREE_X)
