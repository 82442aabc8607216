"""Per-example gradients of one block of parameters, `G [k, n, …]`, in chunks that fit in memory.

Layers `y = W a + b` used at `t` positions store `G_i = Σ_t g_t (a_t, 1)ᵀ` as its two factors, norms their normalised
inputs; all others (embeddings, tied or free parameters, grouped convolutions) use local vector–Jacobian products.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor

from memorymaps.nets.autograd.cotangents import Cotangents
from memorymaps.nets.autograd.finite_checks import check_rows
from memorymaps.nets.autograd.hooks import OwnerCall, submodule
from memorymaps.nets.autograd.layers.norms import NormGradient, is_single_norm
from memorymaps.nets.autograd.network import Network
from memorymaps.nets.autograd.outer_product import CONVOLUTIONS, OuterProductGradient, outer_factors
from memorymaps.nets.autograd.parameter_blocks import ParameterBlock
from memorymaps.nets.autograd.per_example_autodiff import per_example_jvp, per_example_vjp


class PerExampleGradient(Protocol):
    """Per-example gradients of a block's parameters in a batch (protocol)."""

    def materialize(self, rows: slice) -> Tensor:
        """Gradients `G [n', k, q]` of some examples."""

    def jvp(self, tangents: Tensor, rows: slice) -> Any:
        """Tangents of the layer's (or each call's) outputs for parameter tangents `[n', q]`."""


@dataclass(frozen=True)
class VjpGradient:
    """Gradients of tensors by vector–Jacobian products at each call that uses them, summed over calls."""

    network: Network
    names: tuple[str, ...]
    uses: tuple[tuple[OwnerCall, Cotangents], ...]

    def materialize(self, rows: slice) -> Tensor:
        """Gradients `G [n', k, q]` of some examples."""
        found = torch.stack([self._call_vjp(call, g, rows) for call, g in self.uses]).sum(0)
        check_rows(found, f"gradients of {', '.join(self.names)} are", self.names, rows.start or 0)
        return found

    def jvp(self, tangents: Tensor, rows: slice) -> list[Tensor]:
        """Tangents `[n', …]` of every call's output for parameter tangents `[n', q]`."""
        values = dict(self.network.module.named_parameters())
        pieces = torch.split(tangents, [values[name].numel() for name in self.names], dim=1)
        by_name = {n: m.reshape(-1, *values[n].shape) for n, m in zip(self.names, pieces, strict=True)}
        return [self._call_jvp(call, by_name, values, rows) for call, _ in self.uses]

    def _call_jvp(self, call: OwnerCall, by_name: dict[str, Tensor], values: dict[str, Any], rows: slice) -> Tensor:
        own = {key: name for key, name in call.owner.parameters.items() if name in by_name}
        local = {key: values[name].detach() for key, name in own.items()}
        return per_example_jvp(self.network, call, local, {key: by_name[name] for key, name in own.items()}, rows)

    def _call_vjp(self, call: OwnerCall, g: Cotangents, rows: slice) -> Tensor:
        values = dict(self.network.module.named_parameters())
        local = {key: values[name].detach() for key, name in call.owner.parameters.items() if name in self.names}
        found = per_example_vjp(self.network, call, local, g[rows], rows)
        zero = g.tensors[0].new_zeros(found[next(iter(found))].shape[:2])
        by_name: dict[str, Tensor] = {}
        for key, value in found.items():  # an owner may have the same tensor under two names
            name = call.owner.parameters[key]
            by_name[name] = by_name.get(name, 0) + value.reshape(*value.shape[:2], -1)
        parts = [by_name.get(name, zero[..., None].expand(-1, -1, values[name].numel())) for name in self.names]
        return torch.cat(parts, dim=2)


@dataclass(frozen=True)
class LinearizedBatch:
    """A batch linearised at the trained parameters: outputs `f [n, c]`, calls, and cotangents `g` at their outputs."""

    network: Network
    f: Tensor
    calls: tuple[OwnerCall, ...]
    g: tuple[Cotangents, ...]

    def combine(self, coefficients: Tensor) -> LinearizedBatch:
        """The batch restricted to the one direction `Σ_k s_k d_k` per example, for coefficients `s [n, k]`."""
        return LinearizedBatch(self.network, self.f, self.calls, tuple(g.combine(coefficients) for g in self.g))

    def tangents_by_call(self, block: ParameterBlock, tangent: Tensor | list[Tensor]) -> list[tuple[OwnerCall, Tensor]]:
        """Tangents of a block's outputs, split by call and in the shape of each call's output."""
        calls = [call for call, _ in self._uses_by_parameter[block.parameters[0]]]
        if isinstance(tangent, list):
            return list(zip(calls, tangent, strict=True))
        patches = isinstance(submodule(self.network, calls[0].owner), CONVOLUTIONS)
        positions = [call.shape[2:].numel() if patches else call.shape[1:-1].numel() for call in calls]
        pieces = torch.split(tangent, positions, dim=1)
        arranged = [piece.transpose(1, 2) for piece in pieces] if patches else pieces
        return [(call, piece.reshape(call.shape)) for call, piece in zip(calls, arranged, strict=True)]

    @cached_property
    def _uses_by_parameter(self) -> dict[str, list[tuple[OwnerCall, Cotangents]]]:
        """Calls and their cotangents for every parameter name."""
        uses: dict[str, list[tuple[OwnerCall, Cotangents]]] = {}
        for call, g in zip(self.calls, self.g, strict=True):
            for name in set(call.owner.parameters.values()):
                uses.setdefault(name, []).append((call, g))
        return uses

    def gradient(self, block: ParameterBlock) -> PerExampleGradient:
        """Per-example gradients of a block for the directions of the batch."""
        uses = self._uses_by_parameter.get(block.parameters[0], [])
        if not uses:
            raise RuntimeError(f"{block.name!r} was not called in this batch but was in the first one")
        if not block.is_matrix:
            kind = NormGradient.of if is_single_norm(self.network, uses) else VjpGradient
            return kind(self.network, block.parameters, tuple(uses))
        biased = len(block.parameters) == 2
        for call, _ in uses:
            check_rows(call.args[0], f"inputs of {call.owner.module!r} are", block.parameters)
        parts = [outer_factors(submodule(self.network, call.owner), call.args[0], g, biased) for call, g in uses]
        if len(parts) == 1:
            return OuterProductGradient(*parts[0])
        a, g = zip(*parts, strict=True)
        cotangents = (torch.cat(pieces, 1) for pieces in zip(*(each.tensors for each in g), strict=True))
        return OuterProductGradient(torch.cat([each[:] for each in a], 1), Cotangents(tuple(cotangents)))
