"""Networks with channels-last or strided inputs, and with a low-rank adapter as what trains."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from networks import case
from torch import nn

import memorymaps as mm


def drawn(net, x, y, structure="full"):
    return mm.memory_map(net, x, y, likelihood="categorical", posterior=mm.Laplace(structure, prior=0.5))


def same(a, b, rtol=1e-9):
    for column in ("leverage", "error", "sensitivity", "loo_loss"):
        np.testing.assert_allclose(a[column], b[column], rtol=rtol)


@pytest.mark.slow
@pytest.mark.parametrize("structure", ["full", "kfac", "diag"])
def test_channels_last_images_and_models_give_the_same_map(structure):
    net, x, y = case("cnn", 13)
    expected = drawn(net, x, y, structure)
    last = x.contiguous(memory_format=torch.channels_last)
    same(drawn(net, last, y, structure), expected)
    net.to(memory_format=torch.channels_last)
    same(drawn(net, last, y, structure), expected)


@pytest.mark.slow
@pytest.mark.parametrize("structure", ["full", "kfac", "diag"])
def test_strided_inputs_give_the_same_map(structure):
    net, x, y = case("mlp", 13)
    wide = torch.stack([x, -x], 2)[..., 0]
    assert not wide.is_contiguous()
    same(drawn(net, wide, y, structure), drawn(net, x, y, structure))


class Adapted(nn.Module):
    """A frozen linear layer plus a trainable product of rank two, as LoRA does it."""

    def __init__(self):
        super().__init__()
        self.base = nn.Linear(6, 3).requires_grad_(False)
        self.a, self.b = nn.Linear(6, 2, bias=False), nn.Linear(2, 3, bias=False)

    def forward(self, x):
        return self.base(x) + self.b(self.a(x))


def test_a_low_rank_adapter_is_the_dense_posterior_of_what_trains():
    torch.manual_seed(0)
    net = Adapted().double()
    x, y = torch.randn(17, 6, dtype=torch.float64), torch.randint(0, 3, (17,))
    m = drawn(net, x, y)
    trained = {name: p.detach() for name, p in net.named_parameters() if p.requires_grad}
    j = torch.func.jacrev(lambda p: torch.func.functional_call(net, p, x))(trained)
    j = torch.cat([each.flatten(2) for each in j.values()], 2)
    p = net(x).softmax(1).detach()
    curvature = torch.diag_embed(p) - p[:, :, None] * p[:, None]
    precision = torch.einsum("ncp,nck,nkq->pq", j, curvature, j) + 0.5 * torch.eye(j.shape[2], dtype=j.dtype)
    variance = torch.einsum("ncp,pq,nkq->nck", j, torch.linalg.inv(precision), j)
    np.testing.assert_allclose(m["leverage"], torch.einsum("nck,nkc->n", curvature, variance), rtol=1e-8)
    assert any("base.weight" in line and "frozen" in line for line in m.provenance.description.coverage)


class OwnNorm(nn.GroupNorm):
    def forward(self, x):
        return super().forward(2 * x)


class ScaledNorm(nn.Module):
    """A group norm by a function, with parameters of its own."""

    def __init__(self, function):
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.ones(4)), nn.Parameter(torch.zeros(4))
        self.function = function

    def forward(self, x):
        return self.function(input=x, num_groups=2, weight=self.scale, bias=self.shift)


NORMS = {
    "torch's": lambda: nn.GroupNorm(2, 4),
    "derived": lambda: OwnNorm(2, 4),
    "torch.nn.functional": lambda: ScaledNorm(torch.nn.functional.group_norm),
    "torch.group_norm": lambda: ScaledNorm(torch.group_norm),
}


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("structure", ["full", "kfac", "sampled"])
@pytest.mark.parametrize("trained", ["all", "the norm", "not the first layer"])
def test_group_norms_of_channels_last_images_give_the_same_map(norm, structure, trained):
    # torch's own backward pass ends the process where scale and shift have a gradient and the input has none
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), NORMS[norm](), nn.Tanh(), nn.Flatten(), nn.Linear(64, 3)).double()
    x, y = torch.rand(20, 3, 6, 6).double(), torch.arange(20) % 3
    net[0].requires_grad_(trained != "not the first layer")
    recipe = mm.Laplace(structure, prior=0.5, subset=["1"] if trained == "the norm" else "all")
    expected, found = (
        mm.memory_map(net, inputs, y, likelihood="categorical", posterior=recipe)
        for inputs in (x, x.contiguous(memory_format=torch.channels_last))
    )
    same(found, expected, 1e-6)
