"""Maps of networks on another device are those of main memory: `test_other_device.py` runs this in a process."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest
import torch
from device import THERE, There, moved
from networks import CASES, case
from torch import nn

import memorymaps as mm
from memorymaps.nets.sampled.structure import Sampled

EVERY_KIND = ("mlp", "cnn", "norms", "attention", "tied", "lstm")  # of layers; the other networks arrange these
OTHERS = tuple(name for name in CASES if name not in EVERY_KIND)
COLUMNS = ("error", "leverage", "sensitivity", "deviation", "loo_loss")


def drawn(net, x, y, structure="kfac", likelihood="categorical", **options):
    recipe = mm.Laplace(structure, **{"prior": 1.0, "rows": 5, **options})
    return mm.memory_map(net, x, y, likelihood=likelihood, posterior=recipe)


def both(net, x, y, *args, **options):
    """The same map, of the network here and there."""
    here, there = (drawn(each, x, y, *args, **options) for each in (net, moved(copy.deepcopy(net))))
    assert there.origin.posterior.network.device == THERE
    return here, there


def same(here, there, columns=COLUMNS):
    for column in columns:
        np.testing.assert_allclose(there[column], here[column], rtol=1e-8, atol=1e-12, err_msg=column)


def resting(n=12):
    torch.manual_seed(0)
    x, y = torch.randn(n, 4, dtype=torch.float64), torch.arange(n) % 3
    net = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=500, tolerance_grad=1e-9, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        penalty = sum(p.square().sum() for p in net.parameters()) / 2
        total = nn.functional.cross_entropy(net(x), y, reduction="sum") + 0.7 * penalty
        total.backward()
        return total

    optimizer.step(loss)
    return net, x, y


def huber(f, y):
    return nn.functional.huber_loss(f[:, 0], y.to(f), reduction="none")


def test_the_device_refuses_what_a_gpu_refuses():
    x = There(torch.randn(2, 3))
    with pytest.raises(RuntimeError, match="same device"):
        x + torch.randn(2, 3)
    with pytest.raises((RuntimeError, TypeError)):
        x.numpy()
    assert (2 * x + torch.tensor(1.0)).device == THERE
    assert x.cpu().device == torch.device("cpu")


@pytest.mark.parametrize(
    ("name", "structure"),
    [
        *itertools.product(OTHERS, ["dual"]),  # rows of every kind are those of test_sampled_rows
        *itertools.product(EVERY_KIND, ["ekfac"]),
        *itertools.product(("mlp", "attention"), ["full", "active_set"]),
    ],
)
def test_every_layer_and_structure(name, structure):
    here, there = both(*case(name), structure)
    same(here, there)
    np.testing.assert_allclose(*(m.leave_out({"some": [1, 4]})["sensitivity"] for m in (here, there)), rtol=1e-6)


@pytest.mark.parametrize("name", EVERY_KIND)
def test_sampled_rows(name):
    here, there = both(*case(name), Sampled(rows=9), rows=400)
    same(here, there, (*COLUMNS, "leverage_se", "loo_loss_se"))
    np.testing.assert_allclose(*(m.leave_out({"some": [1, 4]})["sensitivity"] for m in (here, there)), rtol=1e-6)


@pytest.mark.parametrize("structure", ["hessian", "lowrank", "block", "kfac", "diag", "auto"])
def test_structures_at_rest(structure):
    same(*both(*resting(), structure, prior=0.7))


@pytest.mark.parametrize("fisher", ["leading", "mc", "empirical"])
def test_other_fishers(fisher):
    same(*both(*case("mlp"), fisher=fisher))


@pytest.mark.parametrize("name", ["mlp", "cnn", "norms", "attention"])
def test_along_directions(name):
    same(*both(*case(name), directions=1))


def test_the_prior_by_evidence_and_the_last_layer():
    same(*both(*case("mlp"), prior="evidence"))
    same(*both(*case("mlp"), subset="last_layer"))


@pytest.mark.parametrize(
    ("likelihood", "c", "y"),
    [
        ("gaussian", 1, np.linspace(-1, 1, 11)),
        ("gaussian", 2, np.linspace(-1, 1, 22).reshape(11, 2)),
        ("poisson", 1, np.arange(11) % 4),
        ("bernoulli", 1, np.arange(11) % 2),
        ("bernoulli", 2, np.arange(22).reshape(11, 2) % 2),
        ("heteroscedastic", 2, np.linspace(-1, 1, 11)),
        (
            mm.Custom(lambda f, y: nn.functional.huber_loss(f[:, 0], y.to(f), reduction="none")),
            1,
            np.linspace(-1, 1, 11),
        ),
    ],
    ids=str,
)
def test_other_losses(likelihood, c, y):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, c)).double()
    x = torch.randn(11, 4, dtype=torch.float64)
    weight = np.linspace(0.5, 2, 11)
    for structure in ("full", "kfac"):
        maps = []
        for each in (net, moved(copy.deepcopy(net))):
            recipe = mm.Laplace(structure, prior=1.0)
            maps.append(mm.memory_map(each, x, y, likelihood=likelihood, posterior=recipe, sample_weight=weight))
        same(*maps, ("error", "leverage", "sensitivity", "deviation"))


def test_refining_refitting_and_retraining():
    here, there = both(*resting(), "kfac", prior=0.7)
    same(mm.refine(here, top=4), mm.refine(there, top=4))
    fine = [mm.refit(m, top=4)["sensitivity"] for m in (here, there)]
    np.testing.assert_allclose(*fine, rtol=1e-6)
    checks = [mm.retrain_check(m, k=4)["truth"] for m in (here, there)]
    np.testing.assert_allclose(*checks, rtol=1e-6)


def test_questions_to_the_posterior():
    net, x, y = case("cnn")
    here, there = (m.origin.posterior for m in both(net, x, y))
    np.testing.assert_allclose(there.variances(x), here.variances(x), rtol=1e-8)
    np.testing.assert_allclose(there.top_marginals(x, 2)[1].variance, here.top_marginals(x, 2)[1].variance, rtol=1e-8)
    direction = np.random.default_rng(0).normal(size=(len(x), 3))
    np.testing.assert_allclose(there.respond(x, direction), here.respond(x, direction), rtol=1e-8)


def test_loaders_whose_batches_are_there_already():
    net, x, y = case("mlp")
    batches = [(There(x[:6].clone()), There(y[:6].clone())), (There(x[6:].clone()), There(y[6:].clone()))]
    recipe = mm.Laplace("kfac", prior=1.0)
    there = mm.memory_map(moved(copy.deepcopy(net)), batches, likelihood="categorical", posterior=recipe)
    same(drawn(net, x, y), there)


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop, torch.optim.SGD])
def test_optimisers_state(kind):
    net, x, y = case("mlp", 20)
    maps = []
    for each, place in ((net, lambda t: t), (moved(copy.deepcopy(net)), lambda t: There(t.clone()))):
        optimizer = kind(each.parameters(), lr=0.01, weight_decay=0.01)
        for _ in range(5):
            optimizer.zero_grad()
            nn.functional.cross_entropy(each(place(x)), place(y)).backward()
            optimizer.step()
        recipe = mm.FromOptimizer(optimizer, n=20)
        maps.append(mm.memory_map(each, x, y, likelihood="categorical", posterior=recipe))
        prior = mm.prior_from(optimizer, n=20)
        maps[-1:] += [mm.memory_map(each, x, y, likelihood="categorical", posterior=mm.Laplace("diag", prior=prior))]
    for here, there in zip(maps[:2], maps[2:], strict=True):
        same(here, there)


@pytest.mark.parametrize(
    ("name", "structure"),
    [*itertools.product(("mlp", *OTHERS), ["ekfac"]), ("mlp", "full"), ("mlp", "auto"), ("tied", "auto")],
)
def test_a_network_of_main_memory_is_mapped_on_another_device_and_stays_where_it_is(name, structure):
    net, x, y = case(name)
    recipe = mm.Laplace(structure, prior=1.0)
    there = mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe, device="there")
    assert there.origin.posterior.network.device == THERE
    assert {p.device for p in net.parameters()} == {torch.device("cpu")}
    same(drawn(net, x, y, structure, rows=200), there)


@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.SGD])
def test_the_optimisers_state_and_prior_go_with_a_copy(kind):
    net, x, y = case("mlp", 20)
    optimizer = kind([{"params": [p]} for p in net.parameters()], lr=0.01, weight_decay=0.01)
    nn.functional.cross_entropy(net(x), y).backward()
    optimizer.step()
    for recipe in (mm.FromOptimizer(optimizer, n=20), mm.Laplace("kfac", prior=mm.prior_from(optimizer, n=20))):
        maps = [
            mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe, device=device)
            for device in (None, "there", THERE)
        ]
        same(*maps[:2])
        same(*maps[::2])
        assert maps[0].provenance.description.notes == maps[1].provenance.description.notes


def test_a_tracker_records_on_another_device(tmp_path):
    net, x, y = case("mlp", 20)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01, weight_decay=0.01)
    options = {"likelihood": "categorical", "every": 2}
    with (
        mm.Tracker(net, optimizer, x, y, path=tmp_path / "here", **options) as here,
        mm.Tracker(net, optimizer, x, y, path=tmp_path / "there", device="there", test=(x, y), **options) as there,
    ):
        there.check()
        for _ in range(4):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            optimizer.step()
            here.step()
            there.step()
    for step in (2, 4):
        same(here.trajectory().at(step), there.trajectory().at(step))
    losses = there.trajectory().losses()
    np.testing.assert_allclose(losses["test_loss"], losses["loss"])
