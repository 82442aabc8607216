"""Rows are drawn by what a first, small sample leaves open of them, so that rare examples have rows."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import nn

import memorymaps as mm
from memorymaps.core.likelihoods.exponential_family import Gaussian
from memorymaps.data.in_memory import ArrayExamples
from memorymaps.nets import Sampled
from memorymaps.nets.curvature.dual import rows_types
from memorymaps.nets.curvature.structure import root_directions
from memorymaps.nets.problem import build_problem
from memorymaps.nets.sampled.cost import cost_of
from memorymaps.nets.sampled.rows import leverages
from memorymaps.nets.sampled.rows.leverages import drawn_by_leverage
from memorymaps.nets.sampled.rows.pool import RowPool
from memorymaps.nets.sampled.rows.work import PassWork

DELTA = 0.3
FREE = PassWork(1.0, 0.0, 0.0, 0.0)


def few(outputs=3, n=40):
    """A network, some inputs and targets."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, outputs)).double()
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(n, 4, generator=generator, dtype=torch.float64)
    return net, x, torch.randint(0, outputs, (n,), generator=generator)


def pool_of(net, x, y):
    problem = build_problem(mm.Laplace("sampled", prior=DELTA)(net, "categorical"), ArrayExamples.of(x, y))
    return RowPool.of(problem, list(rows_types(problem)), 0, None)


def jacobian(net, x):
    """`[n, c, P]`, parameters in the order of the module."""
    parameters = dict(net.named_parameters())

    def outputs(values, one):
        return torch.func.functional_call(net, values, (one[None],))[0]

    each = torch.func.vmap(torch.func.jacrev(outputs), in_dims=(None, 0))(parameters, x)
    return torch.cat([each[name].flatten(2) for name in parameters], dim=2)


def roots(problem, net, x):
    """`L [n, c, k]` with `Λ = L Lᵀ`."""
    batch = next(iter(problem.examples))
    found = root_directions(problem, batch, problem.weights(batch))(net(x).detach(), slice(0, len(x))).permute(1, 2, 0)
    p = net(x).detach().softmax(1)
    torch.testing.assert_close(torch.matmul(found, found.mT), torch.diag_embed(p) - p[:, :, None] * p[:, None])
    return found


def gain_of(a, drawn, weights, others):
    """`aᵀS̃⁻¹a` by some drawn rows, dense."""
    matrix = DELTA * torch.eye(drawn.shape[1]) + (drawn[others].T * weights[others]) @ drawn[others]
    return a @ torch.linalg.solve(matrix, a)


@pytest.mark.parametrize("along", [2, 1])
def test_gains_are_those_of_the_dense_matrix_without_own_rows_and_the_three_that_matter_most(along):
    net, x, y = few()
    pool = pool_of(net, x, y)
    covariance = pool.covariance(50, pool.problem.prior)
    found = torch.cat(list(leverages._gains(pool, covariance.cavities(torch.float64), along)))
    rows = torch.matmul(roots(pool.problem, net, x).mT, jacobian(net, x)).detach()  # a_ij [n, k, P]
    drawn, owners = rows.flatten(0, 1)[pool.places], pool.places // pool.k
    if along == 1:
        signs = leverages._signs(pool, torch.arange(len(x)))
        assert set(signs.unique().tolist()) == {-1.0, 1.0}
        rows = (signs.T[:, :, None] * rows).sum(1, keepdim=True)
    for i in range(len(x)):
        others = torch.nonzero(owners != i).flatten()

        def sums(kept, i=i):
            return torch.stack([gain_of(a, drawn, covariance.weights, kept) for a in rows[i]])

        each = torch.stack([sums(others[others != left_out]).sum() for left_out in others])
        kept = others[each.argsort()[:-3]]
        torch.testing.assert_close(found[i], sums(kept))
    assert 0 < len(owners.unique()) < len(x)


def test_half_of_the_draw_follows_the_trace_and_half_the_leverage():
    traces = torch.tensor([[1.0, 3.0], [0.0, 0.0], [2.0, 2.0]])
    size = leverages._sizes(traces, torch.tensor([[1.0, 3.0], [5.0, 5.0], [1.0, 0.0]])).view(3, 2)
    leverage = torch.tensor([[1 / 2, 3 / 4], [0.0, 0.0], [1 / 2, 0.0]])
    torch.testing.assert_close(size, traces / traces.sum() + leverage / leverage.sum())


def test_a_combination_s_gain_is_shared_by_trace_and_a_quarter_equally():
    traces = torch.tensor([[1.0, 3.0], [0.0, 0.0], [2.0, 2.0]])
    size = leverages._sizes(traces, torch.tensor([[8.0], [1.0], [2.0]])).view(3, 2)
    gain = torch.tensor([[8 * (3 / 16 + 1 / 8), 8 * (9 / 16 + 1 / 8)], [0.0, 0.0], [1.0, 1.0]])
    leverage = gain / (1 + gain)
    torch.testing.assert_close(size, traces / traces.sum() + leverage / leverage.sum())


def test_gains_that_overflow_are_leverages_of_one():
    size = leverages._sizes(torch.tensor([[1.0], [1.0]]), torch.tensor([[torch.inf], [1.0]]))
    torch.testing.assert_close(size, 0.5 + torch.tensor([1.0, 0.5]) / 1.5)


def test_what_it_costs_is_counted_and_too_little_leaves_the_trace():
    net, x, y = few(n=200)
    pool = pool_of(net, x, y)
    work = PassWork(1.0, 10.0, 20.0, 20.0)
    mixed, spent = drawn_by_leverage(pool, work, 1e12)
    assert mixed.measure == "curvature and leverage"
    assert spent.before > 200 * 30
    assert spent.reads == 2
    assert len(mixed.places) == pytest.approx(256, abs=60)  # rows of the first sample are kept
    unchanged, same = drawn_by_leverage(pool, work, 1000.0)
    assert unchanged is pool
    assert same is work


def test_a_short_budget_allows_one_direction_and_then_a_smaller_first_sample():
    net, x, y = few(n=200)
    pool = pool_of(net, x, y)
    cost = cost_of(pool.problem, pool.kinds, FREE)
    plenty = leverages._affordable(cost, FREE, pool.k, 1e12)
    assert (plenty.rows, plenty.along) == (256, 2)
    less = leverages._affordable(cost, FREE, pool.k, 0.99 * plenty.multiplications)
    assert (less.rows, less.along) == (256, 1)
    least = leverages._affordable(cost, FREE, pool.k, 0.99 * less.multiplications)
    assert (least.rows, least.along) == (128, 1)
    assert leverages._affordable(cost, FREE, pool.k, 1.0) is None
    mixed, spent = drawn_by_leverage(pool, FREE, 1e12)
    smaller, less = drawn_by_leverage(pool.without_rows(), FREE, 0.6 * spent.before)
    assert smaller.measure == "curvature and leverage"
    assert less.before <= 0.6 * spent.before
    assert 0 < len(smaller.places) < len(mixed.places)


def confident_pairs(n=2500, features=8):
    """Logistic regression at its minimum; pairs of one class that share a large feature, so that both are confident."""
    rng = np.random.default_rng(0)
    x, y = np.zeros((n, 10 + features)), rng.integers(0, 2, n)
    x[:, :10] = rng.normal(size=(n, 10))
    for feature in range(features):
        x[2 * feature : 2 * feature + 2, 10 + feature] = 30
        y[2 * feature : 2 * feature + 2] = feature % 2
    x, y = torch.tensor(x), torch.tensor(y)
    torch.manual_seed(0)
    net = nn.Linear(x.shape[1], 1).double()
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        penalty = DELTA / 2 * sum(p.square().sum() for p in net.parameters())
        total = nn.functional.binary_cross_entropy_with_logits(net(x)[:, 0], y.double(), reduction="sum") + penalty
        total.backward()
        return total

    optimizer.step(loss)
    return net, x, y


def test_a_few_confident_examples_among_many_are_mapped_by_few_rows():
    net, x, y = confident_pairs()

    def drawn(structure):
        recipe = mm.Laplace(structure, prior=DELTA)
        return mm.memory_map(net, x, y, likelihood="bernoulli", posterior=recipe, progress=False)

    exact = drawn("full")
    pairs = np.arange(len(x)) < 16
    assert exact["leverage"][pairs].min() > 10 * np.median(exact["leverage"])
    for seed in range(3):
        m = drawn(Sampled(seed=seed))
        assert len(m.origin.posterior.covariance.q) < len(x) / 4
        for name in ("leverage", "sensitivity"):
            off = np.abs(m[name] - exact[name])
            assert np.linalg.norm(off) < 0.15 * np.linalg.norm(exact[name])  # by the trace alone 0.7 and more
            assert np.mean(off <= 2 * m[f"{name}_se"]) > 0.9


def test_a_few_inputs_far_away_are_mapped_in_regression():
    rng = np.random.default_rng(0)
    x = np.c_[rng.normal(size=(2000, 5)), np.zeros((2000, 6))]
    x[np.arange(12), 5 + np.arange(12) // 2] = 5
    y = x[:, :5].sum(1) + rng.normal(size=2000)
    net = nn.Linear(11, 1).double()
    solution = np.linalg.solve(np.c_[x, np.ones(2000)].T @ np.c_[x, np.ones(2000)] + DELTA * np.eye(12),
                               np.c_[x, np.ones(2000)].T @ y)  # fmt: skip
    with torch.no_grad():
        net.weight[0], net.bias[0] = torch.tensor(solution[:11]), float(solution[11])

    def drawn(structure):
        recipe, data = mm.Laplace(structure, prior=DELTA), (torch.tensor(x), torch.tensor(y)[:, None])
        return mm.memory_map(net, *data, likelihood=Gaussian(1.0), posterior=recipe, progress=False)

    exact, m = drawn("full"), drawn(Sampled(rows=120))
    off = np.abs(m["leverage"] - exact["leverage"])
    assert np.linalg.norm(off) < 0.15 * np.linalg.norm(exact["leverage"])
    assert np.mean(off[:12] <= 2 * m["leverage_se"][:12]) > 0.8


class Two(nn.Module):
    """Two outputs; the second has inputs of its own."""

    def __init__(self, common, total):
        super().__init__()
        self.common, self.first, self.second = common, nn.Linear(common, 1), nn.Linear(total, 1)

    def forward(self, x):
        return torch.cat([self.first(x[:, : self.common]), self.second(x)], dim=1)


def minimum(net, loss_of):
    """The network where the loss and the prior's penalty are least."""
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=300, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        total = loss_of(net) + DELTA / 2 * sum(p.square().sum() for p in net.parameters())
        total.backward()
        return total

    optimizer.step(loss)
    return net


def no_example_of_a_class():
    """Softmax of four classes of which the data have three."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1500, 6))
    y = (x[:, :3] + 0.7 * rng.normal(size=(1500, 3))).argmax(1)
    x, y = torch.tensor(x), torch.tensor(y)
    torch.manual_seed(0)
    net = minimum(nn.Linear(6, 4).double(), lambda net: nn.functional.cross_entropy(net(x), y, reduction="sum"))
    return net, x, y, "categorical"


def inputs_of_the_second_output():
    """Two outputs of equal variance; some inputs are those of three examples, and only the second output uses them."""
    rng = np.random.default_rng(0)
    x = np.c_[rng.normal(size=(2000, 5)), np.zeros((2000, 4))]
    x[np.arange(12), 5 + np.arange(12) // 3] = 5
    y = torch.tensor(x[:, :5].sum(1, keepdims=True) + rng.normal(size=(2000, 2)))
    x = torch.tensor(x)
    torch.manual_seed(0)
    net = minimum(Two(5, 9).double(), lambda net: (net(x) - y).square().sum() / 2)
    return net, x, y, Gaussian(1.0)


def groups_of_four():
    """Logistic regression with four examples for each of ten large features: a first sample may have two of four."""
    rng = np.random.default_rng(0)
    x, y = np.zeros((3000, 20)), rng.integers(0, 2, 3000)
    x[:, :10] = rng.normal(size=(3000, 10))
    x[np.arange(40), 10 + np.arange(40) // 4] = 30
    y[:40] = np.arange(40) // 4 % 2
    x, y = torch.tensor(x), torch.tensor(y)
    torch.manual_seed(0)
    loss = nn.functional.binary_cross_entropy_with_logits
    net = minimum(nn.Linear(20, 1).double(), lambda net: loss(net(x)[:, 0], y.double(), reduction="sum"))
    return net, x, y, "bernoulli"


@pytest.mark.slow
@pytest.mark.parametrize("case", [no_example_of_a_class, inputs_of_the_second_output, groups_of_four])
def test_rare_directions_of_any_output_have_rows(case):
    net, x, y, likelihood = case()

    def drawn(structure):
        recipe = mm.Laplace(structure, prior=DELTA)
        return mm.memory_map(net, x, y, likelihood=likelihood, posterior=recipe, progress=False)

    exact = drawn("full")
    for seed in range(4):
        m = drawn(Sampled(seed=seed))
        off = np.linalg.norm(m["leverage"] - exact["leverage"]) / np.linalg.norm(exact["leverage"])
        assert off < 0.15
        assert off < 2.5 * m.provenance.description.relative_error
