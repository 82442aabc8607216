"""Posteriors given by draws, conjugate families, and state space models."""

from __future__ import annotations

from typing import Any

import arviz
import numpy as np
import torch
import xarray
from torch import nn

from families import data as d
from families.family import Call, Families, call
from families.lookup import find

_NOISE, _DELTA, _DRAWS = 0.5, 2.0, 200


def _linear_draws() -> Any:
    """Exact draws of a linear model's outputs, `[s, n]`."""
    precision = d.X.T @ d.X / _NOISE + _DELTA * np.eye(3)
    mean = np.linalg.solve(precision, d.X.T @ d.REAL / _NOISE)
    slopes = np.random.default_rng(3).multivariate_normal(mean, np.linalg.inv(precision), size=_DRAWS)
    return slopes @ d.X.T


def _drawn(likelihood: Any, f: Any, y: Any, importance: Any = None) -> Call:
    return call(find("Draws")(f, likelihood, importance), d.X[: len(y)], y)


def _logits(c: int) -> Any:
    slopes = np.random.default_rng(4).normal(0.8, 0.4, size=(_DRAWS, 3, c))
    return np.einsum("np,spc->snc", d.X, slopes)


def _arviz() -> Call:
    f = _linear_draws().reshape(4, -1, d.N)
    logs = -0.5 * (np.log(2 * np.pi * _NOISE) + (d.REAL - f) ** 2 / _NOISE)
    data = arviz.from_dict(posterior={"mu": f}, log_likelihood={"y": logs}, observed_data={"y": d.REAL})
    return call(find("from_arviz")(data, "mu", find("Gaussian")(_NOISE), y="y", log_likelihood="y"))


def _tree() -> Call:
    groups = {
        "posterior": xarray.Dataset({"mu": (("chain", "draw", "n"), _linear_draws().reshape(4, -1, d.N))}),
        "observed_data": xarray.Dataset({"y": (("n",), d.REAL)}),
    }
    return call(find("from_arviz")(xarray.DataTree.from_dict(groups), "mu", find("Gaussian")(_NOISE), y="y"))


def _net(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Dropout(0.3), nn.Linear(5, 3)).double()


def _ensemble() -> Call:
    return call(find("ensemble")([_net(k) for k in range(6)], find("Categorical")()), d.X, d.CODE)


def _expected_ensemble() -> Call:
    likelihood = find("Expected")(find("Categorical")())
    return call(find("ensemble")([_net(k) for k in range(6)], likelihood), d.X[:12], d.CODE[:12])


def _snapshots() -> Call:
    states = [_net(k).state_dict() for k in range(5)]
    return call(find("snapshots")(_net(0), states, find("Categorical")()), d.X, d.CODE)


def _dropout() -> Call:
    return call(find("mc_dropout")(_net(0), find("Categorical")(), draws=20), d.X, d.CODE)


def _sampler() -> Call:
    slopes = np.random.default_rng(5).normal(1.0, 0.2, size=_DRAWS)
    made = find("Sampler")(lambda x: slopes[:, None] * x[:, 0] + 1.0, find("Gaussian")(0.25))
    return call(made, d.X, d.REAL)


_SERIES = np.cumsum(np.random.default_rng(6).normal(size=(30, 2)), axis=0)
_LEVEL = ([[1.0]], [[1.0]], [[0.1]], [[1.0]], [0.0], [[10.0]])
_MOVING = (
    [[1.0, 1.0], [0.0, 1.0]], [[1.0, 0.0], [0.5, 0.3]], [[0.2, 0.0], [0.0, 0.1]], [[1.0, 0.2], [0.2, 0.8]],
    [0.0, 0.0], [[4.0, 0.0], [0.0, 1.0]],
)  # fmt: skip

FAMILIES: Families = {
    "draws gaussian": lambda: _drawn(find("Gaussian")(_NOISE), _linear_draws(), d.REAL),
    "draws gaussian psis": lambda: _drawn(find("Gaussian")(_NOISE), _linear_draws(), d.REAL, find("psis")),
    "draws bernoulli psis": lambda: _drawn(find("Bernoulli")(), _logits(1), d.BIT.astype(float), find("psis")),
    "draws categorical": lambda: _drawn(find("Categorical")(), _logits(3), d.CODE),
    "draws expected categorical": lambda: _drawn(
        find("Expected")(find("Categorical")()), _logits(3)[:, :12], d.CODE[:12]
    ),
    "draws poisson": lambda: _drawn(find("Poisson")(), _logits(1) * 0.5, d.COUNT),
    "draws sampler": _sampler,
    "draws arviz": _arviz,
    "draws xarray tree": _tree,
    "draws ensemble": _ensemble,
    "draws ensemble expected": _expected_ensemble,
    "draws snapshots": _snapshots,
    "draws mc_dropout": _dropout,
    "conjugate BetaBernoulli": lambda: call(find("BetaBernoulli")(1.5, 2.0).given(d.BIT)),
    "conjugate BetaBernoulli vector": lambda: call(
        find("BetaBernoulli")([1.0, 2.0], [1.0, 1.0]).given((d.TWO > 1).astype(float))
    ),
    "conjugate DirichletCategorical": lambda: call(find("DirichletCategorical")([1.0, 2.0, 0.5]).given(d.CODE)),
    "conjugate GammaPoisson": lambda: call(find("GammaPoisson")(2.0, 1.0).given(d.COUNT, sample_weight=d.WEIGHT)),
    "conjugate NormalMean": lambda: call(find("NormalMean")(0.0, 4.0, 0.7).given(d.REAL)),
    "conjugate NormalMean vector": lambda: call(
        find("NormalMean")([0.0, 0.0], 4.0, [[1.0, 0.3], [0.3, 0.5]]).given(d.TWO)
    ),
    "conjugate NormalWishart": lambda: call(find("NormalWishart")(0.0, 1.0, 2.0, 1.0).given(d.REAL)),
    "conjugate NormalWishart vector": lambda: call(
        find("NormalWishart")([0.0, 0.0], 1.0, 3.0, [1.0, 1.0]).given(d.TWO)
    ),
    "state space level": lambda: call(find("StateSpace")(*_LEVEL).given(_SERIES[:, 0])),
    "state space two outputs": lambda: call(find("StateSpace")(*_MOVING).given(_SERIES)),
}
