"""A network's optimiser as the learning rule: its steps equal the optimiser's, and removal agrees with the map."""

import dataclasses

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from networks import case, jacobian
from torch import nn

import memorymaps as mm
from memorymaps.core.perturbation.estimators import CODES, perturb
from memorymaps.nets.optimizers.learning_rule import rule_of
from memorymaps.nets.optimizers.state_precision import precision_from_state
from memorymaps.nets.optimizers.variational_newton import VariationalNewton

N = 20


def trained(make, steps=4, loss="mean"):
    net, x, y = case("mlp", N)
    optimizer = make(net.parameters())
    for _ in range(steps):
        step(net, x, y, optimizer, loss)
    return net, x, y, optimizer


def step(net, x, y, optimizer, loss="mean"):
    optimizer.zero_grad()
    nn.functional.cross_entropy(net(x), y, reduction=loss).backward()
    optimizer.step()


def ruled(net, x, y, optimizer, rate=1.0, **options):
    recipe = mm.FromOptimizer(optimizer, n=N, **options)
    m = mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe)
    return m, rule_of(m, recipe, rate)


def flat(m, values):
    named = dict(zip(m.origin.posterior.problem.covered, values, strict=True))
    return torch.cat([block.pack(named).reshape(-1) for block in m.origin.posterior.blocks]).detach().numpy()


def parameters(m, net):
    return flat(m, [value for _, value in net.named_parameters()])


def jacobians(m, net, x):
    j = jacobian(net, x)
    rows = [flat(m, [j[name][i, c] for name, _ in net.named_parameters()]) for i in range(len(x)) for c in range(3)]
    return np.stack(rows).reshape(len(x), 3, -1)


@pytest.mark.parametrize("loss", ["mean", "sum"])
def test_gradient_descent_steps_as_the_rule_does(loss):
    net, x, y, optimizer = trained(lambda p: torch.optim.SGD(p, lr=0.01), loss=loss)
    m, rule = ruled(net, x, y, optimizer, loss=loss)
    step(net, x, y, optimizer, loss)
    np.testing.assert_allclose(rule.candidate.unpack(rule.step())[0], parameters(m, net), rtol=1e-9, atol=1e-12)


def test_rmsprop_with_decay_steps_as_the_rule_does_at_its_rate():
    net, x, y, optimizer = trained(lambda p: torch.optim.RMSprop(p, lr=0.01, eps=0.0, weight_decay=0.1))
    optimizer.param_groups[0]["alpha"] = 1.0
    for state in optimizer.state.values():  # α = 1 preserves this state
        state["square_avg"] = torch.full_like(state["square_avg"], 0.25)
    m, rule = ruled(net, x, y, optimizer)
    # S = N(√v + decay) where the optimiser divides by N√v: its step is the rule's, scaled
    before, scale = parameters(m, net), 0.01 * (0.5 + 0.1) / 0.5
    moved = rule.candidate.unpack(rule.step())[0] - before
    step(net, x, y, optimizer)
    np.testing.assert_allclose(parameters(m, net) - before, scale * moved, rtol=1e-8, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("make", [torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop, torch.optim.SGD])
def test_removal_changes_outputs_as_in_the_first_order_map(make):
    net, x, y, optimizer = trained(lambda p: make(p, lr=0.01, weight_decay=0.1))
    m, rule = ruled(net, x, y, optimizer)
    j, before = jacobians(m, net, x), parameters(m, net)
    moved = np.stack([j[i] @ (rule.without(i)[0] - before) for i in range(N)])
    at = m.origin.batch_statistics(next(iter(m.origin.examples)))
    np.testing.assert_allclose(moved, perturb(at, CODES["F"]).deviation, rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(rule.deviation([2, 5]), rule.deviations()[[2, 5]].sum(0))


def test_a_variational_optimiser_loses_the_curvature_of_what_is_removed():
    net, x, y = case("mlp", N)
    optimizer = VariationalNewton(net.parameters(), lr=0.1, ess=N, weight_decay=0.1, betas=(0.9, 0.9))
    for _ in range(4):
        with optimizer.sampled_params(train=True):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    m, rule = ruled(net, x, y, optimizer)
    at = m.origin.batch_statistics(next(iter(m.origin.examples)))
    j = jacobians(m, net, x)
    gradient = np.einsum("ncp,nc->np", j, at.error)
    bent = np.einsum("ncp,ncd,ndp->np", j, at.curvature, j)
    found = precision_from_state(optimizer, N).precision
    precision = flat(m, [found[id(value)] for value in net.parameters()])
    mean = parameters(m, net)
    for i in (0, 7, 19):
        moved, left = rule.without(i)
        np.testing.assert_allclose(left, precision - bent[i], rtol=1e-8)
        np.testing.assert_allclose(moved, mean + gradient[i] / left, rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(rule.candidate.unpack(rule.with_rate(1.0).step())[1], bent.sum(0) + 0.1 * N, rtol=1e-8)


def test_many_outputs_along_directions():
    net, x, y, optimizer = trained(lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.1))
    whole = ruled(net, x, y, optimizer)[1]
    thin = ruled(net, x, y, optimizer, directions=1)[1]
    np.testing.assert_allclose(thin.gradients, whole.gradients, rtol=1e-8, atol=1e-14)


def test_a_map_of_some_examples_has_the_rule_of_all():
    net, x, y, optimizer = trained(lambda p: torch.optim.Adam(p, lr=0.01))
    recipe = mm.FromOptimizer(optimizer, n=N)
    some = mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe, rows=[3, 8])
    np.testing.assert_array_equal(rule_of(some, recipe).gradients, ruled(net, x, y, optimizer)[1].gradients)


def test_other_maps_are_refused(diabetes_map):
    net, x, y, optimizer = trained(lambda p: torch.optim.SGD(p, lr=0.01))
    recipe = mm.FromOptimizer(optimizer, n=N)
    laplace = mm.memory_map(net, x, y, likelihood="categorical", posterior=mm.Laplace("diag", prior=1.0))
    for m in (diabetes_map, laplace):
        with pytest.raises(TypeError, match=r"posterior=FromOptimizer"):
            rule_of(m, recipe)
    read_back = dataclasses.replace(mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe), origin=None)
    with pytest.raises(TypeError, match="a map without its model"):
        rule_of(read_back, recipe)


def test_an_optimiser_that_has_stepped_since_is_refused():
    net, x, y, optimizer = trained(lambda p: torch.optim.Adam(p, lr=0.01))
    recipe = mm.FromOptimizer(optimizer, n=N)
    m = mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe)
    step(net, x, y, optimizer)
    with pytest.raises(TypeError, match=r"is of 'Adam, step 4' and the optimiser is at 'Adam, step 5'"):
        rule_of(m, recipe)


def test_more_than_memory_is_refused(monkeypatch):
    net, x, y, optimizer = trained(lambda p: torch.optim.SGD(p, lr=0.01))
    monkeypatch.setattr("memorymaps.nets.optimizers.learning_rule._MAX_NUMBERS", 100)
    with pytest.raises(mm.DataError, match=r"take .* GB: expected at most 2"):
        ruled(net, x, y, optimizer)
