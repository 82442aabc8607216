"""Gradients of a normalisation layer's scale and shift, `y_t = γ ∘ x̂_t + β`, in closed form.

    ∂γ = Σ_t g_t ∘ x̂_t        ∂β = Σ_t g_t

for normalised inputs `x̂ [n, q, t]` at `t` positions: the layer's own output with ones for `γ` and zeros for `β`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from memorymaps.nets.autograd.cotangents import Cotangents
from memorymaps.nets.autograd.hooks import OwnerCall, submodule
from memorymaps.nets.autograd.network import Network

ParameterUse = tuple[OwnerCall, Cotangents]  # a call and the cotangents at its output

_CHANNELS_FIRST = (
    nn.GroupNorm, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d,
    nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d,
)  # fmt: skip
_CHANNELS_LAST = (nn.LayerNorm, nn.RMSNorm)


def is_single_norm(network: Network, uses: Sequence[ParameterUse]) -> bool:
    """Whether all uses are calls of one unmodified normalisation layer of torch with untied parameters."""
    owner = uses[0][0].owner
    module, kinds = submodule(network, owner), (*_CHANNELS_FIRST, *_CHANNELS_LAST)
    plain = any(isinstance(module, kind) and type(module).forward is kind.forward for kind in kinds)
    untied = len(set(owner.parameters.values())) == len(owner.parameters)
    return plain and untied and all(call.owner.module == owner.module for call, _ in uses)


@dataclass(frozen=True)
class NormGradient:
    """Gradients of the parameters `keys` (scale, shift, or both) over all calls of one normalisation layer.

    For each call: its output's shape, `x̂ [n, q, t]` and cotangents `g [n, q, t]`; `channels_last` is the layout.
    """

    keys: tuple[str, ...]
    channels_last: bool
    shapes: tuple[torch.Size, ...]
    x: tuple[Tensor, ...]
    g: tuple[Cotangents, ...]

    @classmethod
    def of(cls, network: Network, names: Sequence[str], uses: Sequence[ParameterUse]) -> NormGradient:
        """From the inputs of each call and the cotangents at its output."""
        owner = uses[0][0].owner
        module, local_names = submodule(network, owner), {name: key for key, name in owner.parameters.items()}
        channels = torch.Size(module.normalized_shape) if isinstance(module, _CHANNELS_LAST) else None
        x = tuple(_channels_by_positions(_normalized_output(module, call), channels) for call, _ in uses)
        g = tuple(
            cotangents.map(lambda cotangent: _channels_by_positions(cotangent, channels)) for _, cotangents in uses
        )
        keys, shapes = tuple(local_names[name] for name in names), tuple(call.shape for call, _ in uses)
        return cls(keys, channels is not None, shapes, x, g)

    def materialize(self, rows: slice) -> Tensor:
        """Gradients `G [n', k, q]` of some examples."""
        each = (
            self._call_gradient(x[rows], [cotangent[rows] for cotangent in g.tensors])
            for x, g in zip(self.x, self.g, strict=True)
        )
        return torch.stack([*each]).sum(0)

    def _call_gradient(self, x: Tensor, cotangents: list[Tensor]) -> Tensor:
        sums = {"weight": lambda g: (g * x).sum(-1), "bias": lambda g: g.sum(-1)}
        return torch.stack([torch.cat([sums[key](g) for key in self.keys], 1) for g in cotangents], 1)

    def jvp(self, tangents: Tensor, rows: slice) -> list[Tensor]:
        """Tangents `[n', …]` of every call's output for parameter tangents `[n', q]`."""
        pieces = dict(zip(self.keys, tangents.chunk(len(self.keys), dim=1), strict=True))
        zero = tangents.new_zeros(1, 1)
        scale, shift = (pieces.get(key, zero)[..., None] for key in ("weight", "bias"))
        outputs = (scale * x[rows] + shift.expand(-1, x.shape[1], -1) for x in self.x)
        arranged = ((z.mT if self.channels_last else z) for z in outputs)
        return [z.reshape(-1, *shape[1:]) for z, shape in zip(arranged, self.shapes, strict=True)]


def _normalized_output(module: nn.Module, call: OwnerCall) -> Tensor:
    """Normalised inputs `x̂` in the shape of the call's output."""
    plain = {"weight": torch.ones_like, "bias": torch.zeros_like}
    values = {name: plain[name](value) for name, value in module.named_parameters()}
    with torch.no_grad():
        found: Tensor = functional_call(module, values, call.args, dict(call.kwargs))
    return found


def _channels_by_positions(z: Tensor, channels: torch.Size | None) -> Tensor:
    """Reshape to `[n, q, t]`, from channels in the last axes, or in the first if `channels` is None."""
    return z.reshape(*z.shape[:2], -1) if channels is None else z.reshape(len(z), -1, channels.numel()).mT
