"""Posterior products of gradients that are sums of outer products, `G_c = Σ_t g_ct a_tᵀ`, never all written out.

With a precision `s [o, d]` that is diagonal in the basis `Q_G ⊗ Q_A` and factors turned into it,

    t = 1      V_cc' = Σ_j g_cj g_c'j w_j,   w = (a ∘ a) (1/s)ᵀ
    matrices   V_cc' = ⟨G_c/√s, G_c'/√s⟩     a few examples at a time
    tokens     V_cc' = Σ_tt'j g_ctj g_c't'j ((a_t ∘ a_t')(1/s)ᵀ)_j

and the cheaper of the last two is taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from memorymaps.nets.autograd.chunking import parts_of
from memorymaps.nets.autograd.cotangents import times
from memorymaps.nets.autograd.outer_product import Outer

_CACHED = 2**20  # numbers in one temporary: what processors keep close


@dataclass(frozen=True)
class Turned:
    """Gradients before a precision that is diagonal in the basis `Q_G ⊗ Q_A`, kept for more than one question.

    Factors or their products are turned into the basis, whichever are fewer: `x` holds the factors as they are, `back`
    is `Q_G` if `g` has been turned, `left` and `right` are what products are still to be turned by.
    """

    x: Outer
    precision: Tensor
    back: Tensor | None
    left: Tensor | None
    right: Tensor | None
    by_tokens: bool

    @classmethod
    def of(cls, x: Outer, precision: Tensor, left: Tensor | None, right: Tensor | None) -> Turned:
        """Turn the factors that are fewer than the products."""
        k, (_, t, o), d = len(x.g), x.g.shape, precision.shape[1]
        tokens = t > 1 and _tokens_are_cheaper(x, d, left is not None)
        whole = t == 1 or tokens
        g_first, a_first = whole or t <= d, whole or t <= k * o
        turned = x.turned(left if g_first else None, right if a_first else None)
        after = (None if g_first else left, None if a_first else right)
        return cls(turned, precision, left if g_first else None, *after, tokens)

    def variance(self) -> Tensor:
        """`V [n, k, k]`."""
        if self.x.positions == 1:
            g = self.x.g[:][:, :, 0]
            return torch.matmul(g * self._weight[:, None], g.transpose(1, 2))
        if self.by_tokens:
            return _tokens(self.x, self.precision)
        return torch.cat([self._gram(part) for part in self._parts()])

    def moved(self, share: Tensor) -> Tensor:
        """`S⁻¹G a_t`: how the layer's outputs move along the posterior step of `Σ_k s_k G_k`, `[n, t, o]`."""
        if self.x.positions == 1:
            y = self.x.g.shared(share).each[0] * self._weight[:, None]
        else:
            y = torch.cat([self._solved(share[p], p) @ self.x.inputs[p].mT for p in self._parts()]).mT
        return y if self.back is None else times(y, self.back.T)

    @cached_property
    def _weight(self) -> Tensor:
        """`w = (a ∘ a)(1/s)ᵀ [n, o]`, for one position."""
        return self.x.a[:, 0].square() @ self.precision.reciprocal().T

    def _parts(self) -> Iterator[slice]:
        """Examples whose factors and products are kept close together."""
        return parts_of(self.x.g.shape[0], max(self._size, self._factors), _CACHED)

    @property
    def _size(self) -> int:
        """Numbers in the products of one example."""
        return int(len(self.x.g) * self.precision.numel())

    @property
    def _factors(self) -> int:
        """Numbers in the factors of one example."""
        return int(self.x.positions * (self.precision.shape[1] + len(self.x.g) * self.x.g.shape[2]))

    @cached_property
    def _kept(self) -> Tensor | None:
        """All products, where they are fewer than the factors."""
        if self._size > self._factors:
            return None
        return torch.cat([self._products(self.x, part) for part in self._parts()])

    def _products(self, x: Outer, part: slice) -> Tensor:
        """`Q_Gᵀ G Q_A [n', k, o, d]`."""
        products = x.dense(part).view(-1, len(x.g), *self.precision.shape)
        products = products if self.right is None else products @ self.right
        return products if self.left is None else self.left.T @ products

    def _gram(self, part: slice) -> Tensor:
        """`⟨G_c/√s, G_c'/√s⟩`; products made for this alone are scaled where they lie."""
        kept = self._kept
        products = self._products(self.x, part).mul_(self._scale) if kept is None else kept[part] * self._scale
        flat = products.flatten(2)
        return torch.matmul(flat, flat.transpose(1, 2))

    @cached_property
    def _scale(self) -> Tensor:
        return self.precision.rsqrt()

    def _solved(self, share: Tensor, part: slice) -> Tensor:
        """`Q_G (Σ_k s_k Q_Gᵀ G_k Q_A / s) Q_Aᵀ [n', o, d]`, as far as products are turned."""
        if self._kept is None:
            along = Outer(self.x.inputs[part], self.x.g.map(lambda lane: lane[part]).shared(share))
            products = self._products(along, slice(None))[:, 0]
        else:
            products = torch.matmul(share[:, None], self._kept[part].flatten(2)).view(-1, *self.precision.shape)
        solved = products / self.precision
        solved = solved if self.left is None else self.left @ solved
        return solved if self.right is None else solved @ self.right.T


def variance(x: Outer, precision: Tensor, left: Tensor | None, right: Tensor | None) -> Tensor:
    """`V [n, k, k]`."""
    return Turned.of(x, precision, left, right).variance()


def _tokens_are_cheaper(x: Outer, d: int, turning: bool) -> bool:
    """Multiplications an example, turning into a basis included."""
    k, (_, t, o) = len(x.g), x.g.shape
    matrices = k * t * o * d + k * k * o * d + turning * (min(t, k * o) * d * d + k * min(t, d) * o * o)
    tokens = t * t * d * o / 2 + k * t * t * o + k * k * t * o + turning * (t * d * d + k * t * o * o)
    return bool(tokens < matrices)


def _tokens(x: Outer, precision: Tensor) -> Tensor:
    k, (n, t, o) = len(x.g), x.g.shape
    weight, pairs = precision.reciprocal().T, torch.triu_indices(t, t, device=x.a.device)
    found = x.a.new_empty(n, k, k)
    for part in parts_of(n, pairs.shape[1] * max(x.a.shape[-1], o), _CACHED):
        a, g = x.a[part], x.g[part].permute(0, 3, 1, 2)  # [n', o, k, t]
        half = (a[:, pairs[0]] * a[:, pairs[1]]) @ weight
        whole = half.new_empty(len(a), t, t, o)
        whole[:, pairs[0], pairs[1]] = half
        whole[:, pairs[1], pairs[0]] = half
        bent = torch.matmul(g, whole.permute(0, 3, 1, 2))
        sides = (side.transpose(1, 2).reshape(len(a), k, o * t) for side in (g, bent))
        found[part] = torch.matmul(next(sides), next(sides).transpose(1, 2))
    return found
