"""EKFAC from a sample of the examples against EKFAC of all of them."""

import re

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from sklearn.datasets import load_digits
from torch import nn

import memorymaps as mm
from memorymaps.nets.curvature.kronecker import EKFAC
from memorymaps.nets.curvature.sampled_factors import error_by_quarters


def drawn(structure, weight=None, kind="mlp"):
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x / 16).float(), torch.tensor(y)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 10))
    if kind == "cnn":
        x = x.reshape(-1, 1, 8, 8)
        net = nn.Sequential(nn.Conv2d(1, 8, 3, stride=2), nn.Tanh(), nn.Flatten(), nn.Linear(72, 10))
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    recipe = mm.Laplace(structure, prior=1.0, probes=0)
    return mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe, sample_weight=weight)


def stated(m):
    return float(re.search(r"about ([\d.]+)%", " ".join(m.provenance.description.notes))[1]) / 100


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_a_sample_gives_the_leverages_of_all_examples_to_the_error_that_it_states(kind):
    whole = drawn("ekfac", kind=kind)["leverage"]
    off = {}
    for examples in (200, 800):
        m = drawn(EKFAC(examples=examples), kind=kind)
        off[examples] = np.linalg.norm(m["leverage"] - whole) / np.linalg.norm(whole)
        assert 0.7 < stated(m) / off[examples] < 2
    assert off[800] < off[200]
    assert off[800] < 0.1


@pytest.mark.parametrize("seed", [0, 2])
def test_the_bias_of_few_examples_is_part_of_the_stated_error(seed):
    whole, m = drawn("ekfac")["leverage"], drawn(EKFAC(examples=48, seed=seed))
    assert m["leverage"].sum() > 1.3 * whole.sum()  # too large: most of the error, and that of each quarter
    assert 0.7 < stated(m) / (np.linalg.norm(m["leverage"] - whole) / np.linalg.norm(whole)) < 2


def test_the_error_of_a_sample_is_its_scatter_and_its_bias():
    root = torch.randn(200, 400, generator=torch.Generator().manual_seed(0)).double()
    whole, first, second = 1 + 0.1 + 0.02 * root[:, :3].mT  # a bias of a tenth, four times as large of a quarter
    first, second = first + 0.3, second + 0.3
    scatter = float((first - second).norm() / 8**0.5 / whole.norm())
    bias = float(((first + second) / 2 - whole).norm() / 3 / whole.norm())
    assert error_by_quarters(whole, first, second) == pytest.approx((scatter**2 + bias**2) ** 0.5)
    assert bias == pytest.approx(0.1 / 1.1, rel=0.02)


@pytest.mark.slow
def test_all_examples_are_no_sample_and_seeds_and_weights_count():
    assert np.array_equal(drawn(EKFAC(examples=5000))["leverage"], drawn("ekfac")["leverage"])
    first, again, other = (drawn(EKFAC(examples=300, seed=seed))["leverage"] for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    weight = np.where(np.arange(1797) < 900, 0.0, 2.0)
    whole, some = (drawn(structure, weight)["leverage"] for structure in ("ekfac", EKFAC(examples=600)))
    assert np.all(some[:900] == 0)
    assert np.linalg.norm(some - whole) < 0.15 * np.linalg.norm(whole)


def test_too_few_examples_are_refused_with_what_to_type():
    with pytest.raises(ValueError, match=r"EKFAC\(examples=4096\)"):
        EKFAC(examples=3)
    assert EKFAC(examples=4096).examples == 4096
