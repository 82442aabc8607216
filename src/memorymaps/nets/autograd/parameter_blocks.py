"""Blocks and groups of parameters that share one curvature matrix."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from memorymaps.nets.autograd.hooks import ROOT_MODULE, ParameterOwner, submodule
from memorymaps.nets.autograd.network import Network
from memorymaps.nets.autograd.outer_product import CONVOLUTIONS


@dataclass(frozen=True)
class ParameterBlock:
    """Parameters of one module with one curvature matrix: a weight matrix with its bias as last column, or tensors.

    `shape` is `(o, d)` for a matrix block, `(q,)` otherwise. A `transposed` weight is stored as `[d, o]` by its layer.
    """

    name: str
    parameters: tuple[str, ...]
    shape: tuple[int, ...]
    transposed: bool = False

    @property
    def is_matrix(self) -> bool:
        """Whether per-example gradients are sums of outer products."""
        return len(self.shape) == 2

    @property
    def size(self) -> int:
        """Number of parameters."""
        return int(torch.Size(self.shape).numel())

    def pack(self, values: Mapping[str, Tensor]) -> Tensor:
        """Named tensors as one tensor of this block's `shape`."""
        if not self.is_matrix:
            return torch.cat([values[name].reshape(-1) for name in self.parameters])
        return torch.cat([self._columns(values[name]) for name in self.parameters], dim=1)

    def _columns(self, value: Tensor) -> Tensor:
        o = self.shape[0]
        return value.reshape(-1, o).T if self.transposed else value.reshape(o, -1)

    def unpack(self, packed: Tensor, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The inverse of `pack`."""
        sizes = [like[name].numel() // (self.shape[0] if self.is_matrix else 1) for name in self.parameters]
        parts = torch.split(packed, sizes, dim=-1)
        arranged = (part.T if self.transposed else part for part in parts)
        return {name: part.reshape(like[name].shape) for name, part in zip(self.parameters, arranged, strict=True)}


def is_matrix_layer(module: nn.Module) -> bool:
    """Whether a module computes `W a + b` on patches or tokens by torch's own `forward`."""
    if any(_is_unmodified(module, kind) for kind in CONVOLUTIONS):
        return bool(module.groups == 1 and module.padding_mode == "zeros")
    return _is_unmodified(module, nn.Linear) or _is_transposed_linear(module)


def _is_unmodified(module: nn.Module, kind: type[nn.Module]) -> bool:
    return isinstance(module, kind) and type(module).forward is kind.forward


def _is_transposed_linear(module: nn.Module) -> bool:
    """Whether a layer is linear and stores `W` as `[d, o]`: `Conv1D` of Hugging Face's GPT-2."""
    library = sys.modules.get("transformers.pytorch_utils")
    return library is not None and _is_unmodified(module, library.Conv1D)


def find_blocks(network: Network, owners: Sequence[ParameterOwner]) -> tuple[ParameterBlock, ...]:
    """One block for each module's own parameters (a matrix block for a matrix layer), one for each tied tensor."""
    values = dict(network.module.named_parameters())
    used = [name for owner in owners for name in owner.parameters.values()]
    blocks = []
    for owner in owners:
        names = tuple(owner.parameters[key] for key in ("weight", "bias") if key in owner.parameters)
        untied = all(used.count(name) == 1 for name in names) and "weight" in owner.parameters
        if untied and owner.module != ROOT_MODULE and is_matrix_layer(submodule(network, owner)):
            transposed = _is_transposed_linear(submodule(network, owner))
            o = values[names[0]].shape[1 if transposed else 0]
            blocks.append(
                ParameterBlock(owner.module, names, (o, sum(values[name].numel() // o for name in names)), transposed)
            )
        else:
            own = tuple(name for name in owner.parameters.values() if used.count(name) == 1)
            tied = (name for name in owner.parameters.values() if used.count(name) > 1)
            blocks += [_vector_block(values, owner.module, each) for each in (own, *((name,) for name in tied)) if each]
    return tuple({block.name: block for block in blocks}.values())


def _vector_block(values: Mapping[str, Tensor], module: str, names: tuple[str, ...]) -> ParameterBlock:
    """A block without matrix structure, named after its module or its only tensor."""
    size = sum(values[name].numel() for name in names)
    return ParameterBlock(names[0] if len(names) == 1 else module or "network", names, (size,))


@dataclass(frozen=True)
class ParameterGroup:
    """Blocks whose joint curvature is one matrix."""

    blocks: tuple[ParameterBlock, ...]

    @property
    def size(self) -> int:
        """Number of parameters."""
        return sum(block.size for block in self.blocks)

    @property
    def name(self) -> str:
        """Name of the only block, or the number of blocks."""
        return self.blocks[0].name if len(self.blocks) == 1 else f"{len(self.blocks)} blocks"

    def pack(self, values: dict[str, Tensor]) -> Tensor:
        """Named tensors as one vector `[q]`, or as the matrix of a single block."""
        if len(self.blocks) == 1:
            return self.blocks[0].pack(values)
        return torch.cat([block.pack(values).reshape(-1) for block in self.blocks])

    def unpack(self, packed: Tensor, like: dict[str, Tensor]) -> dict[str, Tensor]:
        """The inverse of `pack`."""
        pieces = torch.split(packed.reshape(-1), [block.size for block in self.blocks])
        found: dict[str, Tensor] = {}
        for block, piece in zip(self.blocks, pieces, strict=True):
            found |= block.unpack(piece.reshape(block.shape), like)
        return found
