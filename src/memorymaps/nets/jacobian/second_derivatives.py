"""Whether output tangents can be computed by differentiating a reverse pass, tried on a few examples."""

from __future__ import annotations

import torch
from torch import Tensor

from memorymaps.nets.autograd.hooks import differentiable_cotangents, record_forward
from memorymaps.nets.autograd.per_example_gradients import LinearizedBatch
from memorymaps.nets.jacobian.batch_products import JacobianSite

_TOLERANCE = 1e-2  # relative difference of two ways to compute one product


def has_second_derivatives(site: JacobianSite, inputs: object) -> bool:
    """Whether `⟨u_i, J_i t_i⟩ = ⟨J_iᵀu_i, t_i⟩` for random `u`, `t`, with `J_i t_i` through every call of the network.

    It fails for operations without forward-mode derivative inside a layer with parameters (weight norm, `cdist`,
    `EmbeddingBag`), and for functions that can be differentiated once.
    """
    generator = torch.Generator().manual_seed(0)
    f, calls = record_forward(site.network, inputs, site.owners)
    u = torch.randn(f.shape, generator=generator).to(f).requires_grad_()
    cotangents, g = differentiable_cotangents(f, calls, u, ())
    batch = LinearizedBatch(site.network, f.detach(), tuple(calls), tuple(g))
    by_call = {id(call): each for call, each in zip(calls, cotangents, strict=True)}
    try:
        pairs, expected = _tangents(batch, site, by_call, generator)
        pushed = torch.autograd.grad([a for a, _ in pairs], u, [b for _, b in pairs])[0]
    except RuntimeError:  # torch: not implemented, or not differentiable twice
        return False
    found = (u.detach() * pushed).double().sum(1)
    size = u.detach().double().norm(dim=1) * pushed.double().norm(dim=1) + expected.abs()
    return bool(((found - expected).abs() <= _TOLERANCE * size + 1e-6).all())


def _tangents(
    batch: LinearizedBatch, site: JacobianSite, by_call: dict[int, Tensor], generator: torch.Generator
) -> tuple[list[tuple[Tensor, Tensor]], Tensor]:
    """Pairs of differentiable cotangent and tangent at every call, and `⟨J_iᵀu_i, t_i⟩ [n]`."""
    whole, pairs, expected = slice(None), [], torch.zeros(len(batch.f), dtype=torch.float64, device=batch.f.device)
    for block in site.blocks:
        gradient = batch.gradient(block)
        t = torch.randn((len(batch.f), block.size), generator=generator).to(batch.f)
        expected += (gradient.materialize(whole)[:, 0] * t).double().sum(1)
        for call, tangent in batch.tangents_by_call(block, gradient.jvp(t, whole)):
            pairs.append((by_call[id(call)], tangent.to(batch.f.dtype)))
    return pairs, expected
