"""Checks that gradients and curvature are finite; the errors name layer, example and parameters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from memorymaps.data.examples import DataError


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether all numbers are finite; one device synchronisation unless a sum is not finite."""
    listed = list(tensors)
    sums = torch.stack([each.detach().sum() for each in listed])
    return bool(torch.isfinite(sums).all()) or all(bool(torch.isfinite(each).all()) for each in listed)


def check_rows(values: Tensor, what: str, names: Sequence[str], start: int = 0) -> None:
    """Raise `DataError` for the first row of `values [n, …]` that is not finite; rows are numbered from `start`."""
    if all_finite([values]):
        return
    row = start + int(torch.nonzero(~torch.isfinite(values).flatten(1).all(1))[0, 0])
    raise DataError(
        f"{what} not finite for example {row} of a batch although the network's output is, as gradients of √ and of "
        "norms are at 0: avoid 0 (√(x + 1e-12)), leave the example out, or keep "
        f"{', '.join(names)} fixed: Laplace(subset=[...])"
    )


def check_factors(*factors: Tensor) -> None:
    """Raise `DataError` if sums of squared gradients have overflowed."""
    if not all_finite(factors):
        shape = " × ".join(str(factor.shape[0]) for factor in factors)
        raise DataError(
            f"the curvature of a layer ({shape}) is not finite: squares of its gradients overflow. "
            "Scale the network's outputs down, or give it double precision: net.double()"
        )
