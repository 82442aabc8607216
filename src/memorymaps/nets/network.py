"""A trained `nn.Module` as a function of its inputs: evaluated without dropout, on its own device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from memorymaps.examples import DataError
from memorymaps.likelihoods import Likelihood
from memorymaps.nets.written import written_out

Forward = Callable[[nn.Module, Any], Tensor]


class NotFiniteError(DataError):
    """A network has no finite output for an example."""


def call(module: nn.Module, inputs: Any) -> Tensor:
    """The usual way to call a module: a mapping as keywords, a tuple as arguments, a tensor alone."""
    if isinstance(inputs, Mapping):
        return _logits(module(**inputs))
    if isinstance(inputs, (tuple, list)):
        return _logits(module(*inputs))
    return _logits(module(inputs))


def _logits(out: Any) -> Tensor:
    """The tensor itself, or the `logits` of a Hugging Face output."""
    return out if isinstance(out, Tensor) else getattr(out, "logits", out)


@dataclass(frozen=True)
class Network:
    """A trained module, how to call it, and what its outputs mean."""

    module: nn.Module
    likelihood: Likelihood
    forward: Forward = call

    def outputs(self, inputs: Any) -> Tensor:
        """`f [n, c]` of inputs that are already on the device.

        Raises
        ------
        DataError
            The output is not one row of numbers an example, or not finite.
        """
        f = self.forward(self.module, inputs)
        if not isinstance(f, Tensor) or f.ndim not in (1, 2) or len(f) != length(inputs):
            got = tuple(f.shape) if isinstance(f, Tensor) else type(f).__name__
            raise DataError(
                f"the network's output is {got} for {length(inputs)} examples: expected a tensor (n,) or (n, c); "
                "pass Laplace(..., forward=lambda net, x: net(x).logits) or the like"
            )
        if not torch.isfinite(f.detach()).all():
            row = int(torch.nonzero(~torch.isfinite(f.detach().reshape(len(f), -1)).all(1))[0, 0])
            raise NotFiniteError(f"the network's output for example {row} of a batch is not finite: {f[row].tolist()}")
        f = f.to(next(self.module.parameters()).dtype)  # autocast goes below the parameters' precision
        return f[:, None] if f.ndim == 1 else f

    @property
    def device(self) -> torch.device:
        """Where the first parameter lives."""
        return next(self.module.parameters()).device

    def place(self, inputs: Any) -> Any:
        """Inputs as tensors on the network's device; floating numbers in the network's precision."""
        first = next(self.module.parameters())
        return tree_map(lambda leaf: _placed(leaf, first), inputs)


def _placed(leaf: Any, like: Tensor) -> Any:
    if isinstance(leaf, np.ndarray):
        leaf = torch.from_numpy(np.ascontiguousarray(leaf))
    if not isinstance(leaf, Tensor):
        return leaf
    wide = leaf.is_floating_point() and leaf.dtype in (torch.float32, torch.float64)
    return leaf.to(like.device, like.dtype if wide else leaf.dtype)


def tree_map(change: Callable[[Any], Any], inputs: Any) -> Any:
    """`change` applied to every leaf of nested mappings, tuples and lists; a data frame becomes one array."""
    if isinstance(inputs, Mapping):
        return {key: tree_map(change, value) for key, value in inputs.items()}
    if isinstance(inputs, (tuple, list)):
        return tuple(tree_map(change, value) for value in inputs)
    if hasattr(inputs, "iloc"):
        inputs = inputs.to_numpy()
    return change(inputs)


def leaves(inputs: Any) -> Iterator[Any]:
    """The arrays and tensors in nested inputs."""
    if isinstance(inputs, Mapping):
        inputs = tuple(inputs.values())
    if isinstance(inputs, (tuple, list)):
        for value in inputs:
            yield from leaves(value)
    elif hasattr(inputs, "shape"):
        yield inputs


def length(inputs: Any) -> int:
    """Number of examples in a batch of inputs."""
    return int(next(leaves(inputs)).shape[0])


def rows(inputs: Any, part: slice) -> Any:
    """Some examples of a batch."""
    n = length(inputs)
    return tree_map(lambda leaf: leaf[part] if hasattr(leaf, "shape") and leaf.shape[:1] == (n,) else leaf, inputs)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Dropout off, BatchNorm at its running statistics, attention and recurrence written out; all is put back after.

    Fused attention can neither be pushed forward, nor differentiated twice, nor batched over examples.
    """
    training = [part for part in module.modules() if part.training]
    fused = torch.backends.mha.get_fastpath_enabled()
    module.eval()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH), written_out(module):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        for part in training:
            part.training = True
