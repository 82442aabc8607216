"""Posterior products of gradients that are sums of outer products, `G_c = Σ_t g_ct a_tᵀ`, never all written out.

With a precision `s [o, d]` that is diagonal in the basis `Q_G ⊗ Q_A` and factors turned into it,

    t = 1      V_cc' = Σ_j g_cj g_c'j w_j,   w = (a ∘ a) (1/s)ᵀ
    matrices   V_cc' = ⟨G_c/√s, G_c'/√s⟩     a few examples at a time
    tokens     V_cc' = Σ_tt'j g_ctj g_c't'j ((a_t ∘ a_t')(1/s)ᵀ)_j

and the cheaper of the last two is taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from memorymaps.nets.gradients import Outer, parts_of

_CACHED = 2**20  # numbers in one temporary: what processors keep close


@dataclass(frozen=True)
class Turned:
    """Gradients and the precision that is diagonal in the basis `Q_G ⊗ Q_A`, kept for more than one question.

    The factors are turned into that basis here if each example uses the weights once; otherwise when asked.
    """

    x: Outer
    precision: Tensor
    left: Tensor | None
    right: Tensor | None

    @classmethod
    def of(cls, x: Outer, precision: Tensor, left: Tensor | None, right: Tensor | None) -> Turned:
        """Turn what is turned but once."""
        return cls(x.turned(left, right) if x.positions == 1 else x, precision, left, right)

    @cached_property
    def weight(self) -> Tensor:
        """`w = (a ∘ a)(1/s)ᵀ [n, o]`, for one position."""
        return self.x.a[:, 0].square() @ self.precision.reciprocal().T

    def variance(self) -> Tensor:
        """`V [n, k, k]`."""
        if self.x.positions == 1:
            g = self.x.g[:, :, 0].transpose(0, 1)
            return torch.matmul(g * self.weight[:, None], g.transpose(1, 2))
        if _tokens_are_cheaper(self.x, self.left is not None):
            return _tokens(self.x.turned(self.left, self.right), self.precision)
        return _matrices(self.x, self.precision, self.left, self.right)

    def moved(self, share: Tensor) -> Tensor:
        """`S⁻¹G a_t`: how the layer's outputs move along the posterior step of `Σ_k s_k G_k`, `[n, t, o]`."""
        x = self.x.shared(share)
        if self.x.positions > 1:
            return _pushed(x, self.precision, self.left, self.right)
        y = x.g[0] * self.weight[:, None]
        return y if self.left is None else y @ self.left.T


def variance(x: Outer, precision: Tensor, left: Tensor | None, right: Tensor | None) -> Tensor:
    """`V [n, k, k]`."""
    return Turned.of(x, precision, left, right).variance()


def _tokens_are_cheaper(x: Outer, turning: bool) -> bool:
    """Multiplications an example, turning into a basis included."""
    k, _, t, o = x.g.shape
    d = x.a.shape[-1]
    matrices = k * t * o * d + k * k * o * d + turning * (min(t, k * o) * d * d + k * min(t, d) * o * o)
    tokens = t * t * d * o / 2 + k * t * t * o + k * k * t * o + turning * (t * d * d + k * t * o * o)
    return tokens < matrices


def _matrices(x: Outer, precision: Tensor, left: Tensor | None, right: Tensor | None) -> Tensor:
    k, n, t, o = x.g.shape
    d = x.a.shape[-1]
    before = (left if t <= d else None, right if t <= k * o else None)  # turn factors or products, whichever are fewer
    scale, turned = precision.rsqrt(), x.turned(*before)
    found = x.a.new_empty(n, k, k)
    for part in parts_of(n, k * o * d, _CACHED):
        products = turned.dense(part).view(-1, k, o, d)
        if right is not None and before[1] is None:
            products = products @ right
        if left is not None and before[0] is None:
            products = left.T @ products
        flat = products.mul_(scale).view(-1, k, o * d)
        found[part] = torch.matmul(flat, flat.transpose(1, 2))
    return found


def _tokens(x: Outer, precision: Tensor) -> Tensor:
    k, n, t, o = x.g.shape
    weight, pairs = precision.reciprocal().T, torch.triu_indices(t, t, device=x.a.device)
    found = x.a.new_empty(n, k, k)
    for part in parts_of(n, pairs.shape[1] * max(x.a.shape[-1], o), _CACHED):
        a, g = x.a[part], x.g[:, part].permute(1, 3, 0, 2)  # [n', o, k, t]
        half = (a[:, pairs[0]] * a[:, pairs[1]]) @ weight
        whole = half.new_empty(len(a), t, t, o)
        whole[:, pairs[0], pairs[1]] = half
        whole[:, pairs[1], pairs[0]] = half
        bent = torch.matmul(g, whole.permute(0, 3, 1, 2))
        sides = (side.transpose(1, 2).reshape(len(a), k, o * t) for side in (g, bent))
        found[part] = torch.matmul(next(sides), next(sides).transpose(1, 2))
    return found


def _pushed(x: Outer, precision: Tensor, left: Tensor | None, right: Tensor | None) -> Tensor:
    """`S⁻¹G a_t` of the first direction, `[n, t, o]`; factors or products are turned, whichever are fewer."""
    _, _, t, o = x.g.shape
    before = (left if t <= x.a.shape[-1] else None, right if t <= 2 * o else None)
    after = (None if before[0] is not None else left, None if before[1] is not None else right)
    turned = x.turned(*before)
    a, g = turned.a, turned.g[0]
    pieces = parts_of(len(a), precision.numel(), _CACHED)
    y = torch.cat([a[p] @ _solved(g[p].mT @ a[p], precision, *after).mT for p in pieces])
    return y if before[0] is None else y @ before[0].T


def _solved(products: Tensor, precision: Tensor, left: Tensor | None, right: Tensor | None) -> Tensor:
    """`Q_G ((Q_Gᵀ P Q_A) / s) Q_Aᵀ [n, o, d]`; `None` leaves a side as it is."""
    turned = products if right is None else products @ right
    turned = (turned if left is None else left.T @ turned) / precision
    turned = turned if left is None else left @ turned
    return turned if right is None else turned @ right.T
