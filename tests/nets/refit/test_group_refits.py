"""Groups of a small network are refitted: against training again from the fitted weights, without the group."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import memorymaps as mm  # noqa: E402
from memorymaps.posteriors import group_refits  # noqa: E402

N, PRIOR = 60, 0.3
RNG = np.random.default_rng(0)
INPUTS = RNG.normal(size=(N, 2))
CLASSES = (INPUTS[:, 0] + 0.5 * INPUTS[:, 1] ** 2 + 0.5 * RNG.normal(size=N) > 0.3).astype(int)
X, Y = torch.as_tensor(INPUTS), torch.as_tensor(CLASSES)


def trained(net, rows):
    """The network at the minimum of the summed loss of some rows, from its weights."""
    net = copy.deepcopy(net)
    fit = torch.optim.LBFGS(
        net.parameters(), max_iter=3000, tolerance_grad=1e-10, tolerance_change=1e-14, line_search_fn="strong_wolfe"
    )

    def closure():
        fit.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(X[rows]), Y[rows], reduction="sum")
        loss = loss + PRIOR / 2 * sum((p**2).sum() for p in net.parameters())
        loss.backward()
        return loss

    fit.step(closure)
    return net


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    start = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.Linear(3, 2)).double()
    return trained(start, np.arange(N))


@pytest.fixture(scope="module")
def network_map(network):
    return mm.memory_map(network, X, Y, likelihood="categorical", posterior=mm.Laplace("full", prior=PRIOR))


def test_half_a_class_is_removed_as_by_training_without_it(network, network_map):
    half = np.flatnonzero(CLASSES == 1)[::2]
    found, rest = network_map.leave_out({"half": half}), np.setdiff1d(np.arange(N), half)
    with torch.no_grad():
        p, left = (torch.softmax(net(X), dim=1).numpy() for net in (network, trained(network, rest)))
    change = np.abs(left - p).sum(axis=1)
    assert found["sensitivity"][0] == pytest.approx(change[half].sum(), rel=0.02)
    assert found["rest_sensitivity"][0] == pytest.approx(change[rest].sum(), rel=0.02)
    loss = -np.log(left[half, CLASSES[half]]).mean()
    assert found["leave_out_loss"][0] == pytest.approx(loss, rel=0.02)
    assert found["warning"].tolist() == [""]


@pytest.mark.slow
def test_single_examples_and_many_groups_take_one_step_as_in_the_map(network_map):
    one = network_map.leave_out({"one": [3]})
    assert one["sensitivity"][0] == pytest.approx(network_map["sensitivity"][3], rel=1e-6)
    many = network_map.leave_out({str(k): [k, k + 1] for k in range(N - 1)})
    few = network_map.leave_out({"3": [3, 4]})
    assert many["sensitivity"][3] != few["sensitivity"][0]


def test_a_network_off_its_optimum_takes_one_step():
    torch.manual_seed(1)
    start = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.Linear(3, 2)).double()
    m = mm.memory_map(start, X, Y, likelihood="categorical", posterior=mm.Laplace("full", prior=PRIOR, probes=0))
    assert m.provenance.description.distance > 0.1
    root = m.origin.posterior.covariance_root(X)
    stats = m.origin.batch_statistics(m.origin.examples.take(np.arange(N)))
    rows = [3, 4]
    z = root[rows].reshape(4, -1)
    curvature = np.zeros((4, 4))
    curvature[:2, :2], curvature[2:, 2:] = stats.curvature[rows]
    u = np.linalg.solve(np.eye(z.shape[1]) - z.T @ curvature @ z, z.T @ stats.error[rows].reshape(-1))
    f = stats.f + root @ u
    change = np.abs(stats.likelihood.mean(f) - stats.likelihood.mean(stats.f)).sum(axis=1)
    assert m.leave_out({"pair": rows})["sensitivity"][0] == pytest.approx(change[rows].sum(), rel=1e-6)


def test_a_group_whose_refit_has_not_reached_the_minimum_says_so(network_map, monkeypatch):
    half = np.flatnonzero(CLASSES == 1)[::2]
    monkeypatch.setattr(group_refits, "_STEPS", 3)
    found = network_map.leave_out({"half": half})
    assert found["warning"].tolist() == ["the refit has not converged in 3 steps"]
    assert "has not converged" in mm.influence_on(network_map, X[:1], CLASSES[:1], groups={"half": half})["warning"][0]


def test_arrival_is_told_by_the_gradient(network_map):
    half, everyone, posterior = np.flatnonzero(CLASSES == 1)[::2], np.arange(N), network_map.origin.posterior
    before = posterior.outputs(X)
    minimum, _ = posterior.refit(half, everyone, 2000, 1e-9)
    way = np.linalg.norm(minimum - before)
    for steps in (1, 4, 2000):
        f, remaining = posterior.refit(half, everyone, steps, 1e-4)
        assert (remaining <= 1e-4) == (steps == 2000)
        assert (np.linalg.norm(f - minimum) < 1e-3 * way) == (steps == 2000)
    f, remaining = posterior.refit(half[:0], everyone, 5, 1e-4)
    assert remaining == 0
    np.testing.assert_allclose(f, before, atol=0.01)


def test_refits_of_single_examples_are_training_without_them(network, network_map):
    refitted = mm.refit(network_map, top=6)
    for i in np.flatnonzero(refitted["refitted"]):
        with torch.no_grad():
            truth = (trained(network, np.delete(np.arange(N), i))(X[[i]]) - network(X[[i]])).numpy()[0]
        assert np.linalg.norm(refitted["deviation"][i] - truth) < 0.03 * np.linalg.norm(truth)
    assert not np.any(refitted["warning"] & mm.Warn.NOT_CONVERGED)
