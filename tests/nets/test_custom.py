"""Losses by automatic differentiation against the analytic likelihoods."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch.nn import functional

import memorymaps as mm
from memorymaps.core.likelihoods.base import TargetError
from memorymaps.core.likelihoods.categorical import Categorical
from memorymaps.core.likelihoods.exponential_family import Gaussian, Poisson
from memorymaps.core.likelihoods.heteroscedastic import HeteroscedasticGaussian

RNG = np.random.default_rng(0)
F, CLASSES, COUNTS = RNG.normal(size=(7, 3)), RNG.integers(0, 3, 7), RNG.poisson(2, 7).astype(float)


def softmax(f, y):
    return functional.cross_entropy(f, y.long(), reduction="none")


def gaussian_pair(f, y):
    return functional.gaussian_nll_loss(f[:, 0], y, f[:, 1].exp(), full=True, reduction="none", eps=1e-12)


PAIRS = {
    "categorical": (mm.Custom(softmax, lambda f: f.softmax(1)), Categorical(), F, CLASSES),
    "poisson": (
        mm.Custom(lambda f, y: functional.poisson_nll_loss(f[:, 0], y, reduction="none"), torch.exp), Poisson(),
        F[:, :1], COUNTS,
    ),
    "gaussian": (mm.Custom(lambda f, y: (f[:, 0] - y) ** 2 / 2), Gaussian(), F[:, :1], COUNTS),
    "pair": (mm.Custom(gaussian_pair, lambda f: f[:, 0]), HeteroscedasticGaussian(), F[:, :2], COUNTS),
}  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("kind", [np.asarray, torch.tensor])
def test_errors_and_means_are_those_of_the_written_likelihoods(name, kind):
    custom, written, f, y = PAIRS[name]
    got = custom.error(kind(f), kind(y))
    assert type(got) is type(kind(f))
    np.testing.assert_allclose(got, written.error(f, y), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(custom.mean(kind(f)), written.mean(f), rtol=1e-10)
    np.testing.assert_allclose(custom.mean_jacobian(kind(f)), written.mean_jacobian(f), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["categorical", "poisson", "gaussian"])
def test_curvature_is_the_fisher_information_of_canonical_links(name):
    custom, written, f, y = PAIRS[name]
    np.testing.assert_allclose(custom.curvature(f, y), written.curvature(f, y), rtol=1e-9, atol=1e-12)


def test_negative_curvature_is_left_out():
    custom = mm.Custom(lambda f, y: torch.log1p((f[:, 0] - y) ** 2))
    curvature = custom.curvature(np.array([[0.0], [5.0]]), np.zeros(2))[:, 0, 0]
    np.testing.assert_allclose(curvature, [2.0, 0.0])


@pytest.mark.slow
def test_a_network_with_a_custom_loss_has_the_same_map():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 3)).double()
    x, y = torch.randn(20, 4, dtype=torch.float64), torch.randint(0, 3, (20,))
    recipe = mm.Laplace("kfac", prior=1.0)
    a, b = (mm.memory_map(net, x, y, likelihood=k, posterior=recipe) for k in ("categorical", PAIRS["categorical"][0]))
    np.testing.assert_allclose(a["leverage"], b["leverage"], rtol=1e-9)
    np.testing.assert_allclose(a["deviation"], b["deviation"], rtol=1e-9)
    fine, other = (mm.refine(m, top=5)["deviation"] for m in (a, b))
    np.testing.assert_allclose(fine, other, rtol=1e-6)


def test_heteroscedastic_networks_are_mapped():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 2)).double()
    x, y = torch.randn(20, 4, dtype=torch.float64), torch.randn(20, dtype=torch.float64)
    m = mm.memory_map(net, x, y, likelihood="heteroscedastic", posterior=mm.Laplace("full", prior=1.0))
    np.testing.assert_allclose(m["error"], (net(x)[:, 0].detach() - y).abs().numpy(), rtol=1e-12)
    np.testing.assert_allclose(m["leverage"].sum(), m.provenance.description.effective_parameters, rtol=1e-9)
    assert np.isfinite(m.leave_one_out().loo_loss)
    with pytest.raises(mm.TargetError, match="log σ²"):
        mm.memory_map(net, x, torch.stack([y, y], 1), likelihood="heteroscedastic", posterior=mm.Laplace(prior=1.0))


def test_class_numbers_are_compared_with_probabilities_as_one_hot_rows():
    torch.manual_seed(0)
    net = torch.nn.Linear(4, 3).double()
    x, y = torch.randn(20, 4, dtype=torch.float64), torch.randint(0, 3, (20,))
    recipe = mm.Laplace("full", prior=1.0)
    custom, written = PAIRS["categorical"][:2]
    a, b = (mm.memory_map(net, x, y, likelihood=k, posterior=recipe) for k in (custom, written))
    np.testing.assert_allclose(a["error"], b["error"], rtol=1e-9)
    residual = np.linalg.norm(b["residual"], axis=1)
    assert a.leave_one_out().score == pytest.approx(np.sqrt(np.mean(residual**2)))
    with pytest.raises(mm.TargetError, match="0 … 2"):
        custom.check_target(y + 1, 3)


@pytest.mark.parametrize(
    ("custom", "y"),
    [
        (mm.Custom(softmax), CLASSES),
        (mm.Custom(softmax, lambda f: f.softmax(1)), CLASSES + 0.0),
        (mm.Custom(lambda f, y: ((f - y) ** 2).sum(1)), RNG.normal(size=(7, 2))),
    ],
)
def test_targets_that_predictions_cannot_be_compared_with_are_refused(custom, y):
    for ask in (lambda: custom.check_target(y, 3), lambda: custom.residual(F, y)):
        with pytest.raises(mm.TargetError, match=r"predict=lambda f: f\.softmax\(1\)"):
            ask()


def test_errors_for_reduced_losses_name_the_reduction():
    with pytest.raises(mm.TargetError, match="reduction='none'"):
        mm.Custom(lambda f, y: ((f - y) ** 2).mean()).nll(F[:, :1], COUNTS)


def test_targets_that_are_not_finite_are_refused():
    with pytest.raises(mm.TargetError, match="row 2"):
        PAIRS["gaussian"][0].check_target(np.array([0.0, 1.0, np.nan]), 1)


def test_tensors_of_another_type_are_named_in_losses_and_predictions():
    weight = torch.ones(3)
    custom = mm.Custom(
        lambda f, y: functional.cross_entropy(f, y.long(), weight=weight, reduction="none"),
        predict=lambda f: f @ torch.ones(3, 3),
    )
    for call, name in ((lambda: custom.nll(F, CLASSES), "nll"), (lambda: custom.mean(F), "predict")):
        with pytest.raises(TargetError, match=rf"{name}\(.*type torch.float64 .*(Float|float).*Expected those"):
            call()

    def broken(f, y):
        raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match=r"^something else$"):
        mm.Custom(broken).nll(F, CLASSES)
