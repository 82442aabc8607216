"""Quadratic forms `G S⁻¹Gᵀ` of gradients in factored form, `G_c = Σ_t g_ct a_tᵀ`, in an eigenbasis `Q_G ⊗ Q_A`.

With eigenvalues `s [o, d]` of the precision and factors rotated into the basis,

    one position   V_cc' = Σ_j g_cj g_c'j w_j,   w = (a ∘ a) (1/s)ᵀ
    products       V_cc' = ⟨G_c/√s, G_c'/√s⟩     in chunks of examples
    pairwise       V_cc' = Σ_tt'j g_ctj g_c't'j ((a_t ∘ a_t')(1/s)ᵀ)_j

of which the cheaper of the last two is computed for several positions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from memorymaps.nets.autograd.chunking import chunk_slices
from memorymaps.nets.autograd.cotangents import layout_preserving_matmul
from memorymaps.nets.autograd.outer_product import OuterProductGradient

_CACHE_NUMBERS = 2**20  # numbers in one temporary that fit in the processor's cache


@dataclass(frozen=True)
class RotatedGradients:
    """Gradients in factored form, rotated once into the eigenbasis `Q_G ⊗ Q_A` of a precision, for repeated products.

    Either the factors or their products are rotated, whichever have fewer numbers: `x` are the (rotated) factors,
    `rotated_by` is `Q_G` if `g` has been rotated, `output_basis` and `input_basis` are still to be applied.
    """

    x: OuterProductGradient
    eigenvalues: Tensor
    rotated_by: Tensor | None
    output_basis: Tensor | None
    input_basis: Tensor | None
    pairwise: bool

    @classmethod
    def rotate(
        cls, x: OuterProductGradient, eigenvalues: Tensor, output_basis: Tensor | None, input_basis: Tensor | None
    ) -> RotatedGradients:
        """Rotate those factors that have fewer numbers than the products."""
        k, (_, t, o), d = len(x.g), x.g.shape, eigenvalues.shape[1]
        by_pairs = t > 1 and _pairwise_is_cheaper(x, d, output_basis is not None)
        both = t == 1 or by_pairs
        g_first, a_first = both or t <= d, both or t <= k * o
        rotated = x.rotate(output_basis if g_first else None, input_basis if a_first else None)
        after = (None if g_first else output_basis, None if a_first else input_basis)
        return cls(rotated, eigenvalues, output_basis if g_first else None, *after, by_pairs)

    def variance(self) -> Tensor:
        """Variances `V = G S⁻¹Gᵀ [n, k, k]`."""
        if self.x.positions == 1:
            g = self.x.g[:][:, :, 0]
            return torch.matmul(g * self._weight[:, None], g.transpose(1, 2))
        if self.pairwise:
            return _pairwise_positions(self.x, self.eigenvalues)
        return torch.cat([self._gram(rows) for rows in self._chunks()])

    def posterior_tangents(self, coefficients: Tensor) -> Tensor:
        """Tangents `S⁻¹G a_t [n, t, o]` of the layer's outputs for the parameter change `S⁻¹ Σ_k s_k G_k`."""
        if self.x.positions == 1:
            y = self.x.g.combine(coefficients).tensors[0] * self._weight[:, None]
        else:
            y = torch.cat(
                [self._solve_chunk(coefficients[rows], rows) @ self.x.inputs[rows].mT for rows in self._chunks()]
            ).mT
        return y if self.rotated_by is None else layout_preserving_matmul(y, self.rotated_by.T)

    @cached_property
    def _weight(self) -> Tensor:
        """`w = (a ∘ a)(1/s)ᵀ [n, o]`, for one position."""
        return self.x.a[:, 0].square() @ self.eigenvalues.reciprocal().T

    def _chunks(self) -> Iterator[slice]:
        """Chunks of examples whose factors and products fit in the processor's cache."""
        return chunk_slices(self.x.g.shape[0], max(self._products_numel, self._factors_numel), _CACHE_NUMBERS)

    @property
    def _products_numel(self) -> int:
        """Number of values in the products of one example."""
        return int(len(self.x.g) * self.eigenvalues.numel())

    @property
    def _factors_numel(self) -> int:
        """Number of values in the factors of one example."""
        return int(self.x.positions * (self.eigenvalues.shape[1] + len(self.x.g) * self.x.g.shape[2]))

    @cached_property
    def _cached_products(self) -> Tensor | None:
        """Products of all examples, if they have fewer numbers than the factors; else None."""
        if self._products_numel > self._factors_numel:
            return None
        return torch.cat([self._products(self.x, rows) for rows in self._chunks()])

    def _products(self, x: OuterProductGradient, rows: slice) -> Tensor:
        """`Q_Gᵀ G Q_A [n', k, o, d]`."""
        products = x.materialize(rows).view(-1, len(x.g), *self.eigenvalues.shape)
        products = products if self.input_basis is None else products @ self.input_basis
        return products if self.output_basis is None else self.output_basis.T @ products

    def _gram(self, rows: slice) -> Tensor:
        """`⟨G_c/√s, G_c'/√s⟩ [n', k, k]`; products that are not cached are scaled in place."""
        cached = self._cached_products
        products = self._products(self.x, rows).mul_(self._scale) if cached is None else cached[rows] * self._scale
        flat = products.flatten(2)
        return torch.matmul(flat, flat.transpose(1, 2))

    @cached_property
    def _scale(self) -> Tensor:
        return self.eigenvalues.rsqrt()

    def _solve_chunk(self, coefficients: Tensor, rows: slice) -> Tensor:
        """`Q_G (Σ_k s_k Q_Gᵀ G_k Q_A / s) Q_Aᵀ [n', o, d]`, less the rotations already in the factors."""
        if self._cached_products is None:
            combined = OuterProductGradient(
                self.x.inputs[rows], self.x.g.map(lambda cotangent: cotangent[rows]).combine(coefficients)
            )
            products = self._products(combined, slice(None))[:, 0]
        else:
            products = torch.matmul(coefficients[:, None], self._cached_products[rows].flatten(2)).view(
                -1, *self.eigenvalues.shape
            )
        solved = products / self.eigenvalues
        solved = solved if self.output_basis is None else self.output_basis @ solved
        return solved if self.input_basis is None else solved @ self.input_basis.T


def variance(
    x: OuterProductGradient, eigenvalues: Tensor, output_basis: Tensor | None, input_basis: Tensor | None
) -> Tensor:
    """Variances `V = G S⁻¹Gᵀ [n, k, k]`."""
    return RotatedGradients.rotate(x, eigenvalues, output_basis, input_basis).variance()


def _pairwise_is_cheaper(x: OuterProductGradient, d: int, rotating: bool) -> bool:
    """Whether the pairwise form needs fewer multiplications per example than the products, rotations included."""
    k, (_, t, o) = len(x.g), x.g.shape
    products = k * t * o * d + k * k * o * d + rotating * (min(t, k * o) * d * d + k * min(t, d) * o * o)
    by_pairs = t * t * d * o / 2 + k * t * t * o + k * k * t * o + rotating * (t * d * d + k * t * o * o)
    return bool(by_pairs < products)


def _pairwise_positions(x: OuterProductGradient, eigenvalues: Tensor) -> Tensor:
    """Variances by the pairwise form."""
    k, (n, t, o) = len(x.g), x.g.shape
    weight, pairs = eigenvalues.reciprocal().T, torch.triu_indices(t, t, device=x.a.device)
    found = x.a.new_empty(n, k, k)
    for rows in chunk_slices(n, pairs.shape[1] * max(x.a.shape[-1], o), _CACHE_NUMBERS):
        a, g = x.a[rows], x.g[rows].permute(0, 3, 1, 2)  # [n', o, k, t]
        half = (a[:, pairs[0]] * a[:, pairs[1]]) @ weight
        full = half.new_empty(len(a), t, t, o)
        full[:, pairs[0], pairs[1]] = half
        full[:, pairs[1], pairs[0]] = half
        weighted = torch.matmul(g, full.permute(0, 3, 1, 2))
        sides = (side.transpose(1, 2).reshape(len(a), k, o * t) for side in (g, weighted))
        found[rows] = torch.matmul(next(sides), next(sides).transpose(1, 2))
    return found
