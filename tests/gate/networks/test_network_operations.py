"""Operations without forward-mode or without second derivative: every structure, refinement and directions are right.

The reference is the same network with the operation written in elementary ones, or the dense posterior.
"""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from networks import jacobian
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

import memorymaps as mm

N = 40


class Distances(nn.Module):
    """Negative distances to learned centres: `cdist` takes another path beyond 25 rows."""

    def __init__(self):
        super().__init__()
        self.a, self.centres = nn.Linear(5, 4), nn.Parameter(torch.randn(3, 4))

    def forward(self, x):
        return -torch.cdist(torch.tanh(self.a(x)), self.centres)


class Warps(nn.Module):
    """A small spatial transformer."""

    def __init__(self):
        super().__init__()
        self.place, self.filter, self.out = nn.Linear(5, 6), nn.Conv2d(1, 2, 3, padding=1), nn.Linear(32, 3)

    def forward(self, x):
        where = torch.eye(2, 3).to(x) + 0.1 * self.place(x).view(-1, 2, 3)
        image = torch.tanh(self.filter((x[:, :, None] * x[:, None, :])[:, None, :4, :4]))
        grid = functional.affine_grid(where, (len(x), 2, 4, 4), align_corners=False)
        return self.out(functional.grid_sample(image, grid, align_corners=False).flatten(1))


class Checkpointed(nn.Module):
    def __init__(self, reentrant=False):
        super().__init__()
        self.a, self.b, self.out, self.reentrant = nn.Linear(5, 6), nn.Linear(6, 6), nn.Linear(6, 3), reentrant

    def forward(self, x):
        inner = checkpoint(lambda z: torch.tanh(self.b(torch.tanh(z))), self.a(x), use_reentrant=self.reentrant)
        return self.out(inner)


class Bag(nn.Module):
    def __init__(self, mode):
        super().__init__()
        self.bag, self.hidden, self.out = nn.EmbeddingBag(11, 6, mode=mode), nn.Linear(6, 4), nn.Linear(4, 3)

    def forward(self, x):
        return self.out(torch.tanh(self.hidden(self.bag(x))))


class Packed(nn.Module):
    """An LSTM over sequences of different lengths."""

    def __init__(self):
        super().__init__()
        self.layer, self.out = nn.LSTM(2, 4, batch_first=True), nn.Linear(4, 3)

    def forward(self, x):
        lengths = (x[:, :, 0] != 0).sum(1).cpu()
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return self.out(self.layer(packed)[1][0][-1])


class Tanh(torch.autograd.Function):
    """Cannot be traced by torch.func; can be differentiated twice."""

    @staticmethod
    def forward(ctx, x):
        y = torch.tanh(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return g * (1 - y * y)


class TanhOnce(Tanh):
    """Can be differentiated once."""

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return g * (1 - y * y)


class Fused(nn.Module):
    """A function of the user's own between layers, or around a free parameter."""

    def __init__(self, function, free=False):
        super().__init__()
        self.a, self.out, self.function = nn.Linear(5, 6), nn.Linear(6, 3), function
        self.scale = nn.Parameter(torch.randn(6)) if free else None

    def forward(self, x):
        z = self.a(x)
        return self.out(self.function.apply(z if self.scale is None else z * self.scale))


class Normalised(nn.Module):
    """A parameter is the input of a module, as the relative positions of DeBERTa."""

    def __init__(self):
        super().__init__()
        self.places, self.norm, self.head = nn.Embedding(5, 5), nn.LayerNorm(5), nn.Linear(5, 3)

    def forward(self, x):
        return self.head(torch.tanh(x @ self.norm(self.places.weight)))


def normed():
    return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(5, 6)), nn.Tanh(), nn.Linear(6, 3))


def old_normed():
    return nn.Sequential(nn.utils.weight_norm(nn.Linear(5, 6)), nn.Tanh(), nn.Linear(6, 3))


def rows():
    return torch.randn(N, 5, dtype=torch.float64)


def tokens():
    return torch.randint(0, 11, (N, 4))


def sequences():
    x = torch.rand(N, 3, 2, dtype=torch.float64) + 0.1
    for i in range(N):
        x[i, i % 3 + 1 :] = 0
    return x


CASES = {
    "weight norm": (normed, rows),
    "old weight norm": (old_normed, rows),
    "cdist": (Distances, rows),
    "grid_sample": (Warps, rows),
    "checkpoint": (Checkpointed, rows),
    "bag of means": (lambda: Bag("mean"), tokens),
    "bag of maxima": (lambda: Bag("max"), tokens),
    "parameter as input": (Normalised, rows),
    "packed LSTM": (Packed, sequences),
    "own function": (lambda: Fused(Tanh), rows),
    "own function, once": (lambda: Fused(TanhOnce), rows),
    "own function, once, free parameter": (lambda: Fused(TanhOnce, free=True), rows),
}
pytestmark = [
    pytest.mark.filterwarnings("ignore:torch.func.vmap cannot be used"),
    pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated"),
]


def case(name):
    make, inputs = CASES[name]
    torch.manual_seed(0)
    x = inputs()
    return make().double(), x, torch.arange(N) % 3


def mapped(net, x, y, structure, estimator=None, **options):
    recipe = mm.Laplace(structure, prior=1.0, **options)
    return mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe, estimator=estimator)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_the_dense_posterior_is_that_of_jacobians_one_by_one(name):
    net, x, y = case(name)
    j = torch.cat([each.flatten(2) for each in jacobian(net, x).values()], 2).detach()
    p = net(x).softmax(1).detach()
    curvature = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    s = torch.einsum("ncp,ncd,ndq->pq", j, curvature, j) + torch.eye(j.shape[2], dtype=j.dtype)
    v = torch.einsum("ncp,pq,ndq->ncd", j, torch.linalg.inv(s), j)
    m = mapped(net, x, y, "full")
    np.testing.assert_allclose(m["leverage"], torch.einsum("ncd,ndc->n", curvature, v).numpy(), rtol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("structure", ["kfac", "auto"])  # others below, with finite numbers and without probes
@pytest.mark.parametrize("name", CASES)
def test_every_structure_makes_a_map(name, structure):
    net, x, y = case(name)
    assert np.isfinite(mapped(net, x, y, structure)["sensitivity"]).all()


@pytest.mark.slow
@pytest.mark.parametrize("structure", ["kfac", "diag"])  # by factors of layers, and by parameter
@pytest.mark.parametrize("name", CASES)
def test_refined_examples_have_the_deviations_of_the_dense_posterior(name, structure):
    net, x, y = case(name)
    m = mm.refine(mapped(net, x, y, structure, probes=0), top=4, steps=300, tolerance=1e-7)
    fine = m.select(m["id"][m["refined"]].tolist())
    exact = mapped(net, x, y, "full").select(fine["id"].tolist())
    size = np.abs(exact["deviation"]).max()
    np.testing.assert_allclose(fine["deviation"], exact["deviation"], atol=1e-4 * size)


@pytest.mark.slow
@pytest.mark.parametrize("structure", ["full", "kfac", "ekfac", "diag", "block"])
@pytest.mark.parametrize("name", CASES)
def test_deviations_along_directions_are_those_of_all_outputs(name, structure):
    net, x, y = case(name)
    every, along = (mapped(net, x, y, structure, "first_order", probes=0, directions=k) for k in (0, 1))
    assert np.isfinite(every["sensitivity"]).all()
    np.testing.assert_allclose(
        along["deviation"], every["deviation"], atol=1e-8 * np.abs(every["deviation"]).max(), rtol=1e-7
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_groups_are_left_out_and_examples_refitted(name):
    net, x, y = case(name)
    m = mapped(net, x, y, "diag", probes=0)
    sources = m.origin.posterior, mapped(net, x, y, "full").origin.posterior
    changes = [
        source.output_change(x, source.parameter_change([np.array([1, 2, 3])], steps=500, tolerance=1e-8)[0])
        for source in sources
    ]
    np.testing.assert_allclose(changes[0], changes[1], atol=1e-5 * np.abs(changes[1]).max())
    assert np.isfinite(m.leave_out("target")["sensitivity"]).all()
    assert np.isfinite(mm.refit(m, top=1)["sensitivity"]).all()


def test_slow_checks_are_left_out_said_and_made_on_request():
    net, x, y = case("own function, once")
    m = mapped(net, x, y, "kfac")
    assert any("can be differentiated only once" in note for note in m.provenance.description.notes)
    asked = mapped(net, x, y, "kfac", probes=4)
    assert any(note.startswith("Effective parameters") for note in asked.provenance.description.notes)
    quick = mapped(case("checkpoint")[0], x, y, "kfac")
    assert any(note.startswith("Effective parameters") for note in quick.provenance.description.notes)


def test_a_hessian_without_second_derivatives_is_refused_in_words():
    net, x, y = case("bag of means")
    with pytest.raises(ValueError, match=r"needs second derivatives.*Use structure='full'"):
        mapped(net, x, y, "hessian")


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_reentrant_checkpoints_are_refused_with_what_to_write():
    _, x, y = case("checkpoint")
    with pytest.raises(RuntimeError, match="use_reentrant=False"):
        mapped(Checkpointed(reentrant=True).double(), x, y, "full")
