"""A trained `nn.Module` as a function of its inputs: in evaluation mode, on its own device."""

from __future__ import annotations

import dataclasses
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.data.examples import DataError
from memorymaps.nets.autograd.layers.compiled import eager_modules
from memorymaps.nets.autograd.layers.decompositions import decomposed_layers
from memorymaps.nets.autograd.layers.group_norm import ContiguousGroupNorms
from memorymaps.nets.autograd.pytree import as_tensor_like, length, tree_map

_PROCESS_LOCK = threading.RLock()


Forward = Callable[[nn.Module, Any], Tensor]


class NotFiniteError(DataError):
    """The network's output for an example is not finite."""


def call_module(module: nn.Module, inputs: Any) -> Tensor:
    """Call a module on its inputs: a mapping as keyword arguments, a tuple as positional ones, else one argument."""
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
    """A trained module, its likelihood, and the function that calls it on a batch of inputs.

    `columns`: names of the training data's columns, if it is a data frame; other frames are brought into their order.
    """

    module: nn.Module
    likelihood: Likelihood
    forward: Forward = call_module
    columns: tuple[Any, ...] = ()

    def with_columns_of(self, inputs: Any) -> Self:
        """The network for data frames with the columns of `inputs`; itself for other inputs."""
        columns = tuple(getattr(inputs, "columns", ()))
        return dataclasses.replace(self, columns=columns) if columns else self

    def outputs(self, inputs: Any) -> Tensor:
        """Outputs `f [n, c]` for inputs on the network's device.

        Raises
        ------
        DataError
            The output is not one row of numbers an example, or not finite.
        """
        with ContiguousGroupNorms():
            f = self.forward(self.module, inputs)
        if not isinstance(f, Tensor) or f.ndim not in (1, 2) or len(f) != length(inputs):
            raise DataError(_odd_output(f, length(inputs)))
        if not torch.isfinite(f.detach()).all():
            row = int(torch.nonzero(~torch.isfinite(f.detach().reshape(len(f), -1)).all(1))[0, 0])
            raise NotFiniteError(
                f"the network's output for example {row} of a batch is not finite: {f[row].tolist()}. Load an earlier "
                "state, or drop the example"
            )
        f = f.to(next(self.module.parameters()).dtype)  # autocast lowers it
        return f[:, None] if f.ndim == 1 else f

    @property
    def device(self) -> torch.device:
        """Device of the first parameter."""
        return next(self.module.parameters()).device

    def to_device(self, inputs: Any) -> Any:
        """Inputs as tensors on the network's device; floating-point numbers in the network's dtype.

        Raises
        ------
        DataError
            A data frame lacks columns of the training data.
        """
        first = next(self.module.parameters())
        return tree_map(lambda leaf: as_tensor_like(leaf, first), self._ordered(inputs))

    def _ordered(self, inputs: Any) -> Any:
        columns = tuple(getattr(inputs, "columns", self.columns))
        if not self.columns or columns == self.columns:
            return inputs
        missing = [name for name in self.columns if name not in columns]
        if missing:
            raise DataError(f"the data frame lacks columns of the training data, {missing}: pass all of them")
        return inputs[list(self.columns)]


def _odd_output(f: Any, n: int) -> str:
    """What is wrong with an output that is no row of numbers for each of `n` examples."""
    if isinstance(f, Tensor) and f.ndim > 2 and len(f) == n:
        return (
            f"the network's output is {tuple(f.shape)} for {n} examples: expected (n, c). Scores of several tokens or "
            "pixels an example stand side by side: pass Laplace(..., forward=lambda net, x: net(x).flatten(1)), and a "
            "loss of all of them, nets.Custom(nll, predict=…, ignore_index=…)"
        )
    got = tuple(f.shape) if isinstance(f, Tensor) else type(f).__name__
    return (
        f"the network's output is {got} for {n} examples: expected a tensor (n,) or (n, c); "
        "pass Laplace(..., forward=lambda net, x: net(x).logits) or the like"
    )


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Context: dropout off, BatchNorm on running statistics, attention and recurrence decomposed; restored afterwards.

    Fused attention kernels support neither forward-mode nor second derivatives nor `vmap` over examples. Threads take
    turns: these switches and torch's forward-mode levels belong to the process.
    """
    with _PROCESS_LOCK:
        yield from _switched(module)


def _switched(module: nn.Module) -> Iterator[None]:
    training = [child for child in module.modules() if child.training]
    fused = torch.backends.mha.get_fastpath_enabled()
    module.eval()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH), eager_modules(module), decomposed_layers(module), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "There is a performance drop")  # of torch.func.vmap, by operation
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        for child in training:
            child.training = True
