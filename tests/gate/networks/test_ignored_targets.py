"""Examples without a target count nowhere; the number of examples of a prior is that of the data; flat losses."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import nn
from torch.nn import functional

import memorymaps as mm
from memorymaps.core.likelihoods.hinge import Hinge, Pinball
from memorymaps.models.draws.draws import Draws
from memorymaps.nets.optimizers.variational_newton import VariationalNewton

N, T, K = 30, 4, 3


def tokens(index=-100):
    """Class scores of `T` positions; every third example has only ignored targets, others have one."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, T * K)).double()
    x, y = torch.randn(N, 5, dtype=torch.float64), torch.randint(0, K, (N, T))
    y[::3] = index
    y[1::5, 2] = index
    return net, x, y


def token_loss(index=-100):
    def loss(f, y):
        scores = f.view(len(f), T, K).transpose(1, 2)
        return functional.cross_entropy(scores, y.long(), ignore_index=index, reduction="none").sum(1)

    return mm.Custom(loss, predict=lambda f: f.view(len(f), T, K).argmax(2).double(), ignore_index=index)


COUNTED = np.flatnonzero(np.arange(N) % 3)
FIGURES = ("error", "leverage", "sensitivity", "loss", "loo_loss", "deviation")
RECIPES = {
    "full": lambda optimizer, n: mm.Laplace("full", prior=mm.prior_from(optimizer, n)),
    "kfac": lambda optimizer, n: mm.Laplace("kfac", prior=mm.prior_from(optimizer, n)),
    "dual": lambda optimizer, n: mm.Laplace("dual", prior=mm.prior_from(optimizer, n)),
    "state": lambda optimizer, n: mm.FromOptimizer(optimizer, n, directions=0),
}


def trained(net, x, y, likelihood):
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01, weight_decay=0.05)
    for _ in range(5):
        optimizer.zero_grad()
        likelihood.loss(net(x), y).mean().backward()
        optimizer.step()
    return optimizer


@pytest.mark.slow
@pytest.mark.parametrize("index", [-100, 255])
@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("batched", [False, True])
def test_examples_without_a_target_count_nowhere_and_the_others_keep_ids_and_rows(recipe, index, batched):
    net, x, y = tokens(index)
    likelihood, names = token_loss(index), [f"s{k}" for k in range(N)]
    optimizer = trained(net, x[COUNTED], y[COUNTED], likelihood)
    posterior = RECIPES[recipe](optimizer, len(COUNTED))
    cut = [(x[k : k + 7], y[k : k + 7], names[k : k + 7]) for k in range(0, N, 7)]
    given = {"data": cut} if batched else {"data": x, "target": y, "ids": names}
    m = mm.memory_map(net, **given, likelihood=likelihood, posterior=posterior)
    alone = mm.memory_map(
        net, x[COUNTED], y[COUNTED], ids=[names[k] for k in COUNTED], likelihood=likelihood, posterior=posterior
    )
    assert m["id"].tolist() == names
    assert m["row"].tolist() == list(range(N))
    for name in FIGURES:
        np.testing.assert_allclose(m[name][COUNTED], alone[name], rtol=1e-8, atol=1e-12, err_msg=name)
        assert not np.any(np.delete(m[name], COUNTED, axis=0))
    assert str(m.leave_one_out()) == str(alone.leave_one_out())
    assert {v.figure: v.level for v in m.trust} == {v.figure: v.level for v in alone.trust}
    assert "10 of weight 0, which count nowhere" in str(m.summary())
    if recipe == "full":
        found, expected = m.leave_out({"g": [names[1], names[0]]}), alone.leave_out({"g": [names[1]]})
        for name in ("leverage", "leave_out_loss", "rest_leave_out_loss"):
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-7, err_msg=name)


@pytest.mark.parametrize("structure", ["kfac", "ekfac", "diag"])
def test_weights_of_kronecker_factors_count_as_copies(structure):
    net, x, y = tokens()
    weight = np.ones(N)
    weight[[4, 7]] = 0, 2
    copied = np.array([*np.delete(np.arange(N), 4), 7])
    recipe = mm.Laplace(structure, prior=1.0, probes=0)
    weighted = mm.memory_map(net, x, y, sample_weight=weight, likelihood=token_loss(), posterior=recipe)
    m = mm.memory_map(net, x[copied], y[copied], likelihood=token_loss(), posterior=recipe)
    expected = np.zeros(N)
    np.add.at(expected, copied, m["leverage"])
    np.testing.assert_allclose(weighted["leverage"], expected, rtol=1e-8)


def test_rows_written_with_weight_zero_are_the_same():
    net, x, y = tokens()
    weight = np.isin(np.arange(N), COUNTED).astype(float)
    recipe = mm.Laplace("full", prior=1.0)
    m = mm.memory_map(net, x, y, likelihood=token_loss(), posterior=recipe)
    other = mm.memory_map(net, x, y, sample_weight=weight, likelihood=token_loss(), posterior=recipe)
    np.testing.assert_array_equal(m["weight"], other["weight"])
    np.testing.assert_array_equal(m["leverage"], other["leverage"])


def test_the_prior_may_count_all_rows_or_those_with_a_target():
    net, x, y = tokens()
    optimizer = trained(net, x, y, token_loss())
    for n in (N, len(COUNTED)):
        mm.memory_map(net, x, y, likelihood=token_loss(), posterior=RECIPES["full"](optimizer, n))
    with pytest.raises(mm.DataError, match=r"data has 20 examples of 30 with a weight or a target.*n=20\)"):
        mm.memory_map(net, x, y, likelihood=token_loss(), posterior=RECIPES["full"](optimizer, 25))


def test_a_tracker_counts_those_with_a_target(tmp_path):
    net, x, y = tokens()
    optimizer = trained(net, x, y, token_loss())
    with mm.Tracker(net, optimizer, x, y, likelihood=token_loss(), path=tmp_path) as tracker:
        m = tracker.record()
    expected = mm.FromOptimizer(optimizer, len(COUNTED), directions=1)
    alone = mm.memory_map(net, x, y, likelihood=token_loss(), posterior=expected)
    np.testing.assert_allclose(m["leverage"], alone["leverage"], rtol=1e-12)


def test_draws_count_them_nowhere_either():
    net, x, y = tokens()
    f = net(x).detach().numpy() + 0.1 * np.random.default_rng(0).normal(size=(50, N, T * K))
    m = mm.memory_map(Draws(f, token_loss()), x.numpy(), y.numpy())
    alone = mm.memory_map(Draws(f[:, COUNTED], token_loss()), x[COUNTED].numpy(), y[COUNTED].numpy())
    assert m["weight"][::3].tolist() == [0.0] * 10
    assert m.leave_one_out().n == alone.leave_one_out().n == 20
    assert m.leave_one_out().loss == pytest.approx(alone.leave_one_out().loss)


# --- n -------------------------------------------------------------------------------------------------------------


def many(n=300):
    torch.manual_seed(0)
    net, x = nn.Linear(3, 2).double(), torch.randn(n, 3, dtype=torch.float64)
    y = torch.arange(n) % 2
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01, weight_decay=0.05)
    functional.cross_entropy(net(x), y).backward()
    optimizer.step()
    return net, x, y, optimizer


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["full", "state"])
def test_a_count_that_is_nearly_right_is_said_and_its_effect_is_no_larger(recipe):
    net, x, y, optimizer = many()
    exact = mm.memory_map(net, x, y, likelihood="categorical", posterior=RECIPES[recipe](optimizer, 300))
    assert not any("Precisions are those" in note for note in exact.provenance.description.notes)
    for n in (299, 301, 303, 297):
        near = mm.memory_map(net, x, y, likelihood="categorical", posterior=RECIPES[recipe](optimizer, n))
        note = next(note for note in near.provenance.description.notes if f"those of n = {n} examples" in note)
        assert "(optimizer, n=300) is exact" in note
        assert note in str(near.summary())
        ratio = near["leverage"] / exact["leverage"]
        assert np.all(np.abs(ratio - 1) <= 1.02 * abs(n / 300 - 1))


@pytest.mark.parametrize("n", [256, 320, 30])  # drop_last of batches of 64, batches rounded up, one zero too few
@pytest.mark.parametrize("recipe", ["full", "state"])
def test_another_count_is_refused_and_the_count_of_the_message_works(recipe, n):
    net, x, y, optimizer = many()
    with pytest.raises(mm.DataError, match=rf"n = {n}, and the data has 300.*drop_last draws from all.*n=300\)"):
        mm.memory_map(net, x, y, likelihood="categorical", posterior=RECIPES[recipe](optimizer, n))
    m = mm.memory_map(net, x, y, likelihood="categorical", posterior=RECIPES[recipe](optimizer, 300), rows=[0, 5])
    assert len(m) == 2


def test_the_count_of_a_loader_that_drops_its_end_in_order_is_that_of_what_it_reads():
    net, x, y, optimizer = many()
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=64, drop_last=True)
    m = mm.memory_map(net, loader, likelihood="categorical", posterior=RECIPES["full"](optimizer, 256))
    assert len(m) == 256


# --- losses without curvature --------------------------------------------------------------------------------------

SMOOTH = 0.1


def first(f):
    return f[:, 0]


FLAT = {
    "L1": (
        mm.Custom(lambda f, y: (f[:, 0] - y).abs(), predict=first),
        mm.Custom(lambda f, y: torch.sqrt((f[:, 0] - y) ** 2 + SMOOTH**2), predict=first),
    ),
    "quantile": (
        mm.Custom(lambda f, y: torch.maximum(0.9 * (y - f[:, 0]), 0.1 * (f[:, 0] - y)), predict=first),
        mm.Custom(
            lambda f, y: 0.9 * (y - f[:, 0]) + SMOOTH * functional.softplus((f[:, 0] - y) / SMOOTH), predict=first
        ),
    ),
    "hinge": (
        mm.Custom(lambda f, y: (1 - y.sign() * f[:, 0]).clamp(min=0), predict=first),
        mm.Custom(lambda f, y: SMOOTH * functional.softplus((1 - y.sign() * f[:, 0]) / SMOOTH), predict=first),
    ),
}


def regression():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    x = torch.randn(40, 3, dtype=torch.float64)
    return net, x, x[:, 0] + 0.3 * torch.randn(40, dtype=torch.float64)


def step(net, x, y, likelihood, make):
    optimizer = make(net.parameters())
    for _ in range(3):
        optimizer.zero_grad()
        likelihood.loss(net(x), y).mean().backward()
        optimizer.step()
    return optimizer


OPTIMIZERS = {
    "Adam": lambda parameters: torch.optim.Adam(parameters, lr=0.01, weight_decay=0.1),
    "SGD": lambda parameters: torch.optim.SGD(parameters, lr=0.01),
}


@pytest.mark.slow
@pytest.mark.parametrize("loss", FLAT)
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_flat_losses_are_refused_from_an_optimisers_state_and_smooth_ones_are_mapped(loss, kind, tmp_path):
    net, x, y = regression()
    flat, smooth = FLAT[loss]
    optimizer = step(net, x, y, flat, OPTIMIZERS[kind])
    recipe = mm.FromOptimizer(optimizer, 40)
    for posterior in (recipe, mm.Laplace("full", prior=1.0)):
        with pytest.raises(mm.DataError, match=r"loss has no curvature.*softplus"):
            mm.memory_map(net, x, y, likelihood=flat, posterior=posterior)
    with (
        pytest.raises(mm.DataError, match="loss has no curvature"),
        mm.Tracker(net, optimizer, x, y, likelihood=flat, path=tmp_path, subset=10) as tracker,
    ):
        tracker.record()
    assert mm.memory_map(net, x, y, likelihood=smooth, posterior=recipe)["leverage"].sum() > 0


@pytest.mark.slow
@pytest.mark.parametrize("loss", FLAT)
def test_flat_losses_are_refused_for_variational_optimisers_and_draws(loss):
    net, x, y = regression()
    flat, smooth = FLAT[loss]
    optimizer = VariationalNewton(net.parameters(), lr=0.1, ess=40.0)
    with optimizer.sampled_params(train=True):
        flat.loss(net(x), y).mean().backward()
    optimizer.step()
    f = net(x).detach().numpy() + 0.1 * np.random.default_rng(0).normal(size=(50, 40, 1))
    made = {
        "variational": lambda likelihood: mm.memory_map(
            net, x, y, likelihood=likelihood, posterior=mm.FromOptimizer(optimizer, 40)
        ),
        "draws": lambda likelihood: mm.memory_map(Draws(f, likelihood), x.numpy(), y.numpy()),
    }
    for mapped in made.values():
        with pytest.raises(mm.DataError, match="loss has no curvature"):
            mapped(flat)
        assert mapped(smooth)["leverage"].sum() > 0


@pytest.mark.parametrize("likelihood", [Pinball(0.9), Hinge()])
def test_kinked_losses_of_this_package_are_smoothed_by_the_posterior(likelihood):
    net, x, y = regression()
    y = (y > 0).long() if isinstance(likelihood, Hinge) else y
    optimizer = step(net, x, y.double(), FLAT["L1"][0], OPTIMIZERS["Adam"])
    m = mm.memory_map(net, x, y, likelihood=likelihood, posterior=mm.FromOptimizer(optimizer, 40))
    assert m["leverage"].sum() > 0


def test_a_part_of_the_examples_may_be_flat():
    net, x, y = regression()
    y[:5] += 50
    huber = mm.Custom(lambda f, t: functional.huber_loss(f[:, 0], t, reduction="none"), predict=first)
    optimizer = step(net, x, y, huber, OPTIMIZERS["Adam"])
    m = mm.memory_map(net, x, y, likelihood=huber, posterior=mm.FromOptimizer(optimizer, 40), rows=range(5))
    assert np.all(m["leverage"] == 0)
    assert np.all(m["error"] > 40)
