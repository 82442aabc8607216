"""Per-example gradients of one block of parameters, `G [k, n, …]`, made in parts that fit in memory.

Layers `y = W a + b` used on `t` positions keep `G_i = Σ_t g_t (a_t, 1)ᵀ` as its two factors, norms their normalised
inputs; all others (embeddings, tied or free parameters, grouped convolutions) take local vector–Jacobian products.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from memorymaps.nets.alone import pulled, pushed
from memorymaps.nets.finite import check_rows
from memorymaps.nets.lanes import Lanes, times
from memorymaps.nets.network import Network
from memorymaps.nets.norms import Scaled, of_one_norm
from memorymaps.nets.tape import ROOT, Call, Owner, submodule

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
ELEMENTS = 2**24  # numbers in one temporary: 64 MB in single precision


def parts_of(n: int, per_example: int, elements: int = ELEMENTS) -> Iterator[slice]:
    """Slices of a batch whose temporaries stay below `elements` numbers."""
    step = max(1, elements // max(1, per_example))
    return (slice(start, min(n, start + step)) for start in range(0, n, step))


class Gradient(Protocol):
    """The gradients of a block's parameters in a batch."""

    def dense(self, part: slice) -> Tensor:
        """`G [n', k, q]` for some examples."""

    def moved(self, moves: Tensor, part: slice) -> Any:
        """What moves `[n', q]` of the parameters do to the outputs of the layer or of each call."""


@dataclass(frozen=True)
class Block:
    """Parameters whose curvature is held together: a matrix with its bias as last column, or a list of tensors.

    `shape` is `(o, d)` for a matrix block, `(q,)` otherwise. A matrix `turned` is held `[d, o]` by its layer.
    """

    name: str
    parameters: tuple[str, ...]
    shape: tuple[int, ...]
    turned: bool = False

    @property
    def is_matrix(self) -> bool:
        """Whether gradients are sums of outer products."""
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
        return value.reshape(-1, o).T if self.turned else value.reshape(o, -1)

    def unpack(self, packed: Tensor, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The inverse of `pack`."""
        sizes = [like[name].numel() // (self.shape[0] if self.is_matrix else 1) for name in self.parameters]
        parts = torch.split(packed, sizes, dim=-1)
        held = (part.T if self.turned else part for part in parts)
        return {name: part.reshape(like[name].shape) for name, part in zip(self.parameters, held, strict=True)}


def is_matrix_layer(module: nn.Module) -> bool:
    """Whether a module computes `W a + b` on patches or tokens, exactly as torch defines it."""
    if any(_is_exactly(module, kind) for kind in _CONVOLUTIONS):
        return bool(module.groups == 1 and module.padding_mode == "zeros")
    return _is_exactly(module, nn.Linear) or _is_turned(module)


def _is_exactly(module: nn.Module, kind: type[nn.Module]) -> bool:
    return isinstance(module, kind) and type(module).forward is kind.forward


def _is_turned(module: nn.Module) -> bool:
    """Whether a layer holds `W [d, o]`: GPT-2's `Conv1D`, which is a linear layer."""
    library = sys.modules.get("transformers.pytorch_utils")
    return library is not None and _is_exactly(module, library.Conv1D)


def find_blocks(network: Network, owners: Sequence[Owner]) -> tuple[Block, ...]:
    """Each module's own parameters are one block, a matrix where it is a matrix layer; each tied tensor is one."""
    values = dict(network.module.named_parameters())
    used = [name for owner in owners for name in owner.parameters.values()]
    blocks = []
    for owner in owners:
        names = tuple(owner.parameters[key] for key in ("weight", "bias") if key in owner.parameters)
        alone = all(used.count(name) == 1 for name in names) and "weight" in owner.parameters
        if alone and owner.module != ROOT and is_matrix_layer(submodule(network, owner)):
            turned = _is_turned(submodule(network, owner))
            o = values[names[0]].shape[1 if turned else 0]
            blocks.append(Block(owner.module, names, (o, sum(values[name].numel() // o for name in names)), turned))
        else:
            own = tuple(name for name in owner.parameters.values() if used.count(name) == 1)
            tied = (name for name in owner.parameters.values() if used.count(name) > 1)
            blocks += [_listed(values, owner.module, each) for each in (own, *((name,) for name in tied)) if each]
    return tuple({block.name: block for block in blocks}.values())


def _listed(values: Mapping[str, Tensor], module: str, names: tuple[str, ...]) -> Block:
    """A block without the structure of a matrix, named after its module or its only tensor."""
    size = sum(values[name].numel() for name in names)
    return Block(names[0] if len(names) == 1 else module or "network", names, (size,))


@dataclass(frozen=True)
class Patches:
    """Patches `a [n, t, d]` under a convolution's kernel, in the order of its weights, with ones for a bias.

    Made for the examples that are asked for: together they are much larger than what they are cut from.
    """

    module: Any
    x: Tensor
    biased: bool

    def __getitem__(self, part: slice) -> Tensor:
        """`[n', t, d]`; positions lie together in memory, as they do in pictures: one copy, in long runs."""
        cut = self._cut(self.x[part])
        spatial = len(self.module.kernel_size)
        features, positions = cut.shape[1 : 2 + spatial], cut.shape[2 + spatial :]
        found = cut.new_empty(len(cut), features.numel() + self.biased, positions.numel())
        found[:, features.numel() :] = 1
        found[:, : features.numel()].unflatten(2, positions).unflatten(1, features).copy_(cut)
        return found.mT

    def _cut(self, x: Tensor) -> Tensor:
        """A view `[n', channels, kernel…, positions…]` of the padded input."""
        kernel = zip(self.module.kernel_size, self.module.stride, self.module.dilation, strict=True)
        spatial = len(self.module.kernel_size)
        x = F.pad(x, _padding(self.module))
        for axis, (size, step, gap) in enumerate(kernel):
            x = x.unfold(2 + axis, gap * (size - 1) + 1, step)[..., ::gap]
        return x.permute(0, 1, *range(2 + spatial, 2 + 2 * spatial), *range(2, 2 + spatial))


@dataclass(frozen=True)
class Outer:
    """`G_i = Σ_t g_t a_tᵀ` with `inputs` `a [n, t, d]` (ones appended for a bias) and `k` lanes `g [n, t, o]`.

    Of a convolution, positions lie together in memory: in `a` and `g` alike `t` is the last axis underneath.
    """

    inputs: Tensor | Patches
    g: Lanes

    @property
    def a(self) -> Tensor:
        """All inputs `[n, t, d]`."""
        return self.inputs[:]

    @property
    def positions(self) -> int:
        """`t`: how often each example uses the weights."""
        return int(self.g.shape[1])

    def dense(self, part: slice) -> Tensor:
        """`G [n', k, o·d]`, newly made."""
        a, g = self.inputs[part], self.g[part]
        n, k, t, o = g.shape
        if t == 1:
            return (g[:, :, 0, :, None] * a[:, :1, None, :]).reshape(n, k, -1)
        return torch.matmul(g.transpose(2, 3).reshape(n, k * o, t), a).reshape(n, k, -1)

    def turned(self, left: Tensor | None, right: Tensor | None) -> Outer:
        """`Q_Gᵀ G Q_A`, by turning the factors; `None` leaves a side as it is."""
        a = self.inputs if right is None else times(self.a, right)
        return Outer(a, self.g if left is None else self.g.map(lambda lane: times(lane, left)))

    def shared(self, share: Tensor) -> Outer:
        """The gradients of one direction `Σ_k s_k` for shares `s [n, k]`."""
        return Outer(self.inputs, self.g.shared(share))

    def moved(self, moves: Tensor, part: slice) -> Tensor:
        """What moves `[n', o·d]` of the weights do to the layer's outputs: `[n', t, o]`."""
        a = self.inputs[part]
        return a @ moves.reshape(len(moves), self.g.shape[-1], a.shape[-1]).mT


@dataclass(frozen=True)
class Local:
    """Gradients of tensors at the calls that use them, by local vector–Jacobian products summed over calls."""

    network: Network
    names: tuple[str, ...]
    uses: tuple[tuple[Call, Lanes], ...]

    def dense(self, part: slice) -> Tensor:
        """`G [n', k, q]`."""
        found = torch.stack([self._one_use(call, g, part) for call, g in self.uses]).sum(0)
        check_rows(found, f"gradients of {', '.join(self.names)} are", self.names, part.start or 0)
        return found

    def moved(self, moves: Tensor, part: slice) -> list[Tensor]:
        """What moves `[n', q]` of the tensors do to the output of every call: `[n', …]` each."""
        values = dict(self.network.module.named_parameters())
        pieces = torch.split(moves, [values[name].numel() for name in self.names], dim=1)
        by_name = {n: m.reshape(-1, *values[n].shape) for n, m in zip(self.names, pieces, strict=True)}
        return [self._one_move(call, by_name, values, part) for call, _ in self.uses]

    def _one_move(self, call: Call, by_name: dict[str, Tensor], values: dict[str, Any], part: slice) -> Tensor:
        mine = {key: name for key, name in call.owner.parameters.items() if name in by_name}
        local = {key: values[name].detach() for key, name in mine.items()}
        return pushed(self.network, call, local, {key: by_name[name] for key, name in mine.items()}, part)

    def _one_use(self, call: Call, g: Lanes, part: slice) -> Tensor:
        values = dict(self.network.module.named_parameters())
        local = {key: values[name].detach() for key, name in call.owner.parameters.items() if name in self.names}
        found = pulled(self.network, call, local, g[part], part)
        zero = g.each[0].new_zeros(found[next(iter(found))].shape[:2])
        by_name: dict[str, Tensor] = {}
        for key, value in found.items():  # a tensor may sit twice in the same owner
            name = call.owner.parameters[key]
            by_name[name] = by_name.get(name, 0) + value.reshape(*value.shape[:2], -1)
        parts = [by_name.get(name, zero[..., None].expand(-1, -1, values[name].numel())) for name in self.names]
        return torch.cat(parts, dim=2)


@dataclass(frozen=True)
class Batch:
    """A batch as the blocks see it: outputs `f [n, c]` and what is needed for any block's gradient."""

    network: Network
    f: Tensor
    calls: tuple[Call, ...]
    g: tuple[Lanes, ...]

    def shared(self, share: Tensor) -> Batch:
        """The same batch along the one direction `Σ_k s_k d_k` of every example, for shares `s [n, k]`."""
        return Batch(self.network, self.f, self.calls, tuple(g.shared(share) for g in self.g))

    def placed(self, block: Block, moved: Tensor | list[Tensor]) -> list[tuple[Call, Tensor]]:
        """Moves of a block's outputs in the shape of the calls they belong to."""
        calls = [call for call, _ in self._uses[block.parameters[0]]]
        if isinstance(moved, list):
            return list(zip(calls, moved, strict=True))
        patches = isinstance(submodule(self.network, calls[0].owner), _CONVOLUTIONS)
        positions = [call.shape[2:].numel() if patches else call.shape[1:-1].numel() for call in calls]
        pieces = torch.split(moved, positions, dim=1)
        turned = [piece.transpose(1, 2) for piece in pieces] if patches else pieces
        return [(call, piece.reshape(call.shape)) for call, piece in zip(calls, turned, strict=True)]

    @cached_property
    def _uses(self) -> dict[str, list[tuple[Call, Lanes]]]:
        uses: dict[str, list[tuple[Call, Lanes]]] = {}
        for call, g in zip(self.calls, self.g, strict=True):
            for name in set(call.owner.parameters.values()):
                uses.setdefault(name, []).append((call, g))
        return uses

    def gradient(self, block: Block) -> Gradient:
        """This block's gradients for the directions of the batch."""
        uses = self._uses.get(block.parameters[0], [])
        if not uses:
            raise RuntimeError(f"{block.name!r} was not called in this batch but was in the first one")
        if not block.is_matrix:
            kind = Scaled.of if of_one_norm(self.network, uses) else Local
            return kind(self.network, block.parameters, tuple(uses))
        biased = len(block.parameters) == 2
        for call, _ in uses:
            check_rows(call.args[0], f"inputs of {call.owner.module!r} are", block.parameters)
        parts = [_factors(submodule(self.network, call.owner), call.args[0], g, biased) for call, g in uses]
        if len(parts) == 1:
            return Outer(*parts[0])
        a, g = zip(*parts, strict=True)
        lanes = (torch.cat(pieces, 1) for pieces in zip(*(each.each for each in g), strict=True))
        return Outer(torch.cat([each[:] for each in a], 1), Lanes(tuple(lanes)))


def _factors(module: nn.Module, x: Tensor, g: Lanes, biased: bool) -> tuple[Tensor | Patches, Lanes]:
    """`a [n, t, d]`, with ones for a bias, and lanes `g [n, t, o]` of one call."""
    n, dtype = g.shape[0], g.each[0].dtype
    if isinstance(module, _CONVOLUTIONS):
        return Patches(module, x.to(dtype), biased), g.map(lambda lane: lane.contiguous().flatten(2).mT)
    a = _with_ones(x.reshape(n, -1, x.shape[-1]).to(dtype), biased)
    return a, g.map(lambda lane: lane.reshape(n, -1, lane.shape[-1]))


def _with_ones(a: Tensor, biased: bool) -> Tensor:
    """`[n, t, d]` with a last column of ones for a bias."""
    return torch.cat([a, a.new_ones(*a.shape[:2], 1)], dim=2) if biased else a


def _padding(module: Any) -> list[int]:
    """`F.pad`'s list: last axis first, before and after."""
    if module.padding == "same":
        total = [gap * (size - 1) for size, gap in zip(module.kernel_size, module.dilation, strict=True)]
        sides = [(each // 2, each - each // 2) for each in total]
    elif module.padding == "valid":
        sides = [(0, 0)] * len(module.kernel_size)
    else:
        sides = [(each, each) for each in module.padding]
    return [amount for side in reversed(sides) for amount in side]
