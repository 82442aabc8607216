"""Examples that were really left out are those of the loss minimised without them by another program."""

from __future__ import annotations

import copy
import functools
import itertools
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from networks import CASES, case
from scipy.optimize import minimize
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import memorymaps as mm
from memorymaps.maps.summary import warnings_of
from memorymaps.models.linear.newton_methods import newton
from memorymaps.nets.autograd.network import evaluation_mode
from memorymaps.nets.refit.lbfgs import preconditioned_lbfgs
from memorymaps.nets.refit.objective import LeaveOutObjective

DELTA = 0.7
EXACT = {"steps": 500, "tolerance": 1e-6}


def objective(net, x, y, weight, names):
    """`Σ wℓ + δ‖θ‖²/2` of plain torch, as a function of the named parameters' vector."""
    start = {name: value.detach().clone() for name, value in net.named_parameters() if name in names}

    def forward(theta, inputs):
        parts = torch.split(torch.as_tensor(theta), [v.numel() for v in start.values()])
        named = {name: part.view(start[name].shape) for name, part in zip(start, parts, strict=True)}
        return torch.func.functional_call(net, named, (inputs,))

    def value(theta, w):
        theta = torch.tensor(theta, requires_grad=True)
        losses = nn.functional.cross_entropy(forward(theta, x), y, reduction="none")
        total = (torch.as_tensor(w) * losses).sum() + DELTA / 2 * theta.square().sum()
        (slope,) = torch.autograd.grad(total, theta)
        return float(total.detach()), slope.numpy()

    return torch.cat([v.reshape(-1) for v in start.values()]).numpy(), forward, lambda t, w: value(t, weight * w)


def without(net, x, y, row, weight=1.0, names=None, at=None):
    """Outputs of a row at the minimum without it; the slope that training left at the weights is taken away."""
    names = dict(net.named_parameters()) if names is None else names
    start, forward, value = objective(net.eval(), x, y, weight, names)
    kept = np.ones(len(y))
    _, slope = value(start, kept)
    kept[row] = 0

    def tilted(theta):
        f, g = value(theta, kept)
        return f - slope @ (theta - start), g - slope

    end = minimize(tilted, start, jac=True, method="BFGS", options={"gtol": 1e-9, "maxiter": 5000})
    return forward(end.x, x[[row if at is None else at]]).detach().numpy()[0]


def drawn(net, x, y, structure="full", dtype=torch.float64, **options):
    recipe = mm.Laplace(
        structure, prior=DELTA, subset=options.pop("subset", "all"), directions=options.pop("directions", 0)
    )
    data = x.to(dtype) if isinstance(x, torch.Tensor) else x
    return mm.memory_map(net.to(dtype), data, y, likelihood="categorical", posterior=recipe, **options)


def trained(n=30, weight=1.0, names=None):
    """A copy of the network at the minimum: to be mapped, moved and cast by the test."""
    return copy.deepcopy(_trained(n)) if names is None else _fitted(n, weight, names)


@functools.cache
def outputs_without(row):
    """Of a row of `trained()`, by training without it."""
    return without(*trained(), row)


@functools.cache
def _trained(n):
    return _fitted(n, 1.0, None)


def _fitted(n, weight, names):
    torch.manual_seed(0)
    x, y = torch.randn(n, 4, dtype=torch.float64), torch.arange(n) % 3
    net = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    learned = [p for name, p in net.named_parameters() if names is None or name in names]
    start, _, value = objective(net, x, y, weight, dict(net.named_parameters()) if names is None else names)
    end = minimize(value, start, np.ones(n), jac=True, method="BFGS", options={"gtol": 1e-8, "maxiter": 5000})
    nn.utils.vector_to_parameters(torch.tensor(end.x), learned)
    return net, x, y


@pytest.mark.slow
@pytest.mark.parametrize("structure", ["full", "kfac", "diag", "dual", "active_set"])
def test_refitted_outputs_are_those_of_training_without_the_example(structure):
    net, x, y = trained()
    m = drawn(net, x, y, structure)
    fine = mm.refit(m, top=3, **EXACT)
    rows = np.flatnonzero(fine["refitted"])
    assert set(fine["id"][rows]) == set(m.top(3)["id"])
    for row in rows:
        truth = outputs_without(int(row))
        np.testing.assert_allclose(fine["output"][row] + fine["deviation"][row], truth, atol=2e-5)
        mean = np.exp(truth) / np.exp(truth).sum()
        np.testing.assert_allclose(fine["sensitivity"][row], np.abs(mean - fine["mean"][row]).sum(), atol=1e-5)
        np.testing.assert_allclose(fine["loo_loss"][row], -np.log(mean[y[row]]), rtol=1e-4)
    np.testing.assert_array_equal(np.delete(fine["sensitivity"], rows), np.delete(m["sensitivity"], rows))
    np.testing.assert_allclose(fine["leverage"][rows], m["leverage"][rows], rtol=1e-12)
    assert not np.any(fine["warning"][rows])
    assert "refitted without each" in fine.provenance.description.notes[-1]


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_what_is_minimised_is_the_loss_without_the_rows(name):
    net, x, y = case(name, 12)
    source = mm.memory_map(
        net, x, y, likelihood="categorical", posterior=mm.Laplace("diag", prior=DELTA)
    ).origin.posterior
    start, _, value = objective(net.eval(), x, y, 1.0, [n for block in source.blocks for n in block.parameters])
    kept, theta = np.ones(12), start + 0.1 * np.random.default_rng(0).normal(size=len(start))
    _, slope = value(start, kept)
    kept[[2, 7]] = 0
    (f, g), before = value(theta, kept), value(start, kept)[0]
    mine = LeaveOutObjective.at_parameters(source.problem).without(np.array([2, 7]))
    with evaluation_mode(net):
        found = mine(np.concatenate([theta[at] for at in places(mine, net, start)]))
    np.testing.assert_allclose(found[0], f - before - slope @ (theta - start), rtol=1e-9)
    want = np.concatenate([(g - slope)[at] for at in places(mine, net, start)])
    np.testing.assert_allclose(found[1], want, rtol=1e-9, atol=1e-12)


def places(mine, net, start):
    """Where the parameters of `mine` sit in the order of the network's own."""
    ends = np.cumsum([0, *(v.numel() for v in net.parameters())])
    own = {name: np.arange(a, b) for (name, _), a, b in zip(net.named_parameters(), ends[:-1], ends[1:], strict=True)}
    assert len(start) == ends[-1]
    return [own[name] for name in mine.parameters.values]


def test_linear_regression_needs_one_step():
    torch.manual_seed(0)
    x, y = torch.randn(20, 3, dtype=torch.float64), torch.randn(20, dtype=torch.float64)
    net = nn.Linear(3, 1).double()
    ones = torch.cat([x, torch.ones(20, 1)], 1)
    theta = torch.linalg.solve(ones.T @ ones + 0.5 * torch.eye(4), ones.T @ y)
    nn.utils.vector_to_parameters(theta, net.parameters())
    m = mm.memory_map(net, x, y, likelihood="gaussian", posterior=mm.Laplace("full", prior=0.5))
    np.testing.assert_allclose(mm.refit(m, top=20, tolerance=1e-9)["deviation"], m["deviation"], rtol=1e-6)


def test_weights_subsets_and_directions():
    weight, names = np.linspace(0.5, 2, 30), {"2.weight", "2.bias"}
    net, x, y = trained(weight=weight, names=names)
    m = drawn(net, x, y, "kfac", subset="last_layer", sample_weight=weight, directions=2)
    fine = mm.refit(m, top=2, **EXACT)
    for row in np.flatnonzero(fine["refitted"]):
        truth = without(net, x, y, row, weight, names)
        np.testing.assert_allclose(fine["output"][row] + fine["deviation"][row], truth, atol=1e-5)


@pytest.mark.slow
def test_a_network_comes_to_rest_before_anything_is_left_out():
    net, x, y = trained()
    rested = mm.refit(drawn(net, x, y), top=3, **EXACT)
    ids = rested["id"][rested["refitted"]].tolist()
    with torch.no_grad():
        for value in net.parameters():
            value += 0.05 * torch.randn_like(value)
    m = drawn(net, x, y)
    assert m.provenance.description.distance > 0.05
    found = mm.refit(m, top=30, **EXACT)
    np.testing.assert_allclose(found.select(ids)["deviation"], rested.select(ids)["deviation"], atol=0.01)
    assert "training to the minimum first" in found.provenance.description.notes[-1]
    np.testing.assert_array_equal(found["output"], m["output"])


@functools.cache
def _leaning(n):
    net, x, y = trained(n)
    return net, x, y, drawn(net, x, y, "full")


def leaning(n=60):
    """A stationary network with a large leverage of each example, to be changed by the test, and its map."""
    *fitted, m = _leaning(n)
    return *copy.deepcopy(fitted), m


@pytest.mark.slow
def test_auto_leaves_the_largest_out_by_itself_where_one_step_may_be_too_long():
    net, x, y, m = leaning()
    assert "may differ from the refit by a fifth" in str(m.summary())
    mine, asked = drawn(net, x, y, "auto"), mm.refit(m, top=30)
    np.testing.assert_array_equal(mine["refitted"], asked["refitted"])
    np.testing.assert_allclose(mine["sensitivity"], asked["sensitivity"], rtol=1e-9)
    assert "30 examples were refitted without" in str(mine.summary())


def test_a_map_without_examples_says_nothing_of_its_sizes():
    nothing = leaning()[3].select([])
    assert str(nothing.summary()) == "Map\n  no examples"
    assert warnings_of(nothing) == ()


@pytest.mark.slow
def test_auto_leaves_fewer_out_where_passes_are_dear_and_none_where_nobody_could_want_it(monkeypatch):
    net, x, y, _ = leaning()
    work = 60 * (3 * 43 * 60 + 2 * 43**2)  # parameters, by the examples of a pass
    monkeypatch.setattr("memorymaps.nets.refit.objective.MACS_PER_MINUTE", 2 * 7.5 * work)
    assert drawn(net, x, y, "auto")["refitted"].sum() == 7
    assert "refitted" not in drawn(net, x, y, "auto", estimator="R-sm")
    some = drawn(net, x, y, "auto", rows=[3, 4, 5])
    assert some["refitted"].all()
    monkeypatch.setattr("memorymaps.nets.refit.objective.MACS_PER_MINUTE", work)
    assert "refitted" not in drawn(net, x, y, "auto")
    monkeypatch.undo()
    with torch.no_grad():
        net[0].weight += 1.0
    assert "from the optimum" in str(drawn(net, x, y, "auto").summary())
    assert "refitted" not in drawn(net, x, y, "auto")


class Slow(TensorDataset):
    """Counts how often an example is read."""

    read = 0

    def __getitem__(self, row):
        self.read += 1
        return super().__getitem__(row)


@pytest.mark.slow
def test_a_slow_loader_is_read_a_few_times_for_many_probes():
    net, x, y, _ = leaning()
    data = Slow(x, y)
    m = drawn(net, DataLoader(data, batch_size=16), None, "kfac")
    assert "by the exact curvature" in str(m.summary())
    assert data.read <= 10 * len(y)


@pytest.mark.slow
def test_a_slow_loader_is_read_once_for_all_refits(monkeypatch):
    net, x, y, m = leaning()
    data = Slow(x, y)
    found = drawn(net, DataLoader(data, batch_size=16), None, "auto")
    assert found["refitted"].sum() == 30
    assert data.read <= 11 * len(y)  # one of them for the check of a saddle point
    np.testing.assert_allclose(found["sensitivity"], mm.refit(m, top=30)["sensitivity"], rtol=1e-6)
    monkeypatch.setattr("memorymaps.nets.cost_model._MAX_INPUT_NUMBERS", 4 * len(y) - 1)
    assert "refitted" not in drawn(net, x, y, "auto")
    np.testing.assert_allclose(mm.refit(m, top=30)["sensitivity"], found["sensitivity"], rtol=1e-6)


@pytest.mark.slow
def test_groups_are_left_out_together():
    net, x, y = trained()
    found, moving = drawn(net, x, y, "kfac").origin.posterior.refit([0, 3, 4], [0, 7], **EXACT)
    np.testing.assert_allclose(found, np.stack([without(net, x, y, [0, 3, 4], at=row) for row in (0, 7)]), atol=1e-5)
    assert moving <= EXACT["tolerance"]


@pytest.mark.slow
@pytest.mark.parametrize("structure", ["full", "ekfac", "diag", "dual"])
def test_single_precision_agrees(structure):
    net, x, y = trained()
    exact = mm.refit(drawn(net, x, y), top=5)
    single = mm.refit(drawn(net, x, y, structure, dtype=torch.float32), top=30)
    rows = np.flatnonzero(exact["refitted"])
    assert np.all(single["refitted"])
    np.testing.assert_allclose(single["sensitivity"][rows], exact["sensitivity"][rows], rtol=0.05)


@pytest.mark.slow
def test_a_killed_run_goes_on_and_refits_nothing_twice(tmp_path, monkeypatch):
    m, path = drawn(*trained()), tmp_path / "refit.jsonl"
    whole, kind = mm.refit(m, top=4), type(m.origin.posterior)
    real, calls = kind.refit, []

    def killed(self, removed, *rest):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(removed.tolist())
        return real(self, removed, *rest)

    monkeypatch.setattr(kind, "refit", killed)
    with pytest.raises(KeyboardInterrupt):
        mm.refit(m, top=4, path=path)
    path.write_bytes(path.read_bytes() + b'{"row": 7, "wan')  # cut while it was written
    monkeypatch.setattr(
        kind, "refit", lambda self, removed, *rest: calls.append(removed.tolist()) or real(self, removed, *rest)
    )
    again = mm.refit(m, top=4, path=path)
    assert len(calls) == 5  # nothing removed, and each of the four
    assert [] in calls
    np.testing.assert_allclose(again["sensitivity"], whole["sensitivity"], rtol=1e-12)
    with pytest.raises(ValueError, match="another map"):
        mm.refit(m, top=4, tolerance=0.01, path=path)
    with pytest.raises(ValueError, match="another map"):
        mm.retrain_check(m, path=path)
    net, x, y = trained()
    weaker = mm.memory_map(net, x, y, likelihood="categorical", posterior=mm.Laplace("full", prior=DELTA / 2))
    with pytest.raises(ValueError, match="another map"):
        mm.refit(weaker, top=4, path=path)


def test_too_few_steps_light_the_warning_and_more_put_it_out():
    m = drawn(*trained())
    short = mm.refit(m, top=3, by="leverage", steps=2, tolerance=1e-9)
    assert np.all(short["warning"][short["refitted"]] == int(mm.Warn.NOT_CONVERGED))
    assert "too few steps" in str(short.summary())
    assert not np.any(mm.refit(short, top=3, by="leverage")["warning"])


def test_a_search_that_finds_no_step_is_not_taken_for_an_arrival(monkeypatch):
    m = drawn(*trained())
    monkeypatch.setattr("memorymaps.nets.refit.lbfgs._wolfe_step", lambda *_: None)
    fine = mm.refit(m, top=3)
    assert np.all(fine["warning"][fine["refitted"]] == int(mm.Warn.NOT_CONVERGED))


@pytest.mark.slow
def test_refining_and_refitting_mark_their_own_rows():
    m = drawn(*trained(), "diag")
    both = mm.refine(mm.refit(m, top=6), top=2, by="leverage")
    assert both["refined"].sum() == 2
    assert not np.any(both["refined"] & both["refitted"])
    again = mm.refit(both, top=2, by="leverage")
    assert not np.any(again["refined"])


@pytest.mark.slow
def test_networks_check_themselves(tmp_path):
    m, path = drawn(*trained()), tmp_path / "check.jsonl"
    check = mm.retrain_check(m, k=10, path=path)
    assert check.drift < 1e-6
    fine = mm.refit(m, top=5)
    mine = dict(zip(fine["id"].tolist(), fine["sensitivity"], strict=True))
    np.testing.assert_allclose(check["truth"][:5], [mine[i] for i in check["id"][:5].tolist()], rtol=1e-9)
    assert json.loads(path.read_bytes().splitlines()[0])["recipe"] == "refit"
    with ThreadPoolExecutor(2) as pool, pytest.raises(ValueError, match="uses all cores"):
        mm.retrain_check(m, k=10, executor=pool)
    with pytest.raises(ValueError, match="another map"):
        mm.retrain_check(m, lambda removed, wanted: np.zeros((len(wanted), 3)), k=10, path=path)


def test_models_that_cannot_are_refused(tmp_path):
    state = list(newton([[0.0], [1.0], [2.0]], np.array([0, 1, 1]), likelihood=mm.Bernoulli(), prior=1.0))[-1]
    m = mm.memory_map(state, [[0.0], [1.0], [2.0]], [0, 1, 1])  # an algorithm's state is no optimum
    with pytest.raises(TypeError, match="cannot refit its model"):
        mm.refit(m)
    with pytest.raises(TypeError, match="retrain_check\\(m, retrain\\)"):
        mm.retrain_check(m)
    with pytest.raises(ValueError, match="read from disk"):
        mm.refit(mm.load(m.save(tmp_path / "m.parquet")))


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"top": 0}, {"steps": 0}, {"tolerance": 0.0}, {"tolerance": np.nan}])
def test_nothing_to_do_is_refused(options):
    m = drawn(*trained(), "diag")
    with pytest.raises(ValueError, match="expected a positive"):
        mm.refit(m, **options)


def test_descent_ends_at_a_minimum_and_steps_back_from_where_nothing_is_finite():
    def banana(t):
        """Rosenbrock's function; infinite beyond a wall just behind its minimum."""
        a, b = t
        if a > 1.05:
            return np.inf, np.zeros(2)
        return (1 - a) ** 2 + 100 * (b - a * a) ** 2, np.array([2 * (a - 1) - 400 * a * (b - a * a), 200 * (b - a * a)])

    passed = [theta for theta, _ in preconditioned_lbfgs(banana, lambda g: g, np.array([-1.2, 1.0]))]
    np.testing.assert_allclose(passed[-1], 1, atol=1e-6)
    assert len(passed) < 100


@pytest.mark.parametrize(("pairs", "arrives"), [(3, False), (200, True)])
def test_a_descent_with_more_pairs_than_parameters_ends_in_few_steps(pairs, arrives):
    curvature = np.logspace(0, 4, 20)
    steps = preconditioned_lbfgs(
        lambda t: (t @ (curvature * t) / 2, curvature * t), lambda g: g, np.ones(20), max_pairs=pairs
    )
    _, slope = list(itertools.islice(steps, 150))[-1]
    assert (slope < 1e-6) == arrives


def test_descent_in_the_metric_of_a_quadratic_takes_one_step():
    a = np.diag([1.0, 1e6])
    steps = preconditioned_lbfgs(lambda t: (t @ a @ t / 2, a @ t), lambda g: np.linalg.solve(a, g), np.ones(2))
    next(steps)
    theta, slope = next(steps)
    np.testing.assert_allclose(theta, 0, atol=1e-9)
    assert slope < 1e-6
