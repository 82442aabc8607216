"""Gradients of scales, shifts and thresholds, in closed form or element by element, equal dense Jacobians."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch
from torch import nn
from torch.func import functional_call, jacrev, jvp

import memorymaps as mm
from memorymaps.nets.autograd.batch_size import linearize
from memorymaps.nets.autograd.layers.norms import NormGradient
from memorymaps.nets.autograd.network import evaluation_mode
from memorymaps.nets.autograd.per_example_gradients import VjpGradient

KINDS = {
    "group": (nn.GroupNorm(2, 4), (4, 3, 3)),
    "group, one position": (nn.GroupNorm(2, 4), (4,)),
    "batch, one position": (nn.BatchNorm1d(4), (4,)),
    "batch 1d": (nn.BatchNorm1d(4), (4, 3)),
    "batch 2d": (nn.BatchNorm2d(4), (4, 3, 2)),
    "batch 3d": (nn.BatchNorm3d(4), (4, 3, 2, 2)),
    "instance 1d": (nn.InstanceNorm1d(4, affine=True), (4, 5)),
    "instance 2d": (nn.InstanceNorm2d(4, affine=True), (4, 3, 2)),
    "instance 3d": (nn.InstanceNorm3d(4, affine=True), (4, 3, 2, 2)),
    "layer": (nn.LayerNorm(5), (5,)),
    "layer, tokens": (nn.LayerNorm(5), (3, 5)),
    "layer, planes": (nn.LayerNorm((3, 5)), (2, 3, 5)),
    "layer without shift": (nn.LayerNorm(5, bias=False), (3, 5)),
    "root mean square": (nn.RMSNorm(5), (3, 5)),
}


class Normed(nn.Module):
    """A norm, called `times` times, between layers without parameters and a head."""

    def __init__(self, norm, shape, times):
        super().__init__()
        self.norm, self.times = norm, times
        self.head = nn.Linear(torch.Size(shape).numel(), 3)

    def forward(self, x):
        for _ in range(self.times):
            x = torch.tanh(self.norm(x)) + 0.1 * x
        return self.head(x.flatten(1))


def gradients(norm, shape, times=1, frozen=()):
    """The norm's gradients in closed form and by vector–Jacobian products, for all outputs of seven examples."""
    torch.manual_seed(0)
    net = Normed(norm, shape, times).double().eval()
    for name, value in net.norm.named_parameters():
        value.data = torch.randn_like(value)
        value.requires_grad_(name not in frozen)
    if hasattr(norm, "running_mean") and norm.running_mean is not None:
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    x = torch.randn(7, *shape, dtype=torch.float64)
    recipe = mm.Laplace("diag", prior=1.0, probes=0)
    m = mm.memory_map(net, x, torch.arange(7) % 3, likelihood="categorical", posterior=recipe)
    problem = m.origin.posterior.problem
    with evaluation_mode(net):
        eye = torch.eye(3, dtype=torch.float64)[:, None].expand(3, 7, 3)
        batch = linearize(problem.network, problem.owners, x, slice(0, 7), lambda f, _: eye)
        block = next(block for block in problem.blocks if "norm" in block.name)
        uses = tuple(batch._uses_by_parameter[block.parameters[0]])
        return batch.gradient(block), VjpGradient(problem.network, block.parameters, uses), block


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_the_closed_form_equals_the_vector_jacobian_product(kind, times):
    mine, local, block = gradients(*KINDS[kind], times)
    assert isinstance(mine, NormGradient)
    torch.testing.assert_close(mine.materialize(slice(2, 6)), local.materialize(slice(2, 6)), rtol=1e-9, atol=1e-12)
    tangents = torch.randn(4, block.size, dtype=torch.float64)
    for found, expected in zip(mine.jvp(tangents, slice(2, 6)), local.jvp(tangents, slice(2, 6)), strict=True):
        torch.testing.assert_close(found, expected.reshape(found.shape), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("frozen", ["weight", "bias"])
def test_half_a_norm(frozen):
    mine, local, block = gradients(nn.GroupNorm(2, 4), (4, 3, 3), frozen=(frozen,))
    assert isinstance(mine, NormGradient)
    torch.testing.assert_close(mine.materialize(slice(0, 7)), local.materialize(slice(0, 7)), rtol=1e-9, atol=1e-12)
    tangents = torch.randn(7, block.size, dtype=torch.float64)
    torch.testing.assert_close(
        mine.jvp(tangents, slice(0, 7))[0], local.jvp(tangents, slice(0, 7))[0].reshape(7, 4, 3, 3)
    )


def test_custom_and_tied_norms_use_vector_jacobian_products():
    class Own(nn.LayerNorm):
        def forward(self, x):
            return super().forward(x) ** 2

    assert isinstance(gradients(Own(5), (3, 5))[0], VjpGradient)
    tied = nn.LayerNorm(5)
    tied.bias = tied.weight
    assert isinstance(gradients(tied, (3, 5))[0], VjpGradient)


class Response(nn.Module):
    """Filter response normalisation with a threshold, written by hand."""

    def __init__(self):
        super().__init__()
        self.scale, self.shift, self.threshold = (nn.Parameter(torch.zeros(1, 4, 1, 1)) for _ in range(3))

    def forward(self, x):
        x = x * torch.rsqrt(x.square().mean((2, 3), keepdim=True) + 1e-6)
        return torch.maximum(self.scale * x + self.shift, self.threshold)


class RootMeanSquare(nn.Module):
    """Channels last, as language models have it."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(5))

    def forward(self, x):
        return self.scale * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)


class Gate(nn.Module):
    """One number for all elements, beside a parameter of two axes without one of examples."""

    def __init__(self):
        super().__init__()
        self.gate, self.shift = nn.Parameter(torch.ones(())), nn.Parameter(torch.ones(4, 1))

    def forward(self, x):
        return torch.sigmoid(self.gate) * x.exp() + self.shift


class Viewed(nn.Module):
    """A scale that is given its axes in the forward pass: it cannot be broadcast beforehand."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, x):
        return self.scale.view(1, -1, 1, 1) * x


class Divided(nn.Module):
    """A scale divided by its length: every element of the output depends on all of it."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(5))

    def forward(self, x):
        return self.scale / self.scale.norm() * x


class Summed(nn.Module):
    """A scale before a sum over the elements it scales."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(5))

    def forward(self, x):
        return x + (self.scale * x).sum(-1, keepdim=True)


OWN_MODULES = {
    "thresholded": (Response(), (4, 3, 3), "elementwise"),
    "channels last": (RootMeanSquare(), (3, 5), "elementwise"),
    "one number": (Gate(), (4, 3), "elementwise"),
    "viewed": (Viewed(), (4, 3, 3), "vmap"),
    "divided by its length": (Divided(), (3, 5), "vmap"),
    "summed": (Summed(), (3, 5), "vmap"),
}


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("kind", OWN_MODULES)
def test_parameters_of_own_modules_against_the_dense_jacobian(kind, times):
    norm, shape, strategy = OWN_MODULES[kind]
    found, _, block = gradients(norm, shape, times)
    call = found.uses[0][0]
    assert isinstance(found, VjpGradient)
    assert call.owner.strategy == strategy
    net = found.network.module
    values = {name: dict(net.named_parameters())[name].detach() for name in block.parameters}
    x = call.args[0]
    dense = jacrev(lambda p: functional_call(net, p, (x,)))(values)
    expected = torch.cat([dense[name].reshape(7, 3, -1) for name in block.parameters], 2)
    torch.testing.assert_close(found.materialize(slice(0, 7)), expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found.materialize(slice(2, 6)), expected[2:6], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", [kind for kind, (*_, strategy) in OWN_MODULES.items() if strategy == "elementwise"])
def test_tangents_of_own_modules_against_forward_mode(kind):
    norm, shape, _ = OWN_MODULES[kind]
    found, _, block = gradients(norm, shape)
    module, (x,) = found.network.module.norm, found.uses[0][0].args
    values = dict(module.named_parameters())
    tangents = torch.randn(4, block.size, dtype=torch.float64)
    outputs = found.jvp(tangents, slice(2, 6))[0]
    for row in range(4):
        pieces = torch.split(tangents[row], [value.numel() for value in values.values()])
        tangent = {name: piece.reshape(values[name].shape) for name, piece in zip(values, pieces, strict=True)}
        at = {name: value.detach() for name, value in values.items()}
        expected = jvp(lambda p, k=row: functional_call(module, p, (x[2 + k : 3 + k],)), (at,), (tangent,))[1][0]
        torch.testing.assert_close(outputs[row], expected, rtol=1e-9, atol=1e-12)
