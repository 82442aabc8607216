"""Per-example gradients of matrix layers as sums of outer products, `G_i = Σ_t g_t a_tᵀ`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from memorymaps.nets.autograd.cotangents import Cotangents, layout_preserving_matmul

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True)
class ConvolutionPatches:
    """Unfolded inputs `a [n, t, d]` of a convolution (im2col), columns in the order of its weights, ones for a bias.

    Unfolded only for the examples that are indexed: all patches together are much larger than the input.
    """

    module: Any
    x: Tensor
    biased: bool

    def __getitem__(self, rows: slice) -> Tensor:
        """Patches `[n', t, d]` of some examples, with positions `t` contiguous in memory: one copy."""
        windows = self._cut(self.x[rows])
        spatial = len(self.module.kernel_size)
        features, positions = windows.shape[1 : 2 + spatial], windows.shape[2 + spatial :]
        found = windows.new_empty(len(windows), features.numel() + self.biased, positions.numel())
        found[:, features.numel() :] = 1
        found[:, : features.numel()].unflatten(2, positions).unflatten(1, features).copy_(windows)
        return found.mT

    def _cut(self, x: Tensor) -> Tensor:
        """A view `[n', channels, kernel…, positions…]` of the padded input."""
        kernel = zip(self.module.kernel_size, self.module.stride, self.module.dilation, strict=True)
        spatial = len(self.module.kernel_size)
        x = F.pad(x, _padding(self.module))
        for axis, (size, step, dilation) in enumerate(kernel):
            x = x.unfold(2 + axis, dilation * (size - 1) + 1, step)[..., ::dilation]
        return x.permute(0, 1, *range(2 + spatial, 2 + 2 * spatial), *range(2, 2 + spatial))


@dataclass(frozen=True)
class OuterProductGradient:
    """Gradients `G_i = Σ_t g_t a_tᵀ` of a matrix layer in factored form: `inputs` `a [n, t, d]` and `g [n, t, o]`.

    Ones are appended to `a` for a bias. For a convolution, positions `t` are contiguous in memory in both factors.
    """

    inputs: Tensor | ConvolutionPatches
    g: Cotangents

    @property
    def a(self) -> Tensor:
        """All inputs `a [n, t, d]`."""
        return self.inputs[:]

    @property
    def positions(self) -> int:
        """Number of positions `t` (tokens, patches) at which each example uses the weights."""
        return int(self.g.shape[1])

    def materialize(self, rows: slice) -> Tensor:
        """Gradients `G [n', k, o·d]` of some examples, as a new tensor."""
        a, g = self.inputs[rows], self.g[rows]
        n, k, t, o = g.shape
        if t == 1:
            return (g[:, :, 0, :, None] * a[:, :1, None, :]).reshape(n, k, -1)
        return torch.matmul(g.transpose(2, 3).reshape(n, k * o, t), a).reshape(n, k, -1)

    def rotate(self, output_basis: Tensor | None, input_basis: Tensor | None) -> OuterProductGradient:
        """Rotate into a Kronecker basis, `Q_Gᵀ G Q_A`, by rotating the factors; None skips a side."""
        a = self.inputs if input_basis is None else layout_preserving_matmul(self.a, input_basis)
        return OuterProductGradient(
            a,
            self.g
            if output_basis is None
            else self.g.map(lambda cotangent: layout_preserving_matmul(cotangent, output_basis)),
        )

    def combine(self, coefficients: Tensor) -> OuterProductGradient:
        """Gradients of the one direction `Σ_k s_k d_k`, for coefficients `s [n, k]`."""
        return OuterProductGradient(self.inputs, self.g.combine(coefficients))

    def jvp(self, tangents: Tensor, rows: slice) -> Tensor:
        """Tangents `[n', t, o]` of the layer's outputs for weight tangents `[n', o·d]`, `(δW) a_t`."""
        a = self.inputs[rows]
        return a @ tangents.reshape(len(tangents), self.g.shape[-1], a.shape[-1]).mT


def outer_factors(
    module: nn.Module, x: Tensor, g: Cotangents, biased: bool
) -> tuple[Tensor | ConvolutionPatches, Cotangents]:
    """Inputs `a [n, t, d]`, with ones for a bias, and cotangents `g [n, t, o]` of one call."""
    n, dtype = g.shape[0], g.tensors[0].dtype
    if isinstance(module, CONVOLUTIONS):
        return ConvolutionPatches(module, x.to(dtype), biased), g.map(
            lambda cotangent: cotangent.contiguous().flatten(2).mT
        )
    a = _with_ones(x.reshape(n, -1, x.shape[-1]).to(dtype), biased)
    return a, g.map(lambda cotangent: cotangent.reshape(n, -1, cotangent.shape[-1]))


def _with_ones(a: Tensor, biased: bool) -> Tensor:
    """`a [n, t, d]` with a last column of ones for a bias."""
    return torch.cat([a, a.new_ones(*a.shape[:2], 1)], dim=2) if biased else a


def _padding(module: Any) -> list[int]:
    """Padding of a convolution in the order of `F.pad`: last axis first, before and after."""
    if module.padding == "same":
        total = [dilation * (size - 1) for size, dilation in zip(module.kernel_size, module.dilation, strict=True)]
        sides = [(each // 2, each - each // 2) for each in total]
    elif module.padding == "valid":
        sides = [(0, 0)] * len(module.kernel_size)
    else:
        sides = [(each, each) for each in module.padding]
    return [amount for side in reversed(sides) for amount in side]
