"""Posterior products of gradients that are sums of outer products, `G_c = Σ_t g_ct a_tᵀ`, never all written out.

With a precision `s [o, d]` that is diagonal in the basis `Q_G ⊗ Q_A` and factors turned into it,

    t = 1      V_cc' = Σ_j g_cj g_c'j w_j,   w = (a ∘ a) (1/s)ᵀ
    matrices   V_cc' = ⟨G_c/√s, G_c'/√s⟩     a few examples at a time
    tokens     V_cc' = Σ_tt'j g_ctj g_c't'j ((a_t ∘ a_t')(1/s)ᵀ)_j

and the cheaper of the last two is taken.
"""

from __future__ import annotations

import torch
from torch import Tensor

from memorymaps.nets.gradients import Outer, parts_of

_CACHED = 2**20  # numbers in one temporary: what processors keep close


def variance(x: Outer, precision: Tensor, left: Tensor | None, right: Tensor | None) -> Tensor:
    """`V [n, k, k]`."""
    k, _, t, o = x.g.shape
    d = x.a.shape[-1]
    if t == 1:
        return _single(x.turned(left, right), precision)
    turning = 0 if left is None else 1
    matrices = k * t * o * d + k * k * o * d + turning * (min(t, k * o) * d * d + k * min(t, d) * o * o)
    tokens = t * t * d * o / 2 + k * t * t * o + k * k * t * o + turning * (t * d * d + k * t * o * o)
    if tokens < matrices:
        return _tokens(x.turned(left, right), precision)
    return _matrices(x, precision, left, right)


def _single(x: Outer, precision: Tensor) -> Tensor:
    w = x.a[:, 0].square() @ precision.reciprocal().T
    g = x.g[:, :, 0].transpose(0, 1)
    return torch.matmul(g * w[:, None], g.transpose(1, 2))


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


def moved(x: Outer, precision: Tensor, left: Tensor | None, right: Tensor | None) -> Tensor:
    """`S⁻¹G a_t`: how the layer's outputs move along the first direction's posterior step, `[n, t, o]`."""
    turned = x.turned(left, right)
    a, g = turned.a, turned.g[0]
    if turned.positions == 1:
        y = g * (a.square() @ precision.reciprocal().T)
    else:
        pieces = parts_of(len(a), precision.numel(), _CACHED)
        y = torch.cat([(a[p] @ ((g[p].mT @ a[p]) / precision).mT) for p in pieces])
    return y if left is None else y @ left.T
