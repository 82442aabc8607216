"""One input, one value of a Gaussian process's mean and kernel, whatever else is evaluated with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from memorymaps.data.examples import DataError
from memorymaps.nets.autograd.pytree import length, take_rows
from memorymaps.nets.checks.batch_independence import arrangements
from memorymaps.nets.checks.tolerance import difference_beyond
from memorymaps.nets.random_state import PrivateRandomState

if TYPE_CHECKING:
    from memorymaps.nets.interop.gpytorch_exact import GPPrior

_FEW = 6


def check_prior(prior: GPPrior, inputs: Any) -> None:
    """Raise unless mean and covariance of a few examples are the same in another batch and order.

    Raises
    ------
    DataError
        The model's `forward` is random, or its features depend on the batch.
    """
    x = prior.tensor(take_rows(inputs, slice(0, min(_FEW, length(inputs)))))
    whole, kind, dtype = prior.joint(x), type(prior.model).__name__, next(prior.model.parameters()).dtype
    with PrivateRandomState():
        changed = _difference(prior.joint(x), whole, dtype)
    if changed:
        raise DataError(
            f"the forward of {kind} is random: mean or covariance of the same examples differ by {changed:.2g}. "
            "Expected functions of the inputs: draw random features once, in __init__, self.register_buffer(…)"
        )
    for what, rows in arrangements(len(x)):
        changed = _difference(prior.joint(x[rows]), _at(whole, rows, len(x)), dtype)
        if changed:
            raise DataError(
                f"the forward of {kind}: mean or covariance of an example changes by {changed:.2g} {what}: examples of "
                "a batch influence each other, as by features that are centred or scaled by the batch. Expected "
                "functions of each input: store the statistics of the training data, self.register_buffer('mean', "
                "x.mean(0)), as BatchNorm does"
            )


def _difference(found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor], dtype: torch.dtype) -> float:
    return max(difference_beyond(a, b, dtype) for a, b in zip(found, expected, strict=True))


def _at(joint: tuple[Tensor, Tensor], rows: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Mean and covariance of some of `n` examples; tasks of an example are adjacent in the covariance."""
    mean, covariance = joint
    tasks = covariance.shape[-1] // n
    places = (rows[:, None] * tasks + torch.arange(tasks)).reshape(-1).to(covariance.device)
    found = mean[rows] if tasks > 1 else mean[..., rows]
    return found, covariance[..., places[:, None], places]
