"""The variance of all outputs from that along a few directions and the mean variance of examples that have all.

With orthonormal directions `D [c, r]`, `G = DᵀVD`, and the mean `V̄` of `V/tr V` over some examples,

    V ≈ B G Bᵀ + s(V̄ − BDᵀV̄),    B = V̄D(DᵀV̄D)⁻¹,    s = tr G/tr(DᵀV̄D)

as in the regression of jointly normal variables: outputs that are known along `D` have the rest of `V̄` given these.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_TINY, _ROUNDING = 1e-150, 1e-15


@dataclass(frozen=True)
class Completion:
    """For a batch: `B [n, c, r]`, the `rest` of `V̄` given the directions `[n, c, c]`, and `tr(DᵀV̄D) [n]`."""

    regression: Tensor
    rest: Tensor
    typical: Tensor

    @classmethod
    def of(cls, basis: Tensor, mean_variance: Tensor) -> Completion:
        """For directions `D [n, c, r]`, whose columns may be zero, and a matrix `V̄ [c, c]`."""
        mean, none = mean_variance.to(basis), basis.square().sum(1) == 0
        if basis.shape[1] == basis.shape[2] and not bool(none.any()):
            return cls(basis, torch.zeros_like(basis), torch.ones_like(basis[:, 0, 0]))
        image = mean @ basis
        within = basis.mT @ image
        typical = within.diagonal(dim1=1, dim2=2).sum(-1)
        ridge = torch.diag_embed(none + _ROUNDING * typical[:, None])
        regression = torch.linalg.solve(within + ridge, image.mT).mT
        return cls(regression, mean - regression @ image.mT, typical)

    def whole(self, within: Tensor) -> Tensor:
        """`V [n, c, c]` from `G [n, r, r]`.

        With the identity for `V̄` it is `D G Dᵀ + s(I − DDᵀ)`, `s` the mean of the diagonal of `G`.

        Examples
        --------
        >>> basis, within = torch.eye(3)[None, :, :2], torch.diag(torch.tensor([1.0, 3.0]))[None]
        >>> Completion.of(basis, torch.eye(3)).whole(within)[0].diagonal().tolist()
        [1.0, 3.0, 2.0]
        """
        scale = within.diagonal(dim1=1, dim2=2).sum(-1) / self.typical.clamp(min=_TINY)
        return self.regression @ within @ self.regression.mT + scale[:, None, None] * self.rest


def mean_variance(variance: Tensor, share: Tensor) -> Tensor:
    """The mean `[c, c]` of `V/tr V` of examples `[n, c, c]` that stand for `share [n]` of all."""
    trace = variance.diagonal(dim1=1, dim2=2).sum(-1).clamp(min=_TINY)
    return torch.tensordot(share / trace, variance, 1) / share.sum()
