"""Sampled rows for the most sensitive examples, calibrated EKFAC for the others, against the exact posterior."""

import functools

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from sklearn.datasets import load_digits
from torch import nn

import memorymaps as mm
from memorymaps.core.likelihoods.categorical import Categorical
from memorymaps.core.likelihoods.exponential_family import Gaussian
from memorymaps.nets.sampled.calibration import Calibration, calibrated, cavity_leverage
from memorymaps.nets.sampled.measures import Removal
from memorymaps.nets.sampled.structure import Sampled

PRIOR = 1.0


@functools.cache
def digits(n):
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x[:n] / 16).float(), torch.tensor(y[:n])
    y[::20] = (y[::20] + 3) % 10
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 10))
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=60, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x), y, reduction="sum")
        loss = loss + PRIOR / 2 * sum(v.square().sum() for v in net.parameters())
        loss.backward()
        return loss

    optimizer.step(closure)
    return net, x, y


@functools.cache
def drawn(structure, **options):
    net, x, y = digits(900)
    return mm.memory_map(net, x, y, likelihood="categorical", posterior=mm.Laplace(structure, prior=PRIOR, **options))


def error(m, exact, name, rows=slice(None)):
    return np.linalg.norm(m[name][rows] - exact[name][rows]) / np.linalg.norm(exact[name][rows])


@pytest.mark.slow
def test_the_most_sensitive_have_sampled_rows_and_the_others_calibrated_sizes(monkeypatch):
    monkeypatch.setattr("memorymaps.nets.sampled.partly.CALIBRATION_EXAMPLES", 128)
    exact, quick = drawn("full"), drawn("ekfac", probes=0)
    rows = round(3 * float(exact["leverage"].sum()))
    m, everybody = drawn(Sampled(rows=rows, share=0.1)), drawn(Sampled(rows=rows))
    chosen = m["sampled"]
    assert chosen.dtype == bool
    assert 0.1 * len(m) <= chosen.sum() <= 0.1 * len(m) + 128
    for column in ("leverage", "sensitivity", "loo_loss", "deviation", "sensitivity_se"):
        np.testing.assert_allclose(m[column][chosen], everybody[column][chosen], rtol=1e-6)
    assert "sampled" not in everybody
    assert set(np.argsort(exact["sensitivity"])[-30:]) <= set(np.flatnonzero(chosen))
    assert error(quick, exact, "leverage") > 0.5  # what the calibration mends
    assert error(m, exact, "leverage", ~chosen) < 0.35
    assert error(m, exact, "leverage") < 0.25
    assert error(m, exact, "sensitivity") < 0.2
    assert abs(m["leverage"].sum() / exact["leverage"].sum() - 1) < 0.1
    assert np.all(m["leverage_se"] > 0)
    covered = np.abs(m["leverage"] - exact["leverage"]) <= 2 * m["leverage_se"]
    assert 0.8 < covered.mean() <= 1
    assert "most sensitive by EKFAC" in " ".join(m.provenance.description.notes)
    assert 0.7 < m.trust["deviation"].error / error(m, exact, "deviation") < 2
    assert m.trust["deviation"].error > m.trust["sensitivity"].error


def test_a_calibrated_variance_has_the_calibrated_leverage_below_its_bound():
    generator = torch.Generator().manual_seed(0)
    f, y, w = torch.randn(20, 4, generator=generator).double(), torch.arange(20) % 4, torch.ones(20).double()
    root = torch.randn(20, 4, 6, generator=generator).double() * torch.logspace(-3, 3, 20)[:, None, None]
    variance = root @ root.mT
    h = cavity_leverage(Categorical(), f, y, w, variance)
    assert bool((h < 3).all())
    wanted = 0.4 * h.numpy()
    without = calibrated(Categorical(), f, y, w, variance, Calibration.of(h.numpy(), wanted))
    removal = Removal.of(Categorical(), f, y, w, without)
    found = removal.with_example(without)
    leverage = (Categorical().curvature(f, y) @ found).diagonal(dim1=1, dim2=2).sum(-1)
    np.testing.assert_allclose(leverage, wanted, rtol=1e-6)
    np.testing.assert_allclose(removal.value(Categorical(), y, w)[0], wanted, rtol=1e-6)
    np.testing.assert_allclose(found, found.mT)
    same = Calibration.of(h.numpy(), h.numpy())
    assert same.spread == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(calibrated(Categorical(), f, y, w, variance, same), variance, rtol=1e-5)


def test_a_calibrated_leverage_that_rounds_to_its_bound_has_a_removal():
    f, y, w = torch.zeros(3, 1).double(), torch.ones(3, 1).double(), torch.ones(3).double()
    variance = torch.tensor([1e-3, 1.0, 1e6]).double()[:, None, None]
    h = cavity_leverage(Gaussian(), f, y, w, variance)
    without = calibrated(Gaussian(), f, y, w, variance, Calibration.of(h.numpy(), np.ones(3)))
    removal = Removal.of(Gaussian(), f, y, w, without)
    assert bool((removal.value(Gaussian(), y, w)[0] > 1 - 1e-8).all())
    assert bool((removal.with_example(without) < 1).all())


def test_a_calibration_is_monotone_and_states_what_it_leaves():
    rng = np.random.default_rng(0)
    quick = np.exp(rng.normal(size=400))
    exact = quick**0.7 * np.exp(0.2 * rng.normal(size=400))
    found = Calibration.of(quick, exact)
    at = torch.as_tensor(np.exp(np.linspace(-6, 6, 200)))
    values = found(at)
    assert bool((values.diff() >= -1e-12 * values[1:]).all())
    assert found.spread == pytest.approx(0.2, rel=0.3)
    inside = (at > 0.2) & (at < 5)
    np.testing.assert_allclose(values[inside], at[inside] ** 0.7, rtol=0.25)
    assert float(found(torch.zeros(1))) == 0


@pytest.mark.slow
def test_many_examples_and_a_short_budget_lead_to_a_share_and_are_said(monkeypatch):
    net, x, y = digits(1797)
    for name in ("partly", "cost", "curvature"):
        monkeypatch.setattr(f"memorymaps.nets.sampled.{name}.CALIBRATION_EXAMPLES", 40)
    monkeypatch.setattr("memorymaps.nets.sampled.sample_size.FIRST", 64)

    def draw(share):
        recipe = mm.Laplace(Sampled(error=1e-3, budget=0.4, share=share), prior=PRIOR)
        return mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe)

    m, whole = draw(None), draw(1.0)
    assert 0.05 * len(m) <= m["sampled"].sum() <= 0.05 * len(m) + 41
    rows = [len(each.origin.posterior.covariance.q) for each in (whole, m)]
    assert rows[0] < rows[1]  # more rows for fewer examples


@pytest.mark.parametrize("share", [0, -0.1, 1.5, float("nan")])
def test_a_share_that_says_nothing_is_refused(share):
    with pytest.raises(ValueError, match=r"0\.05 for 5 %"):
        Sampled(share=share)


@pytest.mark.slow
def test_errors_of_calibrated_examples_contain_the_truth_where_rows_are_few(monkeypatch):
    """Of a loss they were in proportion to the loss, not to how far it moves: 46 to 90 % were within two of them."""
    monkeypatch.setattr("memorymaps.nets.sampled.partly.CALIBRATION_EXAMPLES", 128)
    exact = drawn("full")
    m = drawn(Sampled(rows=round(0.5 * float(exact["leverage"].sum())), share=0.05))
    others = ~m["sampled"]
    for name in ("leverage", "sensitivity", "loo_loss"):
        within = np.abs(m[name] - exact[name]) <= 2 * m[f"{name}_se"]
        assert np.mean(within[others]) > 0.9, name
