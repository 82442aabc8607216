"""What rounding changes of variances where a posterior precision is ill-conditioned, and the refusal of what is lost.

A variance that is the difference of the prior's `J D⁻¹Jᵀ` and of what rows of the curvature take away is rounded in
proportion to `J D⁻¹Jᵀ`, however small the difference is: over all examples, leverages by about

    10 ε tr(A D⁻¹Aᵀ)    of    Σ_i h_i

(`ε` of double precision; the factor was measured, `benchmarks/networks`). A variance by a Cholesky factor of
`R = L Lᵀ`, the precision with its diagonal scaled to one, is rounded by `ε tr R⁻¹(R − D_R)R⁻¹` in all, `D_R` the
prior's part of it [to first order in a backward error of `ε`: Higham 2002]. An eigenvalue `λ` of a Kronecker factor is
known to the length of `B q − λ q`, which is `ε‖B‖` at worst.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from memorymaps.core.rounding_error import stated, warned

_EPSILON = float(torch.finfo(torch.float64).eps)
OF_DIFFERENCES = 10 * _EPSILON  # of the prior's variance (measured)
_LARGEST = 0.3  # relative error of leverages from which a posterior is refused
WORTH_A_PRODUCT = 1e-4  # of an error's bound, from which it is found itself
_NEGLIGIBLE = 1e-6  # relative error of the smallest eigenvalue below which it is not looked at
_FEW = 1e-6  # effective parameters, fewer of which are zero to rounding

_REMEDY = (
    "scale the inputs (StandardScaler), or increase the prior precision; structure='full' determines more digits, "
    "where parameters are few"
)
_REFUSED = (
    "the posterior precision is too ill-conditioned for double precision: {got}. Expected inputs of about unit size "
    "and a prior precision that is not much smaller than the curvature: " + _REMEDY
)
_CAUTION = "ill-conditioned: rounding may change leverages by {error:.0%}. For exact ones " + _REMEDY


class IllConditionedError(ValueError):
    """Rounding leaves too little of a posterior's variances."""


def relative_rounding(rounding: float, effective: float) -> float:
    """`rounding` of the leverages of all examples together, relative to their sum, the `effective` parameters.

    Raises
    ------
    IllConditionedError
        30 % or more.
    """
    error = rounding / max(effective, _FEW)
    if not error < _LARGEST:
        size = f"{error:.0%}" if error < 1 else "more than their size"
        raise IllConditionedError(_REFUSED.format(got=f"rounding may change leverages by {size}"))
    return error


def with_rounding(error: float | None, rounding: float) -> float | None:
    """A stated relative error, with that of rounding where it is worth stating."""
    return error if stated(rounding) is None else math.hypot(error or 0.0, rounding)


def rounding_cautions(error: float) -> tuple[str, ...]:
    """A caution where rounding may change leverages by a percent or more."""
    return warned(error, _CAUTION)


def cholesky(matrix: Tensor) -> Tensor:
    """The lower triangular factor `L` of a positive definite matrix or of several.

    Raises
    ------
    IllConditionedError
        A matrix that is not positive definite, to rounding.
    """
    lower, failed = torch.linalg.cholesky_ex(matrix)
    if bool(failed.any()):
        raise IllConditionedError(_REFUSED.format(got="its Cholesky factor does not exist, to rounding"))
    return lower


def of_cholesky(inverse: Tensor, scaled_prior: Tensor) -> float:
    """`ε tr R⁻¹(R − D_R)R⁻¹`, of leverages in all, from `L⁻¹ [..., q, q]` and the diagonal of `D_R [..., q]`."""
    bound = _EPSILON * float(torch.linalg.vector_norm(inverse)) ** 2
    if bound < WORTH_A_PRODUCT:
        return bound
    whole = inverse.mT @ inverse
    return bound - _EPSILON * float((whole.square() * scaled_prior[..., None]).sum())


def of_kronecker_eigenvalues(
    values: Tensor, precision: Tensor, first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]
) -> float:
    """What errors `e` of two Kronecker factors' eigenvalues change of leverages in all, `Σ min(1, (λ + e)/s) e/s`.

    `values` are the products `λ [o, d]`, `precision` `s = λ + δ`, and `first`, `second` are factors with their bases.
    """
    largest = float(values.max())
    if _EPSILON * largest * max(values.shape) < _NEGLIGIBLE * float(precision.min()):
        return 0.0
    (own, of_first), (other, of_second) = (_eigenvalues_and_errors(*each) for each in (first, second))
    error = own[:, None] * of_second + of_first[:, None] * (other + of_second)
    return float((((values + error) / precision).clamp(max=1) * error / precision).sum())


def _eigenvalues_and_errors(factor: Tensor, basis: Tensor) -> tuple[Tensor, Tensor]:
    """`qᵀB q` and `‖B q − (qᵀB q)q‖` of every vector `q` of a basis."""
    basis = basis.to(factor)
    turned = factor @ basis
    values = (basis * turned).sum(0)
    return values.clamp(min=0), (turned - basis * values).norm(dim=0)
