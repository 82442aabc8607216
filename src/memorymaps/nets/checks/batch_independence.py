"""One example, one output row and one loss, whatever else is in its batch: asked of the network and of the loss.

The same examples are evaluated again, in reverse order, each among copies of itself, and without the last one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.data.examples import DataError
from memorymaps.nets.autograd.network import Network
from memorymaps.nets.autograd.parameter_owners import has_batch_axis
from memorymaps.nets.autograd.pytree import length, tree_map
from memorymaps.nets.checks.tolerance import difference_beyond
from memorymaps.nets.random_state import PrivateRandomState


def check_outputs_repeatable(network: Network, inputs: Any) -> torch.dtype:
    """Raise unless two calls on the same inputs give the same outputs; returns their floating-point type.

    Raises
    ------
    DataError
        The forward pass is random.
    """
    with torch.no_grad(), PrivateRandomState():
        raw = network.forward(network.module, inputs)
        f = network.outputs(inputs)
        changed = difference_beyond(f, network.outputs(inputs), raw.dtype)
    if changed:
        raise DataError(_random_message(changed, f))
    dtype: torch.dtype = raw.dtype
    return dtype


def check_outputs_independent(network: Network, inputs: Any, dtype: torch.dtype) -> None:
    """Raise unless outputs, computed in `dtype`, are a function of each example's own inputs.

    Raises
    ------
    DataError
        Examples of a batch influence each other.
    """
    with torch.no_grad():
        f = network.outputs(inputs)
        for what, rows in arrangements(len(f)):
            changed = difference_beyond(network.outputs(_rows(inputs, rows)), f[rows], dtype)
            if changed:
                raise DataError(_influence_message(what, changed, f))


def check_losses_independent(likelihood: Likelihood, f: Tensor, y: Tensor) -> None:
    """Raise unless losses are a function of each example's own outputs `f [n, c]` and target.

    Raises
    ------
    DataError
        The loss of an example depends on the other examples of its batch, or is random.
    """
    with PrivateRandomState():
        losses = likelihood.nll(f, y)
        changed = difference_beyond(likelihood.nll(f, y), losses, losses.dtype)
        if changed:
            raise DataError(
                f"the loss is random: two calls on the same outputs and targets differ by {changed:.2g}. Expected a "
                "function of f and y: draw its random numbers once, outside of it"
            )
        for what, rows in arrangements(len(f)):
            changed = difference_beyond(likelihood.nll(f[rows], y[rows]), losses[rows], losses.dtype)
            if changed:
                raise DataError(_coupled_loss_message(what, changed, losses))


def arrangements(n: int) -> Iterator[tuple[str, Tensor]]:
    """Descriptions and rows of the batches in which the examples are seen again."""
    yield "among copies of itself", torch.zeros(n, dtype=torch.long)
    if n > 1:
        yield "in reverse order", torch.arange(n).flip(0)
        yield "in a smaller batch", torch.arange(n - 1)
    else:
        yield "in a larger batch", torch.zeros(2, dtype=torch.long)


def _rows(inputs: Any, rows: Tensor) -> Any:
    n = length(inputs)
    select: Callable[[Any], Any] = lambda leaf: leaf[rows.to(leaf.device)] if has_batch_axis(leaf, n) else leaf  # noqa: E731
    return tree_map(select, inputs)


def _random_message(changed: float, f: Tensor) -> str:
    return (
        f"the network's output is random: two calls on the same examples differ by {changed:.2g} (outputs up to "
        f"{float(f.abs().max()):.2g}), as sampling in the forward pass (a variational autoencoder's, dropout with "
        "training=True) makes it. Expected a function of the inputs: return the mean in eval mode, or call the part "
        "without sampling, Laplace(forward=lambda net, x: …); memorymaps.nets.mc_dropout(net, likelihood) maps dropout"
    )


def _influence_message(what: str, changed: float, f: Tensor) -> str:
    return (
        f"the output for an example changes by {changed:.2g} (outputs up to {float(f.abs().max()):.2g}) {what}: "
        "examples of a batch influence each other, as by batch statistics, attention across it, dynamic quantisation "
        "(int8: pass the network it was made from) or f − f.mean(0). "
        "Expected one output row for each example, whatever its batch: store the statistic as a buffer, as BatchNorm "
        "does, or pass the part before it, Laplace(forward=lambda net, x: …)"
    )


def _coupled_loss_message(what: str, changed: float, losses: Tensor) -> str:
    return (
        f"the loss of an example changes by {changed:.2g} (losses up to {float(losses.abs().max()):.2g}) {what}: it "
        "depends on the other examples of its batch, as a mean over the batch, a contrastive loss (InfoNCE) or Cox's "
        "partial likelihood do. Expected a loss of each example's own outputs and target: reduction='none' for a mean, "
        "fixed negatives as outputs for a contrastive loss, statsmodels' PHReg for Cox's"
    )
