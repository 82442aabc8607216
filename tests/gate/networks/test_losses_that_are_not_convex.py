"""Custom losses with negative curvature at the fit: it counts as none, the map says how much, trust reads it."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import memorymaps as mm
from memorymaps.maps.trust import Level

torch = pytest.importorskip("torch")
nn = torch.nn

N = 40


def student(nu, scale):
    return lambda f, y: (nu + 1) / 2 * torch.log1p((f[..., 0] - y).square() / (nu * scale**2))


def fitted(net, loss, x, y):
    options = {"history_size": 50, "tolerance_grad": 1e-10, "tolerance_change": 1e-15}
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=500, line_search_fn="strong_wolfe", **options)

    def closure():
        optimizer.zero_grad()
        total = loss(net(x), y).sum() + sum(p.square().sum() for p in net.parameters()) / 2
        total.backward()
        return total

    for _ in range(3):
        optimizer.step(closure)
    return net


def drawn(loss):
    random = np.random.default_rng(0)
    x = torch.tensor(random.normal(size=(N, 2)))
    y = x @ torch.tensor([1.0, -0.5], dtype=torch.float64) + 0.3 * torch.tensor(random.standard_t(1.5, size=N))
    torch.manual_seed(0)
    net = fitted(nn.Linear(2, 1).double(), loss, x, y)
    recipe = mm.Laplace("full", prior=1.0)
    return mm.memory_map(net, x, y, likelihood=mm.nets.Custom(loss), posterior=recipe, progress=False), net, x, y


def refitted(net, loss, x, y):
    changes = []
    for row in range(N):
        kept = torch.tensor(np.delete(np.arange(N), row))
        other = fitted(copy.deepcopy(net), loss, x[kept], y[kept])
        changes.append(float((other(x[[row]]) - net(x[[row]])).detach().abs()))
    return np.array(changes)


@pytest.mark.parametrize(("nu", "scale"), [(1.0, 0.1), (5.0, 0.4)])
def test_the_share_is_that_of_the_second_derivative_in_closed_form(nu, scale):
    m, net, x, y = drawn(student(nu, scale))
    r2, q = (net(x)[:, 0] - y).detach().square(), nu * scale**2
    curvature = ((nu + 1) * (q - r2) / (q + r2).square()).numpy()
    share = -curvature[curvature < 0].sum() / curvature[curvature > 0].sum()
    assert m.provenance.description.negative_curvature == pytest.approx(share, rel=1e-6)


@pytest.mark.slow
def test_sizes_are_for_ranks_where_much_is_negative_and_right_where_little_is():
    much = student(1.0, 0.1)
    m, *fit = drawn(much)
    truth = refitted(fit[0], much, *fit[1:])
    assert m["sensitivity"] @ truth / (truth @ truth) < 0.8
    assert m.trust["sensitivity"].level == m.trust["loo_loss"].level == Level.RANKS
    assert "the loss is not convex" in str(m.trust["sensitivity"])
    little = student(5.0, 0.4)
    m, *fit = drawn(little)
    truth = refitted(fit[0], little, *fit[1:])
    assert np.linalg.norm(m["sensitivity"] - truth) < 0.1 * np.linalg.norm(truth)
    assert m.trust["sensitivity"].level == Level.ESTIMATED
    assert m.trust["leverage"].level == Level.ESTIMATED


def test_convex_losses_have_none():
    def huber(f, y):
        return nn.functional.huber_loss(f[..., 0], y, reduction="none")

    m = drawn(huber)[0]
    assert m.provenance.description.negative_curvature == 0.0
    assert "not convex" not in str(m.trust)
