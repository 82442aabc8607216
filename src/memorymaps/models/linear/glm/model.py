"""A fitted linear predictor `f = Bᵀx + offset` as plain data, made by the adapters of libraries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from memorymaps.core.arrays import Array, Batch
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.core.likelihoods.exponential_family import Gaussian
from memorymaps.core.likelihoods.links import Identity
from memorymaps.data.examples import DataError


@dataclass(frozen=True)
class LinearModel:
    """A fitted linear predictor as plain data, made by the adapters of libraries.

    Attributes
    ----------
    coefficients : `[p, c]`, in the columns of `design`.
    design : inputs → features `x [n, p]`, intercept included.
    penalty : total weight `Σw` → `δ [p, c]`, the ridge on each parameter in units where the dispersion is 1; whether it
        grows with the weight decides what a removed example takes of it along.
    free : `[p, c]`, True for parameters that are estimated; the others are fixed (at zero by an L1 penalty).
    dispersion : `φ` where the fit gives it; `None`: 1 if `dispersion_known`, else Pearson's estimate `χ²/(n − tr H)`.
    dispersion_known : True: `φ` is a constant of the model (Poisson, Bernoulli). False: it was estimated from the data,
        which the map states; left-out losses hold it at its value, and classical measures estimate it without the
        example where `residual_df` is known.
    residual_df : degrees of freedom belonging to a given `dispersion`; `None`: not known (chosen by the evidence).
    notes, cautions : sentences for the map's summary; cautions are printed as warnings.
    hyperparameters_held : those that the fit chose from the data, as `"alpha, by cross-validation"`: a removal holds
        them at their values.
    l1 : total weight `Σw` → `λ [p, c]`, the L1 penalty on each parameter; `None`: no such penalty.
    shrinkable : `[p, c]`, parameters that an L1 penalty or a sign constraint may hold at zero; `None`: none.
    positive : whether `shrinkable` parameters are constrained to be ≥ 0.
    closed_form : whether the solver ends at the optimum up to rounding.
    stochastic : whether it may end anywhere (stochastic gradients): its distance says nothing about the data.
    to_original : changes of the coefficients `[..., p, c]` → of those of the model's own columns (see `coordinates`),
        whose names `parameters` are.
    prior_variance : variance that the prior alone determines, outside of these coordinates (see `row_space`).
    rank : directions that the fit itself kept of each output's design, where it says so.
    """

    name: str
    likelihood: Likelihood
    coefficients: Array
    design: Callable[[Any], Array]
    parameters: tuple[str, ...]
    penalty: Callable[[float], Array]
    free: Array
    prior: str = "none"
    dispersion: float | tuple[float, ...] | None = None
    dispersion_known: bool = True
    residual_df: float | None = None
    classes: tuple[Any, ...] = ()
    notes: tuple[str, ...] = ()
    cautions: tuple[str, ...] = ()
    hyperparameters_held: str = ""
    l1: Callable[[float], Array] | None = None
    shrinkable: Array | None = None
    positive: bool = False
    closed_form: bool = False
    stochastic: bool = False
    to_original: Callable[[Array], Array] | None = None
    prior_variance: OutsideVariance | None = None
    rank: FittedRank | None = None

    @property
    def is_sparse(self) -> bool:
        """Whether an L1 penalty or a sign constraint may hold parameters at zero."""
        return self.l1 is not None or self.shrinkable is not None


@dataclass(frozen=True)
class FittedRank:
    """Directions that a fit kept of its design, and what to do where it dropped some that others would keep.

    Attributes
    ----------
    kept : number of directions, the intercept's included.
    rule : which it drops, as "singular values below 1e-15 of the largest".
    remedy : with which it keeps them.
    """

    kept: int
    rule: str
    remedy: str


class OutsideVariance(Protocol):
    """Variance outside the coordinates of a linear model, at unit dispersion."""

    def of_outputs(self, inputs: Any) -> Array:
        """`[n, c]`."""

    def of_parameters(self) -> Array:
        """`[p, c]`, of the model's own columns."""


def check_coefficients(model: LinearModel) -> None:
    """Raise `DataError` for coefficients that are not finite."""
    bad = ~np.all(np.isfinite(model.coefficients), axis=1)
    if np.any(bad):
        names = [name for name, is_bad in zip(model.parameters, bad, strict=True) if is_bad]
        raise DataError(
            f"{model.name} has coefficients that are not finite, of {', '.join(names[:5])}: the fit has diverged or "
            "was edited. Expected finite numbers: scale the features and fit again"
        )


def is_quadratic(likelihood: Likelihood) -> bool:
    """Whether one Newton step reaches the optimum: a Gaussian with the identity link."""
    return isinstance(likelihood, Gaussian) and isinstance(likelihood.link, Identity)


def linear_outputs(model: LinearModel, batch: Batch) -> tuple[Array, Array, Array]:
    """Features `x [n, p]`, outputs `f [n, c]` and weights `[n]` of a batch."""
    x = model.design(batch.inputs)
    f = linear_predictor(x, model.coefficients, batch)
    return x, f, np.ones(len(f)) if batch.weight is None else batch.weight


def linear_predictor(x: Array, coefficients: Array, batch: Batch) -> Array:
    """`Bᵀx + offset [n, c]`."""
    f = x @ coefficients
    return f if batch.offset is None else f + np.reshape(batch.offset, (len(f), -1))
