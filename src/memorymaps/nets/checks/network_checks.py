"""All checks of a network and its likelihood on a few examples, before the first pass over the data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from memorymaps.core.arrays import Batch
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.core.likelihoods.expected import ExpectedLikelihood
from memorymaps.data.examples import DataError
from memorymaps.nets.autograd.network import Network, evaluation_mode
from memorymaps.nets.autograd.pytree import length, take_rows
from memorymaps.nets.checks.batch_independence import (
    check_losses_independent,
    check_outputs_independent,
    check_outputs_repeatable,
)
from memorymaps.nets.checks.gradient_reach import check_gradients_reach
from memorymaps.nets.checks.output_scale import check_output_scale
from memorymaps.posteriors.origin import check_targets

_ROWS = 6  # examples, spread over the first batch


def check_network(network: Network, covered: Sequence[str], batch: Batch) -> torch.dtype:
    """Raise for a network of which no map can be right, by its behaviour on a few examples of the first batch.

    Returns the floating-point type in which it computes its outputs (autocast lowers it).

    Raises
    ------
    DataError
        Outputs or losses that depend on the batch, outputs on another scale.
    ValueError
        Covered parameters without gradient.
    TargetError
        Targets that the likelihood does not allow.
    """
    rows = _spread(length(batch.inputs))
    inputs = network.to_device(take_rows(batch.inputs, rows))
    dtype = check_outputs_repeatable(network, inputs)
    check_gradients_reach(network, covered, inputs)
    check_outputs_independent(network, inputs, dtype)
    likelihood = _at_the_mean(network.likelihood)
    with torch.enable_grad():
        f = network.outputs(inputs)
    check_output_scale(likelihood, f)
    few = batch.take_slice(rows, inputs)
    check_targets(likelihood, few, f.shape[1])
    check_losses_independent(likelihood, f.detach().double(), torch.as_tensor(few.target, device=f.device))
    return dtype


def check_outputs(network: Network, inputs: Any) -> None:
    """Raise for outputs that are random, depend on the batch, or are on another scale, by a few of these examples.

    For networks whose posterior is made elsewhere: ensembles, dropout, other packages.

    Raises
    ------
    DataError
        They are.
    """
    few = network.to_device(take_rows(inputs, _spread(length(inputs))))
    with evaluation_mode(network.module):
        check_outputs_independent(network, few, check_outputs_repeatable(network, few))
        with torch.enable_grad():
            check_output_scale(_at_the_mean(network.likelihood), network.outputs(few))


def _spread(n: int) -> slice:
    """Every k-th row, six at most."""
    step = max(1, n // _ROWS)
    return slice(0, step * min(n, _ROWS), step)


def _at_the_mean(likelihood: Any) -> Likelihood:
    """The likelihood inside one that averages over the posterior."""
    return likelihood.likelihood if isinstance(likelihood, ExpectedLikelihood) else likelihood


def check_parameters(network: Network) -> None:
    """Raise `DataError` for a trained parameter with values that are not finite, by name."""
    for name, value in network.module.named_parameters():
        if value.requires_grad and not bool(torch.isfinite(value.detach()).all()):
            count = int((~torch.isfinite(value.detach())).sum())
            raise DataError(
                f"parameter {name!r} has {count:,} of {value.numel():,} values that are not finite: training has "
                "diverged. Load an earlier state, net.load_state_dict(...), or train again with a smaller rate"
            )
