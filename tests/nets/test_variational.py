"""The variational optimiser: its fixed point in closed form, ivon-opt's numbers, averages over q, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from networks import case
from torch import nn
from torch.nn.utils import parameters_to_vector

import memorymaps as mm
from memorymaps.nets.optimizers.variational_newton import VariationalNewton
from memorymaps.training.tracker import Tracker


def train(net, x, y, optimizer, steps, samples=1):
    for _ in range(steps):
        for _ in range(samples):
            with optimizer.sampled_params(train=True):
                optimizer.zero_grad()
                nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    return optimizer


def made(parameters, **options):
    return VariationalNewton(parameters, **{"lr": 0.1, "ess": 20, "weight_decay": 0.01, "betas": (0.9, 0.99)} | options)


@pytest.mark.parametrize(("samples", "groups"), [(1, 1), (3, 2)])
def test_step_for_step_the_numbers_of_ivon(samples, groups):
    ivon = pytest.importorskip("ivon", reason="ivon-opt is GPL, for tests only")

    def run(make):
        net, x, y = case("mlp", 20)
        parameters = list(net.parameters())
        halves = [{"params": parameters[:2]}, {"params": parameters[2:], "weight_decay": 0.5}]
        optimizer = make(halves if groups == 2 else parameters)
        torch.manual_seed(1)
        train(net, x, y, optimizer, 12, samples)
        hess = torch.cat([group["hess"] for group in optimizer.param_groups])
        return parameters_to_vector(parameters).detach(), hess

    ours = run(made)
    theirs = run(lambda p: ivon.IVON(p, lr=0.1, ess=20, weight_decay=0.01, beta2=0.99, mc_samples=samples))
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)


@pytest.mark.slow
def test_a_quadratic_is_learned_exactly():
    """`ℓ̄ = Σ a(θ − b)²/2`, prior `δ`: `q = N(ab/(a + δ), 1/(λ(a + δ)))`."""
    torch.manual_seed(0)
    a, b = torch.tensor([0.5, 3.0], dtype=torch.float64), torch.tensor([1.0, -2.0], dtype=torch.float64)
    w = nn.Parameter(torch.zeros(2, dtype=torch.float64))
    optimizer = VariationalNewton([w], lr=0.2, ess=200, weight_decay=0.3, betas=(0.9, 0.997))
    found = []
    for step in range(3000):
        optimizer.param_groups[0]["lr"] = 0.2 / (1 + step / 100)
        with optimizer.sampled_params(train=True):
            optimizer.zero_grad()
            (a * (w - b) ** 2 / 2).sum().backward()
        optimizer.step()
        found.append(optimizer.param_groups[0]["hess"])
    np.testing.assert_allclose(w.detach(), a * b / (a + 0.3), atol=0.01)
    np.testing.assert_allclose(torch.stack(found[500:]).mean(0), a, rtol=0.1)


def test_means_are_restored_after_sampling_and_the_state_resumes():
    net, x, y = case("mlp", 20)
    optimizer = train(net, x, y, made(net.parameters()), 3)
    means = parameters_to_vector(net.parameters()).detach().clone()
    with optimizer.sampled_params():
        moved = parameters_to_vector(net.parameters()).detach().clone()
    assert not torch.equal(moved, means)
    assert torch.equal(parameters_to_vector(net.parameters()), means)
    again = made(net.parameters())
    again.load_state_dict(optimizer.state_dict())
    assert again.current_step == 3
    recipes = (mm.FromOptimizer(o, n=20) for o in (optimizer, again))
    a, b = (mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe) for recipe in recipes)
    assert a.table.equals(b.table)


@pytest.mark.slow
def test_maps_average_over_q_and_agree_with_samples(tmp_path):
    _, x, y = case("mlp", 20)
    net = nn.Sequential(nn.Linear(4, 3)).double()  # outputs of a linear model are Gaussian under q: no linearisation
    optimizer = train(net, x, y, made(net.parameters()), 300)
    with Tracker(net, optimizer, x, y, likelihood="categorical", path=tmp_path, test=(x, y)) as tracker:
        m = tracker.record()
    with torch.no_grad():
        drawn = []
        for _ in range(2000):
            with optimizer.sampled_params():
                drawn.append(net(x).softmax(1))
    p = torch.stack(drawn).numpy()
    plug_in = net(x).softmax(1).detach().numpy()
    bound = 5 * p.std(0).max() / math.sqrt(len(p))
    assert np.abs(m["mean"] - p.mean(0)).max() < bound
    assert np.abs(plug_in - p.mean(0)).max() > 2 * bound  # not the plug-in mean
    losses = -np.log(p[:, np.arange(20), y])
    assert np.abs(m["loss"] - losses.mean(0)).max() < 5 * losses.std(0).max() / math.sqrt(len(p))
    assert tracker.trajectory().losses()["test_loss"].iloc[0] == pytest.approx(m["loss"].mean(), rel=1e-9)
    at_the_mean = mm.FromOptimizer(optimizer, n=20, average=False)
    m = mm.memory_map(net, x, y, likelihood="categorical", posterior=at_the_mean)
    np.testing.assert_allclose(m["mean"], plug_in, rtol=1e-9)


@pytest.mark.parametrize(
    "options", [{"lr": 0.0}, {"ess": -1.0}, {"betas": (0.9, 1.0)}, {"weight_decay": -1.0}, {"clip_radius": math.nan}]
)
def test_numbers_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match="expected"):
        made([nn.Parameter(torch.zeros(1))], **options)


def test_steps_without_samples_and_samples_within_samples_are_refused():
    optimizer = made([nn.Parameter(torch.zeros(1))])
    with pytest.raises(RuntimeError, match="no sample since"):
        optimizer.step()
    with optimizer.sampled_params(), pytest.raises(RuntimeError, match="within a sample"), optimizer.sampled_params():
        pass


def test_an_average_needs_all_of_the_variance():
    net, x, y = case("mlp", 20)
    optimizer = train(net, x, y, made(net.parameters()), 3)
    recipes = (mm.FromOptimizer(optimizer, n=20, directions=k) for k in (None, 0, 1))
    maps = [mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe) for recipe in recipes]
    assert all(m.table.equals(maps[0].table) for m in maps)
