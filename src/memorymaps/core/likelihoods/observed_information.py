"""Observed information: the Hessian of the loss itself in place of its expectation, for non-canonical links."""

from __future__ import annotations

from dataclasses import dataclass

from array_api_compat import array_namespace

from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.delegating import DelegatingLikelihood
from memorymaps.core.likelihoods.exponential_family import ExponentialFamily, diagonal_matrix
from memorymaps.core.likelihoods.links import Link


@dataclass(frozen=True)
class ObservedInformation(DelegatingLikelihood):
    """An exponential family whose curvature is `∇²_f ℓ` at the target; `fisher_diagonal` stays the expected one.

    Both agree for canonical links. Leaving an example out changes the Hessian by its own second derivative, so one
    Newton step needs this one. Where the loss is concave, `curvature` is zero; `concave_diagonal` has the rest.

    Examples
    --------
    >>> import numpy as np
    >>> from memorymaps.core.likelihoods.exponential_family import Gamma
    >>> ObservedInformation(Gamma()).curvature(np.array([[0.0]]), np.array([3.0]))  # y/μ
    array([[[3.]]])
    """

    likelihood: ExponentialFamily

    def curvature(self, f: Array, y: Array) -> Array:
        """`diag(max(∇²_f ℓ, 0))`."""
        return diagonal_matrix(array_namespace(f).clip(self.likelihood.observed_diagonal(f, y), min=0))

    def concave_diagonal(self, f: Array, y: Array) -> Array:
        """`max(−∇²_f ℓ, 0)`: `[n, c]`."""
        return array_namespace(f).clip(-self.likelihood.observed_diagonal(f, y), min=0)

    def fisher_diagonal(self, f: Array, y: Array) -> Array:
        """Of the family itself: the expected information, for Pearson residuals."""
        return self.likelihood.fisher_diagonal(f, y)


def has_observed_information(likelihood: object) -> bool:
    """Whether observed and expected information differ, and family and link give the derivatives for it."""
    if not isinstance(likelihood, ExponentialFamily) or isinstance(likelihood.link, likelihood.canonical_links):
        return False
    known = type(likelihood).unit_variance_slope is not ExponentialFamily.unit_variance_slope
    return known and type(likelihood.link).log_derivative_slope is not Link.log_derivative_slope
