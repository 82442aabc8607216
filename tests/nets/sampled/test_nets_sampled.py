"""Sampled rows against the exact posterior, dense matrices in double precision, and repeated draws."""

from __future__ import annotations

import errno
import functools
import itertools
import os
import re
import tempfile
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from networks import CASES, case, jacobian
from remedies import remedy
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

import memorymaps as mm
from memorymaps.core.likelihoods.categorical import Categorical
from memorymaps.core.likelihoods.exponential_family import Bernoulli, Gaussian
from memorymaps.data.examples import DataError
from memorymaps.data.in_memory import ArrayExamples
from memorymaps.nets.autograd.batch_size import linearize
from memorymaps.nets.autograd.hooks import one_hot_directions
from memorymaps.nets.autograd.network import evaluation_mode
from memorymaps.nets.cost_model import forward_macs
from memorymaps.nets.covariance.gram import DenseRows
from memorymaps.nets.curvature.auto import Auto
from memorymaps.nets.curvature.dual import rows_types
from memorymaps.nets.problem import build_problem
from memorymaps.nets.refit.group_refit import NetworkGroupRefit
from memorymaps.nets.refit.objective import LeaveOutObjective
from memorymaps.nets.sampled import covariance as sampled_covariance
from memorymaps.nets.sampled.budget import PER_SECOND
from memorymaps.nets.sampled.cost import cost_of, kinds_within
from memorymaps.nets.sampled.forecast import Forecast
from memorymaps.nets.sampled.rows.files import FiledRows, RowFile
from memorymaps.nets.sampled.rows.pool import RowPool
from memorymaps.nets.sampled.rows.sampling import (
    debiased_weights,
    drawn,
    log_determinant,
    probabilities,
    uniform_numbers,
)
from memorymaps.nets.sampled.rows.work import PassWork, counted_work
from memorymaps.nets.sampled.structure import Sampled

DELTA = 0.3
MEASURES = ("leverage", "sensitivity", "loo_loss")
ALL = Sampled(rows=10**6)


def drawn_map(net, x, y, structure, likelihood="categorical", prior=DELTA, **options):
    return mm.memory_map(net, x, y, likelihood=likelihood, posterior=mm.Laplace(structure, prior=prior), **options)


def notes(m):
    return " ".join(m.provenance.description.notes)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_with_all_rows_it_is_the_exact_posterior_and_says_so(name):
    net, x, y = case(name)
    m, exact = (drawn_map(net, x, y, structure) for structure in (ALL, "full"))
    for column in (*MEASURES, "deviation", "output_sensitivity"):
        np.testing.assert_allclose(m[column], exact[column], rtol=1e-8, atol=1e-10)
    assert all(np.all(m[f"{column}_se"] == 0) for column in MEASURES)
    assert "all there are, the exact posterior" in notes(m)
    assert m.provenance.estimator.name == "cavity"
    own, theirs = (each.provenance.description.effective_parameters for each in (m, exact))
    assert own == pytest.approx(theirs, rel=1e-8)


def test_it_follows_a_prior_that_differs_by_parameter_and_by_layer():
    net, x, y = case("mlp")
    for values in (lambda v: torch.rand_like(v), lambda v: torch.rand(()).expand(v.shape)):
        torch.manual_seed(2)
        optimizer = torch.optim.AdamW(net.parameters(), weight_decay=0.1)
        for value in net.parameters():
            optimizer.state[value] = {"step": torch.tensor(1e9), "exp_avg_sq": values(value)}
        prior = mm.prior_from(optimizer, 11)
        m, exact = (drawn_map(net, x, y, structure, prior=prior) for structure in (ALL, "full"))
        for column in MEASURES:
            np.testing.assert_allclose(m[column], exact[column], rtol=1e-8)


def dense_rows(net, x):
    """`J [n, c, P]` and the weighted rows `A = LᵀJ [n, k, P]`, by autograd alone."""
    j = torch.cat([each.reshape(*each.shape[:2], -1) for each in jacobian(net, x).values()], dim=2)
    return j, Categorical().fisher_root(net(x).detach(), None).mT @ j


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mlp", "cnn", "attention", "tied"])
@pytest.mark.parametrize("rows", [1, 5, 12])
def test_own_rows_are_taken_out_as_from_a_dense_matrix(name, rows):
    net, x, y = case(name)
    m = drawn_map(net, x, y, Sampled(rows=rows, seed=3))
    source = m.origin.posterior.covariance
    j, a = dense_rows(net, x)
    k = a.shape[1]
    size = a.new_zeros(len(x), k) + Categorical().fisher_root(net(x).detach(), None).square().sum(1)
    places = drawn(probabilities(size.flatten(), rows), uniform_numbers(size.numel(), 3))
    assert source.owners.tolist() == (places // k).tolist()
    total = DELTA * torch.eye(j.shape[2], dtype=torch.float64)
    outer = source.weights[:, None, None] * a.flatten(0, 1)[places][:, :, None] * a.flatten(0, 1)[places][:, None]
    f = net(x).detach()
    error = (f.softmax(1) - nn.functional.one_hot(y, f.shape[1])).double()
    drawn_rows = source.weights.sqrt()[:, None] * a.flatten(0, 1)[places]
    root = Categorical().fisher_root(f, None)
    for i in range(len(x)):
        others = source.owners != i
        inverse = torch.linalg.inv(total + outer[others].sum(0))
        moves = j[i] @ inverse @ drawn_rows[others].T
        cavity = j[i] @ inverse @ j[i].T
        cavity = cavity @ torch.linalg.solve(cavity + (moves * source.bias[others]) @ moves.T, cavity)
        c = root[i].T @ cavity @ root[i]
        np.testing.assert_allclose(m["deviation"][i], cavity @ error[i], rtol=1e-7, atol=1e-9)
        h = float(torch.linalg.solve(torch.eye(k, dtype=c.dtype) + c, c).trace())
        assert m["leverage"][i] == pytest.approx(h, rel=1e-7)


def test_examples_whose_rows_are_all_drawn_or_none_are_both_there():
    net, x, y = case("mlp", 40)
    owners = drawn_map(net, x, y, Sampled(rows=40)).origin.posterior.covariance.owners
    counts = torch.bincount(owners, minlength=40)
    assert {0, 1, 2} == set(counts.tolist())


def test_leverage_stays_below_its_bound_however_few_rows():
    net, x, y = case("mlp", 30)
    for rows in (1, 3, 10, 30):
        m = drawn_map(net, x, y, Sampled(rows=rows), prior=1e-6)
        assert np.all(m["leverage"] < 2)  # three outputs: Λ has rank two
        assert np.all(np.isfinite(m["sensitivity"]))


def some_matrix():
    """Rows with lengths that differ, `tr A(AᵀA + 1)⁻¹Aᵀ` near 20."""
    rng = np.random.default_rng(0)
    return torch.as_tensor(rng.normal(size=(300, 60)) * rng.lognormal(0, 0.5, size=(300, 1)) / 22)


def test_the_sum_of_drawn_rows_is_unbiased():
    a, draws = some_matrix(), 3000
    q = probabilities(a.square().sum(1), 40)
    assert float(q.sum()) == pytest.approx(40)
    counts = torch.zeros(len(a), dtype=torch.float64)
    for seed in range(draws):
        counts[drawn(q, uniform_numbers(len(a), seed))] += 1
    off = (counts / draws - q) / (q * (1 - q) / draws).sqrt().clamp(min=1e-12)
    assert float(off.abs().max()) < 4.5  # standard errors, of 300 rows
    mean, exact = a.T @ ((counts / draws / q)[:, None] * a), a.T @ a
    assert float((mean - exact).norm() / exact.norm()) < 0.03


@pytest.mark.slow
def test_debiased_weights_make_the_inverse_right_on_average():
    a = some_matrix()
    gram = a @ a.T
    exact = torch.linalg.inv(a.T @ a + torch.eye(a.shape[1], dtype=a.dtype)).trace()
    rows = 2 * float(torch.linalg.solve(gram + torch.eye(len(a), dtype=a.dtype), gram).trace())
    q = probabilities(a.square().sum(1), rows)
    found = []
    for seed in range(200):
        places = drawn(q, uniform_numbers(len(a), seed))
        own = gram[places][:, places]

        def kept(weight, own=own):
            root = weight.sqrt()
            return torch.linalg.inv(torch.eye(len(root), dtype=own.dtype) + root[:, None] * own * root).diagonal()

        each = []
        for weight in (1 / q[places], debiased_weights(q[places], kept)):
            s = torch.eye(a.shape[1], dtype=a.dtype) + a[places].T @ (weight[:, None] * a[places])
            each.append(float(torch.linalg.inv(s).trace() / exact) - 1)
        found.append(each)
    plain, debiased = np.mean(found, axis=0)
    assert plain > 0.02
    assert abs(debiased) < plain / 4


def test_the_log_determinant_is_right_on_average():
    a = some_matrix()
    gram, eye = a @ a.T, torch.eye(a.shape[1], dtype=a.dtype)
    exact = float(torch.linalg.slogdet(a.T @ a + eye)[1])
    rows = 2 * float(torch.linalg.solve(gram + torch.eye(len(a), dtype=a.dtype), gram).trace())
    q, found = probabilities(a.square().sum(1), rows), []
    for seed in range(200):
        places = drawn(q, uniform_numbers(len(a), seed))
        own = gram[places][:, places]

        def lower(weight, own=own):
            root = weight.sqrt()
            return torch.linalg.cholesky(torch.eye(len(root), dtype=own.dtype) + root[:, None] * own * root)

        weight = debiased_weights(q[places], lambda w, lower=lower: sampled_covariance.inverse_diagonal(lower(w)))
        factor = lower(weight)
        kept = sampled_covariance.inverse_diagonal(factor)
        plain = 2 * float(lower(1 / q[places]).diagonal().log().sum())
        found.append((log_determinant(factor, q[places], weight, kept) / exact - 1, plain / exact - 1))
    corrected, plain = np.mean(found, axis=0)
    assert plain < -0.1
    assert abs(corrected) < abs(plain) / 4


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_the_log_determinant_of_all_rows_is_the_dense_matrixs(name):
    net, x, y = case(name)
    j, a = dense_rows(net, x)
    dense = DELTA * torch.eye(j.shape[2], dtype=torch.float64) + a.flatten(0, 1).T @ a.flatten(0, 1)
    source = drawn_map(net, x, y, ALL).origin.posterior.covariance
    assert source.log_determinant == pytest.approx(float(torch.linalg.slogdet(dense)[1]), rel=1e-9)


@pytest.mark.slow
def test_the_prior_by_evidence_is_that_of_the_full_matrix():
    net, x, y, _ = small("mlp", "classes")
    full, some, grown = (
        drawn_map(net, x[:120], y[:120], each, prior="evidence") for each in ("full", Sampled(rows=450), "sampled")
    )
    exact, found, free = (
        float(next(iter(m.origin.posterior.problem.prior.values())).mean()) for m in (full, some, grown)
    )
    assert found == pytest.approx(exact, rel=0.03)
    assert free == pytest.approx(exact, rel=0.03)
    assert np.linalg.norm(some["leverage"] - full["leverage"]) < 0.1 * np.linalg.norm(full["leverage"])
    assert "by the marginal likelihood" in some.provenance.description.prior


@pytest.mark.slow
def test_the_prior_by_evidence_needs_more_rows_than_a_map():
    net, x, y, _ = small("mlp", "classes")
    full, few, short = (
        drawn_map(net, x[:120], y[:120], each, prior="evidence")
        for each in ("full", Sampled(rows=20), Sampled(budget=1e-3))
    )
    exact, found = (float(next(iter(m.origin.posterior.problem.prior.values())).mean()) for m in (full, few))
    assert found == pytest.approx(exact, rel=0.03)
    assert "effective parameters" not in str(few.provenance.description.cautions)
    assert "the prior by the marginal likelihood is of" in str(short.provenance.description.cautions)


def test_probabilities_sum_to_the_rows_and_never_pass_one():
    size = torch.as_tensor(np.random.default_rng(1).pareto(1.0, size=500))
    size[:20] = 0
    for rows in (1, 7, 100, 479, 480, 10_000):
        q = probabilities(size, rows)
        assert float(q.max()) <= 1
        assert float(q.sum()) == pytest.approx(min(rows, 480))
        assert bool((q[:20] == 0).all())
        assert bool((q.argsort() == size.argsort()).all()) or float(q.max()) == 1
    assert probabilities(torch.zeros(3), 2).tolist() == [1, 0, 0]


def test_a_smaller_sample_is_part_of_a_larger_one():
    size, numbers = torch.rand(400, generator=torch.Generator().manual_seed(0)), uniform_numbers(400, 5)
    samples = [set(drawn(probabilities(size, rows), numbers).tolist()) for rows in (1, 10, 50, 200, 400)]
    assert all(few <= many for few, many in itertools.pairwise(samples))
    assert len(samples[-1]) == 400


def test_the_inverse_of_a_diagonal_is_that_of_the_inverse(monkeypatch):
    monkeypatch.setattr(sampled_covariance, "_CHUNK", 7)
    x = torch.randn(23, 23, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    matrix = x @ x.T + torch.eye(23, dtype=torch.float64)
    found = sampled_covariance.inverse_diagonal(torch.linalg.cholesky(matrix))
    np.testing.assert_allclose(found, torch.linalg.inv(matrix).diagonal(), rtol=1e-10)


def test_deleting_a_row_changes_the_cavity_as_the_jackknife_says(monkeypatch):
    monkeypatch.setattr(sampled_covariance, "_less", lambda variance, bias: variance)
    net, x, y = case("mlp")
    m = drawn_map(net, x, y, Sampled(rows=9))
    source = m.origin.posterior
    setting, whole = source.problem, source.covariance
    batch = linearize(source.network, setting.owners, x, slice(0, len(x)), lambda f, _: one_hot_directions(f))
    positions = torch.arange(len(x))
    (_, before), = whole.cavities(torch.float64).of(batch, positions)  # fmt: skip
    weight = whole.weights
    for j in range(len(weight)):
        rest = torch.arange(len(weight)) != j
        rows = tuple(each.take(rest) for each in whole.gram.rows)
        gram = type(whole.gram).from_rows(whole.gram.prior, rows)
        inverse = sampled_covariance.inverse_of(gram.cholesky_factor)
        kept = inverse.square().sum(0)
        less = sampled_covariance.SampledCovariance(
            gram, whole.owners[rest], whole.q[rest], weight[rest], inverse, kept, whole.chance
        )
        (_, after), = less.cavities(torch.float64).of(batch, positions)  # fmt: skip
        change = before.moves[..., j, None] * before.moves[..., j][:, None] / before.kept[:, j, None, None]
        np.testing.assert_allclose(after.variance - before.variance, change, atol=1e-10)
        assert float(change[whole.owners[j]].abs().max()) < 1e-20  # its own


@pytest.mark.slow
def test_standard_errors_are_those_of_repeated_draws():
    net, x, y, prior = small("mlp", "classes")
    exact = drawn_map(net, x, y, "full", prior=prior)
    rows = round(3 * float(exact["leverage"].sum()))
    maps = [drawn_map(net, x, y, Sampled(rows=rows, seed=seed), prior=prior) for seed in range(12)]
    for column in MEASURES:
        found = np.stack([m[column] for m in maps])
        stated = np.sqrt(np.mean([m[f"{column}_se"] ** 2 for m in maps], axis=0))
        true = np.sqrt(np.mean((found - exact[column]) ** 2, axis=0))
        assert 0.75 < np.linalg.norm(stated) / np.linalg.norm(true) < 1.6
        covered = np.mean([np.abs(m[column] - exact[column]) <= 2 * m[f"{column}_se"] for m in maps])
        assert 0.85 < covered <= 1
        assert abs(np.mean(found, axis=0) @ exact[column] / (exact[column] @ exact[column]) - 1) < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_most_of_the_bias_of_plain_weights_is_known_and_removed(kind, monkeypatch):
    monkeypatch.setattr(sampled_covariance, "debiased_weights", lambda q, kept: 1 / q)
    net, x, y, prior = small(kind, "number")
    exact = drawn_map(net, x, y, "full", Gaussian(0.1), prior)["leverage"]
    rows = round(2 * float(exact.sum()))

    def slope():
        maps = [drawn_map(net, x, y, Sampled(rows=rows, seed=seed), Gaussian(0.1), prior) for seed in range(8)]
        return np.mean([m["leverage"] for m in maps], axis=0) @ exact / (exact @ exact)

    removed = slope()
    monkeypatch.setattr(sampled_covariance, "_less", lambda variance, bias: variance)
    left = slope()
    assert left > 1.05
    assert abs(removed - 1) < (left - 1) / 2  # g is itself too large under plain weights


@functools.cache
def small(kind, task):
    """A network on some digits, trained by full-batch steps; regression: on the digit as a number."""
    x, y = load_digits(return_X_y=True)
    n = 250 if task == "classes" else 600
    x, y = torch.tensor(x[:n] / 16), torch.tensor(y[:n])
    torch.manual_seed(0)
    c = 10 if task == "classes" else 1
    if kind == "mlp":
        net = nn.Sequential(nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, c))
    else:
        x = x.reshape(-1, 1, 8, 8)
        net = nn.Sequential(nn.Conv2d(1, 8, 3, stride=2), nn.Tanh(), nn.Flatten(), nn.Linear(72, c))
    net, prior = net.double(), 2.0 if task == "classes" else {"mlp": 40.0, "cnn": 10.0}[kind]
    y = y if task == "classes" else (y - 4.5) / 3
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=150, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        f = net(x)
        fit = nn.functional.cross_entropy(f, y, reduction="sum") if c > 1 else (f[:, 0] - y).square().sum() / 0.2
        loss = fit + prior / 2 * sum(v.square().sum() for v in net.parameters())
        loss.backward()
        return loss

    optimizer.step(closure)
    return net, x, y, prior


@pytest.mark.slow
@pytest.mark.parametrize("task", ["classes", "number"])
@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_four_rows_an_effective_parameter_give_sizes(kind, task):
    net, x, y, prior = small(kind, task)
    likelihood = "categorical" if task == "classes" else Gaussian(0.1)
    exact = drawn_map(net, x, y, "full", likelihood, prior)
    rows = round(4 * float(exact["leverage"].sum()))
    maps = [drawn_map(net, x, y, Sampled(rows=rows, seed=seed), likelihood, prior) for seed in range(3)]
    assert all(len(m.origin.posterior.covariance.q) < 0.8 * len(exact) * exact.provenance.outputs for m in maps)
    for column, bound in zip(MEASURES, (0.1, 0.2, 0.1), strict=True):
        off = np.stack([m[column] - exact[column] for m in maps])
        assert np.mean(np.linalg.norm(off, axis=1)) < bound * np.linalg.norm(exact[column])
        assert np.mean(np.abs(off) <= 2 * np.stack([m[f"{column}_se"] for m in maps]) + 1e-12) > 0.85
    assert "drawn by curvature and leverage" in notes(maps[0])


@pytest.mark.slow
def test_rows_grow_until_the_asked_error_the_budget_or_all(monkeypatch):
    monkeypatch.setattr("memorymaps.nets.sampled.sample_size.FIRST", 16)
    net, x, y, prior = small("mlp", "number")
    draw = functools.partial(drawn_map, net, x, y, likelihood=Gaussian(0.1), prior=prior)
    grown = draw(Sampled(error=0.2))
    assert "enough for the asked error of 0.2" in notes(grown)
    few = len(grown.origin.posterior.covariance.q)
    assert 16 < few < 550
    short = draw(Sampled(error=0.001, budget=1.2e-3))
    assert "as many as budget=0.0012 allows, not enough for the asked error of 0.001" in notes(short)
    assert "all there are, the exact posterior" in notes(draw(Sampled(error=1e-9)))
    assert "as many as were asked for" in notes(draw(Sampled(rows=few)))


@pytest.mark.slow
def test_too_few_rows_are_said_where_trust_is():
    net, x, y, prior = small("mlp", "number")
    few, many, every = (drawn_map(net, x, y, Sampled(rows=rows), Gaussian(0.1), prior) for rows in (10, 400, 10**6))
    assert few.provenance.description.relative_error > 0.5
    assert many.provenance.description.relative_error < 0.15
    assert every.provenance.description.relative_error is None
    sizes = [str(m.summary()).split("Trust")[1].split("Warnings")[0] for m in (few, many)]
    assert sizes[0] != sizes[1]
    assert "±" in sizes[0] or "error" in sizes[0]


@pytest.mark.slow
@pytest.mark.parametrize("budget", [600, 1e-6])  # all directions, and the leading ones
def test_errors_of_single_examples_hold_however_few_rows(budget):
    net, x, y, prior = small("mlp", "classes")
    exact = drawn_map(net, x, y, "full", prior=prior)
    for share in (0.6, 1.2):
        rows = round(share * float(exact["leverage"].sum()))
        maps = [drawn_map(net, x, y, Sampled(rows=rows, seed=seed, budget=budget), prior=prior) for seed in range(2)]
        for column in MEASURES:
            off = np.stack([m[column] - exact[column] for m in maps])
            stated = np.stack([m[f"{column}_se"] for m in maps])
            assert np.mean(np.abs(off) <= 2 * stated + 1e-12) > 0.8
            assert np.linalg.norm(stated) > 0.8 * np.linalg.norm(off)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "task"), [("mlp", "classes"), ("cnn", "classes"), ("cnn", "number")])
def test_far_fewer_rows_than_effective_parameters_state_an_error_that_contains_the_truth(kind, task):
    net, x, y, prior = small(kind, task)
    likelihood = "categorical" if task == "classes" else Gaussian(0.1)
    exact = drawn_map(net, x, y, "full", likelihood, prior)
    for rows in (2, 5, 13):
        m = drawn_map(net, x, y, Sampled(rows=rows, seed=rows), likelihood, prior)
        off = {column: m[column] - exact[column] for column in MEASURES}
        stated = m.provenance.description.relative_error
        for column in ("leverage", "sensitivity"):
            assert np.linalg.norm(off[column]) < stated * np.linalg.norm(exact[column])
        for column in MEASURES:
            assert np.mean(np.abs(off[column]) <= 2 * m[f"{column}_se"] + 1e-12) > 0.9
        assert m.trust["ranks"].level in ("not to be used", "ranks only")
        (words,) = [line for line in m.summary().warnings if "too few for sizes" in line]
        assert ("read not even ranks" in words) == (max_stated(m) >= 3)


def max_stated(m):
    """The largest relative error in the map's note, as a number."""
    (words,) = [line for line in m.provenance.description.notes if line.startswith("Relative standard errors")]
    return max(float(each) / 100 for each in re.findall(r"(?:leverage|sensitivity|loss) ([\d.]+)%", words))


@pytest.mark.slow
def test_a_handful_of_rows_says_that_it_saw_next_to_nothing():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(64, 30), nn.Tanh(), nn.Linear(30, 10))
    x = torch.randn(100, 64, generator=torch.Generator().manual_seed(0))
    few, exact = (drawn_map(net, x, torch.arange(100) % 10, s, prior=100.0) for s in (Sampled(rows=2), "full"))
    assert few.origin.posterior.covariance.shortfall > 0.8  # alone, the jackknife of two rows says 9 %
    for column in MEASURES:
        assert np.mean(np.abs(few[column] - exact[column]) <= 2 * few[f"{column}_se"]) > 0.8
    assert few.provenance.description.relative_error > 0.9
    assert drawn_map(net, x, torch.arange(100) % 10, ALL, prior=100.0).origin.posterior.covariance.shortfall == 0


@pytest.mark.slow
def test_too_few_rows_are_warned_of_with_a_number_that_is_enough():
    net, x, y, prior = small("mlp", "classes")
    few = drawn_map(net, x, y, Sampled(rows=80), prior=prior)
    (words,) = [line for line in few.summary().warnings if "too few for sizes" in line]
    more = drawn_map(net, x, y, Sampled(rows=int(words.partition("Sampled(rows=")[2].partition(")")[0])), prior=prior)
    assert not any("too few" in line for line in more.summary().warnings)
    assert (more.provenance.description.relative_error or 0) < 0.1


@pytest.mark.slow
def test_rows_that_were_grown_are_those_of_one_draw(monkeypatch):
    net, x, y, prior = small("cnn", "classes")
    monkeypatch.setattr("memorymaps.nets.sampled.sample_size.FIRST", 60)
    monkeypatch.setattr("memorymaps.nets.sampled.rows.pool._PIECE", 37)
    sizes, half = [], RowPool.half
    monkeypatch.setattr(RowPool, "half", lambda pool, rows: sizes.append(rows) or half(pool, rows))
    grown = drawn_map(net, x, y, Sampled(error=0.15), prior=prior)
    assert len(sizes) > 1
    at_once = drawn_map(net, x, y, Sampled(rows=sizes[-1]), prior=prior)
    for column in MEASURES:
        np.testing.assert_allclose(grown[column], at_once[column], rtol=1e-9)


@pytest.mark.slow
def test_the_draw_follows_the_seed_and_not_the_batches():
    net, x, y = case("cnn", 30)
    first, again, other = (drawn_map(net, x, y, Sampled(rows=20, seed=seed)) for seed in (1, 1, 2))
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=7)
    batched = mm.memory_map(
        net, loader, likelihood="categorical", posterior=mm.Laplace(Sampled(rows=20, seed=1), prior=DELTA)
    )
    some = drawn_map(net, x, y, Sampled(rows=20, seed=1), rows=[3, 17, 20])
    for column in (*MEASURES, "sensitivity_se"):
        assert np.array_equal(first[column], again[column])
        np.testing.assert_allclose(first[column], batched[column], rtol=1e-9)
        np.testing.assert_allclose(first[column][[3, 17, 20]], some[column], rtol=1e-9)
    assert not np.allclose(first["leverage"], other["leverage"])


def test_ids_are_names_and_may_be_text():
    net, x, y = case("mlp", 12)
    plain, named = (
        drawn_map(net, x, y, Sampled(rows=8)),
        drawn_map(net, x, y, Sampled(rows=8), ids=list("lkjihgfedcba")),
    )
    assert np.array_equal(plain["leverage"], named["leverage"])


def test_weights_multiply_rows_and_those_of_none_are_never_drawn():
    net, x, y = case("mlp", 20)
    weight = np.where(np.arange(20) < 5, 0.0, np.linspace(0.5, 2, 20))
    m, exact = (drawn_map(net, x, y, structure, sample_weight=weight) for structure in (ALL, "full"))
    for column in MEASURES:
        np.testing.assert_allclose(m[column], exact[column], rtol=1e-8)
    some = drawn_map(net, x, y, Sampled(rows=12), sample_weight=weight)
    assert int(some.origin.posterior.covariance.owners.min()) >= 5
    assert np.all(some["leverage"][:5] == 0)


def test_without_any_curvature_the_prior_is_left():
    net, x, y = case("mlp", 6)
    m = drawn_map(net, x, y, Sampled(rows=3), sample_weight=np.zeros(6))
    assert np.all(m["leverage"] == 0)
    assert m.provenance.description.effective_parameters == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("likelihood", [Bernoulli(), Gaussian(0.5)])
@pytest.mark.parametrize("rows", [1, 3, 50])
def test_one_output(likelihood, rows):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1)).double()
    x, y = torch.randn(12, 4, dtype=torch.float64), torch.arange(12) % 2
    m, exact = (drawn_map(net, x, y, structure, likelihood) for structure in (Sampled(rows=rows), "full"))
    assert np.all((m["leverage"] >= 0) & (m["leverage"] < 1))
    if rows == 50:
        np.testing.assert_allclose(m["sensitivity"], exact["sensitivity"], rtol=1e-8)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Sampled(rows=0), "rows = 0"),
        (lambda: Sampled(rows=2.5), "whole number of rows"),
        (lambda: Sampled(rows=True), "whole number of rows"),
        (lambda: Sampled(error=0), "positive"),
        (lambda: Sampled(error=float("nan")), "positive"),
        (lambda: Sampled(seed=-1), "seed"),
    ],
)
def test_numbers_that_say_nothing_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fisher": "mc"}, "fisher='exact'"),
        ({"directions": 1}, "Leave directions out"),
        ({"rows": 7}, r"Laplace\(Sampled\(rows=7\)\)"),
    ],
)
def test_what_it_cannot_hold_is_refused_with_what_to_type(options, message):
    net, x, y = case("mlp")
    with pytest.raises(ValueError, match=message):
        mm.memory_map(
            net, x, y, likelihood="categorical", posterior=mm.Laplace("sampled", **{"prior": DELTA, **options})
        )


def test_many_outputs_and_too_many_rows_are_refused_with_what_to_type(monkeypatch):
    torch.manual_seed(0)
    net, x, y = nn.Linear(3, 40).double(), torch.randn(9, 3, dtype=torch.float64), torch.arange(9)
    with pytest.raises(ValueError, match="directions=0"):
        drawn_map(net, x, y, "sampled")
    recipe = mm.Laplace("sampled", prior=DELTA, directions=0)
    assert len(mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe)) == 9
    monkeypatch.setattr("memorymaps.nets.sampled.cost.NUMBERS", 2_000)
    net, x, y = case("mlp")
    with pytest.raises(ValueError, match=r"Use Sampled\(rows=\d+\)"):
        drawn_map(net, x, y, Sampled(rows=22))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["cnn", "attention"])
def test_rows_beyond_memory_are_kept_in_files(kind, monkeypatch, tmp_path):
    monkeypatch.setattr("memorymaps.nets.sampled.rows.files._PIECE", 200)
    monkeypatch.setattr("memorymaps.nets.sampled.rows.pool._PIECE", 5)
    for name in ("FIRST", "_FEWEST"):
        monkeypatch.setattr(f"memorymaps.nets.sampled.rows.leverages.{name}", 8)  # whether rows are in files or not
    net, x, y = case(kind, 24)
    held = drawn_map(net, x, y, Sampled(rows=30, seed=2))
    count = sum(v.numel() for v in net.parameters())
    monkeypatch.setattr("memorymaps.nets.sampled.cost.NUMBERS", 30 * (3 * 30 + count))
    filed = drawn_map(net, x, y, Sampled(rows=30, seed=2, folder=tmp_path))
    kinds = {type(rows) for rows in filed.origin.posterior.covariance.gram.rows}
    assert FiledRows in kinds
    assert FiledRows not in {type(rows) for rows in held.origin.posterior.covariance.gram.rows}
    for column in (*MEASURES, "leverage_se", "deviation"):
        np.testing.assert_allclose(filed[column], held[column], rtol=1e-5, atol=1e-7)
    assert list(tmp_path.iterdir()) == []  # files without a name
    left = [each.leave_out({"some": [1, 2]}).to_pandas()["rest_sensitivity"] for each in (held, filed)]
    np.testing.assert_allclose(left[1], left[0], rtol=1e-3)


def test_rows_are_kept_in_files_where_the_budget_is_short_of_all_directions_and_not_of_rows(monkeypatch):
    monkeypatch.setattr("memorymaps.nets.sampled.cost.PROBE_EXAMPLES", 4)
    net, x, y = case("cnn", 400)
    setting = build_problem(mm.Laplace("sampled", prior=DELTA)(net, "categorical"), ArrayExamples.of(x, y))
    work = PassWork(epoch=2e7, outputs=1e4, direction=1e6, single=1e5)  # 30 epochs are half of a pass
    assert cost_of(setting, rows_types(setting), work).most(30 * work.epoch) == 0
    assert FiledRows not in kinds_within(setting, "30 epochs", None, work)
    monkeypatch.setattr("memorymaps.nets.sampled.cost.NUMBERS", 20_000)
    assert FiledRows in kinds_within(setting, "30 epochs", None, work)


def in_file(rows):
    (file,) = RowFile.of_groups(len(rows), [rows.shape[2]], None)
    file.add(DenseRows(rows))
    return FiledRows.of_file(file, rows.device)


@pytest.mark.slow
def test_the_number_of_open_files_does_not_grow_with_the_data(monkeypatch):
    opened, real = [], tempfile.TemporaryFile
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **given: opened.append(1) or real(**given))
    monkeypatch.setattr("memorymaps.nets.sampled.rows.pool._PIECE", 2)
    net, x, y = case("cnn", 40)
    count = sum(v.numel() for v in net.parameters())
    monkeypatch.setattr("memorymaps.nets.sampled.cost.NUMBERS", 40 * (3 * 40 + count))
    filed = drawn_map(net, x, y, Sampled(rows=40, seed=2))
    assert FiledRows in {type(rows) for rows in filed.origin.posterior.covariance.gram.rows}
    assert len(opened) == 2  # of the first sample, whatever it tells, and of the map's


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system does not reserve room on a disk")
@remedy("GB of a disk that has not so much room")
def test_a_disk_without_room_for_the_rows_is_told_before_they_are_written(said, monkeypatch, tmp_path):
    reserve, net, x, y = os.posix_fallocate, *case("cnn", 24)
    count = sum(v.numel() for v in net.parameters())
    monkeypatch.setattr("memorymaps.nets.sampled.cost.NUMBERS", 30 * (3 * 30 + count) // 2)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with said:
        drawn_map(net, x, y, Sampled(rows=30, folder=tmp_path))
    assert list(tmp_path.iterdir()) == []
    fewer = drawn_map(net, x, y, Sampled(rows=5))
    assert len(fewer.origin.posterior.covariance.q) < 15
    monkeypatch.setattr(os, "posix_fallocate", reserve)
    assert len(drawn_map(net, x, y, Sampled(rows=30, folder=tmp_path))) == 24


def test_products_with_rows_in_files_are_those_of_rows_in_memory(monkeypatch):
    monkeypatch.setattr("memorymaps.nets.sampled.rows.files._PIECE", 50)
    generator = torch.Generator().manual_seed(0)
    rows, inverse = torch.randn(11, 1, 13, generator=generator).double(), torch.rand(13, generator=generator).double()
    order, scale = torch.randperm(11, generator=generator)[:8], torch.rand(8, generator=generator).double()
    dense = DenseRows(rows).take(order).scaled(scale)
    parts = [in_file(rows[part]) for part in (slice(0, 4), slice(4, 4), slice(4, 11))]
    filed = FiledRows.concatenate(parts).take(order).scaled(scale)
    assert filed.shape == dense.shape
    v, u = torch.randn(3, 13, generator=generator).double(), torch.randn(2, 8, generator=generator).double()
    for found, wanted in (
        (filed.matvec(v), dense.matvec(v)),
        (filed.rmatvec(u), dense.rmatvec(u)),
        (filed.cross_gram(filed, inverse), dense.cross_gram(dense, inverse)),
        (dense.cross_gram(filed, inverse), dense.cross_gram(dense, inverse)),
        (filed.example_gram(inverse), dense.example_gram(inverse)),
        (filed.single(torch.tensor([2, 0]), torch.zeros(2, dtype=torch.long)).matvec(v), dense.take([2, 0]).matvec(v)),
    ):
        np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_ids_that_occur_twice_are_refused():
    net, x, y = case("mlp", 4)
    batches = [(x[:2], y[:2], ["a", "b"]), (x[2:], y[2:], ["b", "c"])]
    with pytest.raises(DataError, match="occurs 2 times"):
        mm.memory_map(
            net, mm.LoaderExamples(batches), likelihood="categorical", posterior=mm.Laplace("sampled", prior=DELTA)
        )


@pytest.mark.slow
def test_groups_are_left_out_and_examples_refined_on_the_exact_curvature():
    net, x, y = case("mlp")
    m, exact = (drawn_map(net, x, y, structure) for structure in (Sampled(rows=12), "full"))
    left = [each.leave_out({"some": [1, 2]}).to_pandas() for each in (m, exact)]
    for column in ("rest_sensitivity", "sensitivity", "leave_out_loss", "rest_leave_out_loss"):
        np.testing.assert_allclose(left[0][column], left[1][column], rtol=1e-2)
    fine = mm.refine(m, top=4, steps=60, tolerance=1e-8)
    rows = np.flatnonzero(fine["refined"])
    np.testing.assert_allclose(fine["sensitivity"][rows], exact["sensitivity"][rows], rtol=1e-5)
    assert "sensitivity_se" in fine
    assert len(mm.refit(m, top=2)) == len(m)


@pytest.mark.slow
def test_classes_are_left_out_without_their_own_rows_in_few_passes(monkeypatch):
    monkeypatch.setattr(NetworkGroupRefit, "max_automatic_refits", lambda self: 0)  # one step of both
    net, x, y, prior = small("mlp", "classes")
    exact = drawn_map(net, x, y, "full", prior=prior)
    m = drawn_map(net, x, y, Sampled(rows=round(4 * float(exact["leverage"].sum()))), prior=prior)
    found, wanted = (each.leave_out("target").to_pandas() for each in (m, exact))
    for column in ("rest_sensitivity", "leave_out_loss", "rest_leave_out_loss"):
        np.testing.assert_allclose(found[column], wanted[column], rtol=2e-2, atol=1e-4)
    groups = [np.flatnonzero(y.numpy() == k) for k in range(10)]
    _, residual = m.origin.posterior.parameter_change(groups, steps=10, tolerance=1e-2)
    assert residual.max() <= 1e-2
    _, of_ekfac = drawn_map(net, x, y, "ekfac", prior=prior).origin.posterior.parameter_change(groups, 10, 1e-2)
    assert of_ekfac.max() > 1e-2  # what the rows are for


@pytest.mark.slow
def test_refits_begin_with_the_step_without_the_own_rows(monkeypatch):
    net, x, y, prior = small("mlp", "classes")
    m = drawn_map(net, x, y, Sampled(rows=600), prior=prior)
    source, seen = m.origin.posterior, []
    value = LeaveOutObjective.__call__

    def called(self, theta):
        seen.append((self.included.min(), theta.copy()))
        return value(self, theta)

    monkeypatch.setattr(LeaveOutObjective, "__call__", called)
    row = int(np.argmax(m["sensitivity"]))
    at_optimum = source.refit(np.zeros(0, dtype=int), np.array([row]))[0]
    seen.clear()
    without, _ = source.refit(np.array([row]), np.array([row]))
    first, second = (theta for _, theta in seen[:2])
    assert seen[0][0] == 0
    moved = source.output_change(x[row : row + 1], (second - first)[None])[0, :, 0]
    assert np.linalg.norm(moved - m["deviation"][row]) < 0.1 * np.linalg.norm(moved)
    none, one = np.zeros(0, dtype=int), np.array([row])
    full = drawn_map(net, x, y, "full", prior=prior).origin.posterior
    expected = full.refit(one, one)[0] - full.refit(none, one)[0]
    np.testing.assert_allclose(without - at_optimum, expected, rtol=0.05, atol=0.02)


@pytest.mark.slow
def test_a_pipeline_knows_its_training_examples(monkeypatch):
    monkeypatch.setattr(Auto, "resolve", lambda self, problem: (Sampled(budget=120), ()))
    x, y = load_digits(return_X_y=True)
    x, y = x[:120], y[:120]
    model = make_pipeline(StandardScaler(), MLPClassifier((8,), max_iter=300, random_state=0, alpha=1.0, tol=0))
    with pytest.warns(ConvergenceWarning):
        model.fit(x, y)
    m = mm.memory_map(model, x, y)
    alone = mm.memory_map(model[-1], model[0].transform(x), y)
    for column in (*MEASURES, "leverage_se"):
        np.testing.assert_allclose(m[column], alone[column], rtol=1e-9)


def test_new_inputs_are_asked_of_the_whole_posterior():
    net, x, y = case("mlp")
    m, exact = (drawn_map(net, x, y, structure) for structure in (ALL, "full"))
    new = torch.randn(5, 4, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    found, wanted = (each.origin.posterior.marginals(new).variance for each in (m, exact))
    np.testing.assert_allclose(found, wanted, rtol=1e-8)
    with pytest.raises(DataError, match="17 is no training example's id"):
        m.origin.batch_statistics(ArrayExamples.of(new, np.zeros(5, int), ids=[3, 17, 1, 0, 2]).whole)


def chosen_by_auto(net, n, **options):
    x = torch.randn(n, 64, generator=torch.Generator().manual_seed(0))
    recipe = mm.Laplace("auto", prior=100.0, **options)
    setting = build_problem(recipe(net, "categorical"), ArrayExamples.of(x.numpy(), np.arange(n) % 10))
    with evaluation_mode(net):
        return recipe.structure.resolve(setting)


@pytest.mark.slow
def test_auto_takes_it_beyond_the_exact_forms_where_its_error_is_within_the_budget():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(64, 300), nn.Tanh(), nn.Linear(300, 10))
    chosen, _ = chosen_by_auto(net, 1500)
    assert chosen.name == "sampled"
    assert chosen.estimate is not None  # the rows that were drawn in order to choose are used
    for budget in (0.02, "0.02 epochs"):
        quick, why = chosen_by_auto(net, 1500, budget=budget)
        assert quick.name == "ekfac"
        assert f"Sampled rows miss an error of a tenth within budget={budget!r}: Laplace(budget=…)" in why[0]


@pytest.mark.slow
def test_a_budget_is_seconds_of_a_core_or_epochs_and_its_forecast_is_printed_first(monkeypatch, capsys):
    monkeypatch.setattr("memorymaps.nets.sampled.sample_size.FIRST", 16)
    timed = lambda problem, kinds: PassWork(6e7, 3e4, 6e4, 6e4, timed=True)  # noqa: E731
    monkeypatch.setattr("memorymaps.nets.sampled.curvature.timed_work", timed)
    net, x, y, prior = small("mlp", "number")
    sizes = []
    for budget in (0.02, 0.08, "8 epochs", "20 epochs"):
        m = drawn_map(net, x, y, Sampled(error=1e-6, budget=budget), Gaussian(0.1), prior, progress=True)
        sizes.append(len(m.origin.posterior.covariance.q))
        printed = [line for line in capsys.readouterr().err.splitlines() if "forecast" in line]
        assert "seconds of a core" in printed[0]
        assert ("epochs of training" in printed[0]) == isinstance(budget, str)
        assert "passes over the data" in printed[0]
        assert f"budget={budget!r} allows" in notes(m) or "all there are" in notes(m)
    assert sizes[0] < sizes[1]
    assert sizes[2] < sizes[3]
    recipe = mm.Laplace("sampled", prior=prior, budget="3 epochs")
    assert recipe.structure == Sampled(budget="3 epochs")


@pytest.mark.slow
def test_a_forecast_is_spent_and_not_passed(monkeypatch):
    monkeypatch.setattr("memorymaps.nets.sampled.sample_size.FIRST", 32)
    net, x, y, prior = small("cnn", "classes")
    setting = build_problem(mm.Laplace("sampled", prior=prior)(net, "categorical"), ArrayExamples.of(x, y))
    cost = cost_of(setting, rows_types(setting), counted_work(setting, rows_types(setting)))
    assert cost.most(cost.multiplications(100)) == 100
    forecast = Forecast.to_reach(cost, (32, 0.4), 0.1, 10_000)
    assert (forecast.rows, forecast.error) == (512, pytest.approx(0.1))
    assert forecast.seconds == pytest.approx(cost.multiplications(512) / PER_SECOND)
    assert forecast.epochs is None  # they were not timed
    timed = Forecast.of(replace(cost, timed=True), 512, 0.1)
    assert timed.epochs == pytest.approx(cost.multiplications(512) / (3 * forward_macs(setting)))
    assert Forecast.to_reach(cost, (32, 0.4), 0.1, 128).error == pytest.approx(0.2)


@pytest.mark.parametrize("budget", [0, -1, float("nan"), "ten minutes", "-3 epochs", "0 epochs", True, None, [1]])
def test_a_budget_that_says_nothing_is_refused_with_what_to_type(budget):
    with pytest.raises(ValueError, match=r'budget=600, .* budget="30 epochs"'):
        Sampled(budget=budget)
    assert Sampled(budget=600).budget == 600
    assert Sampled(budget="30 epochs").budget == "30 epochs"
    with pytest.raises(ValueError, match="Leave budget out"):
        mm.Laplace("ekfac", prior=1.0, budget=60)


def test_the_preconditioner_without_groups_is_the_inverse_without_their_rows():
    net, x, y = case("mlp")
    source = drawn_map(net, x, y, Sampled(rows=14)).origin.posterior.covariance
    groups = [torch.tensor([3]), torch.tensor([0, 1, 5, 7]), torch.arange(11)]
    v = torch.randn(3, source.size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = source.without(groups)(v)
    rows = torch.cat([each.rmatvec(torch.eye(len(source.owners), dtype=v.dtype)) for each in source.gram.rows], dim=-1)
    for group, one, expected in zip(groups, found, v, strict=True):
        others = rows[~torch.isin(source.owners, group)]
        precision = DELTA * torch.eye(source.size, dtype=v.dtype) + others.T @ others
        np.testing.assert_allclose(one, torch.linalg.solve(precision, expected), rtol=1e-8, atol=1e-10)
