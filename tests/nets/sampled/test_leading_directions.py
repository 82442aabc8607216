"""Variances of training examples along few directions against all C × C."""

import functools
import re

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from sklearn.datasets import load_digits
from torch import nn

import memorymaps as mm
from memorymaps.core.likelihoods.categorical import Categorical
from memorymaps.core.likelihoods.exponential_family import Gaussian
from memorymaps.nets.covariance.completion import Completion
from memorymaps.nets.curvature import kronecker
from memorymaps.nets.curvature.kronecker import EKFAC
from memorymaps.nets.laplace.leading import LeadingNetworkPosterior, leading_basis


@functools.cache
def trained():
    """A network of more than 20,000 parameters."""
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x / 16).float(), torch.tensor(y)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(64, 280), nn.Tanh(), nn.Linear(280, 10))
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(30):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    return net, x, y


def drawn(structure="ekfac", likelihood="categorical", target=None, weight=None, **options):
    net, x, y = trained()
    recipe = mm.Laplace(structure, prior=1.0, probes=0, **options)
    y = y if target is None else target
    return mm.memory_map(net, x, y, likelihood=likelihood, posterior=recipe, sample_weight=weight)


@functools.cache
def few():
    return drawn(EKFAC(examples=300))


@functools.cache
def all_outputs():
    return drawn(EKFAC(examples=300), directions=0)


def along(m):
    return [note for note in m.provenance.description.notes if "directions of an example" in note]


def off(found, exact):
    return np.linalg.norm(found - exact) / np.linalg.norm(exact)


def outputs(n=40, c=6):
    generator = torch.Generator().manual_seed(0)
    f = 2 * torch.randn(n, c, generator=generator, dtype=torch.float64)
    return f, torch.randint(0, c, (n,), generator=generator)


def test_the_basis_is_orthonormal_begins_with_the_error_and_says_what_it_leaves_outside():
    f, y = outputs()
    basis, outside = leading_basis(Categorical(), f, y)
    assert torch.allclose(basis.mT @ basis, torch.eye(6).double().expand(40, 6, 6), atol=1e-10)
    error = Categorical().error(f, y)
    assert torch.allclose((basis[..., 0] * error).sum(1), error.norm(dim=1))
    curvature = Categorical().curvature(f, y)
    for rank in range(7):
        seen = basis[..., :rank].mT @ curvature @ basis[..., :rank]
        left = (curvature.diagonal(dim1=1, dim2=2).sum(1) - seen.diagonal(dim1=1, dim2=2).sum(1)).clamp(min=0)
        assert torch.allclose(outside[:, rank], left, atol=1e-10)
    assert bool((outside[:, 5] < 1e-12).all())  # of softmax, one less than outputs is all


def test_an_example_without_error_has_the_leading_directions_of_its_curvature():
    f = torch.tensor([[800.0, 0.0, -1.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    basis, _ = leading_basis(Categorical(), f, torch.tensor([0, 1]))
    variance = torch.eye(3).double().expand(2, 3, 3) * 2
    gram = basis[..., :2].mT @ variance @ basis[..., :2]
    assert torch.allclose(Completion.of(basis[..., :2], 2 * torch.eye(3)).whole(gram), variance)
    other = Completion.of(basis[..., :2], torch.diag(torch.tensor([3.0, 1.0, 2.0]))).whole(gram)
    assert torch.allclose(basis[..., :2].mT @ other @ basis[..., :2], gram)


def test_an_error_of_zero_leaves_all_eigenvectors_in_their_order():
    f = torch.zeros(1, 3, dtype=torch.float64)
    basis, outside = leading_basis(Gaussian(0.5), f, f)
    assert torch.allclose(basis.mT @ basis, torch.eye(3).double())
    assert torch.allclose(outside[0], torch.tensor([6.0, 4.0, 2.0, 0.0]).double())


@pytest.mark.parametrize(("c", "scale"), [(2, 3.0), (10, 15.0), (10, 100.0)])
def test_the_basis_of_confident_outputs_is_orthonormal(c, scale):
    generator = torch.Generator().manual_seed(0)
    f = scale * torch.randn(400, c, generator=generator, dtype=torch.float64)
    f[:100, :2] += 10 * scale  # two classes have all probability: the curvature is the error's direction alone
    basis, _ = leading_basis(Categorical(), f, torch.randint(0, 2, (400,), generator=generator))
    assert torch.allclose(basis.mT @ basis, torch.eye(c).double().expand(400, c, c), atol=1e-10)


def test_all_directions_give_the_same_variances():
    generator = torch.Generator().manual_seed(1)
    root = torch.randn(40, 6, 6, generator=generator, dtype=torch.float64)
    basis, variance = leading_basis(Categorical(), *outputs())[0], root @ root.mT
    mean_variance = torch.eye(6) + torch.ones(6, 6)
    assert torch.allclose(Completion.of(basis, mean_variance).whole(basis.mT @ variance @ basis), variance)


def test_few_directions_give_what_jointly_normal_outputs_of_the_mean_variance_have():
    basis = leading_basis(Categorical(), *outputs())[0][..., :2]
    root = torch.randn(6, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    shape = root @ root.T
    assert torch.allclose(Completion.of(basis, shape).whole(basis.mT @ shape @ basis), shape.expand(40, 6, 6))
    wider = basis @ torch.diag(torch.tensor([2.0, 0.5]).double()) @ basis.mT  # more variance along D only
    gram = basis.mT @ (shape + wider) @ basis
    inverse = torch.linalg.inv(basis.mT @ shape @ basis)
    regression = shape @ basis @ inverse  # E(f | Dᵀf) = regression Dᵀf
    scale = gram.diagonal(dim1=1, dim2=2).sum(-1) / (basis.mT @ shape @ basis).diagonal(dim1=1, dim2=2).sum(-1)
    given = shape - regression @ basis.mT @ shape
    expected = regression @ gram @ regression.mT + (scale**0.75)[:, None, None] * given
    assert torch.allclose(Completion.of(basis, shape).whole(gram), expected)


def test_few_directions_cost_the_error_that_the_map_states():
    assert isinstance(few().origin.posterior, LeadingNetworkPosterior)
    (note,) = along(few())
    mean, leverage, change = map(
        float, re.search(r"along ([\d.]+) .* leverages ([\d.]+)%, of changes of the mean ([\d.]+)%", note).groups()
    )
    assert 1 <= mean <= 5
    true = 100 * off(few()["leverage"], all_outputs()["leverage"])
    changes = [(m["loo_mean"] - m["mean"]).ravel() for m in (few(), all_outputs())]
    assert 0.4 < leverage / true < 2.5
    assert change <= 5.0
    assert 100 * off(*changes) < 6
    assert np.argmax(few()["sensitivity"]) == np.argmax(all_outputs()["sensitivity"])


def test_deviations_of_outputs_that_the_curvature_does_not_see_have_an_error_of_their_own(tmp_path):
    true, d = off(few()["deviation"], all_outputs()["deviation"]), few().provenance.description
    assert true > 0.05
    assert 0.7 < d.deviation_error / true < 1.4
    assert (
        f"'deviation', whose outputs that Λ does not see are only estimated, {d.deviation_error:.1%}" in along(few())[0]
    )
    verdict = few().trust["deviation"]
    assert verdict.figure == "deviation"
    assert f"adds {d.deviation_error:.0%} to the error of deviations" in verdict.reasons[-1]
    assert few().trust["output_sensitivity"] == verdict
    assert few().trust["loo_mean"] == few().trust["sensitivity"]
    assert mm.load(few().save(tmp_path / "m.parquet")).trust == few().trust
    assert all_outputs().provenance.description.deviation_error is None
    assert all_outputs().trust["deviation"] == all_outputs().trust["sensitivity"]


@pytest.mark.slow
def test_where_all_outputs_are_asked_for_or_needed_nothing_is_left_out():
    assert not along(all_outputs())
    assert not along(drawn(EKFAC(examples=300), directions=2))
    constant = drawn(EKFAC(examples=300), likelihood="gaussian", target=nn.functional.one_hot(trained()[2]).float())
    assert not along(constant)
    assert not isinstance(constant.origin.posterior, LeadingNetworkPosterior)


def test_examples_whose_id_is_not_known_and_new_inputs_have_all_variances():
    m, (_, x, _) = few(), trained()
    batch = m.origin.examples.take(np.arange(5))
    exact = all_outputs().origin.posterior.marginals(x[:5])
    batch.ids[:] = -1 - np.arange(5)
    found = m.origin.posterior.training_marginals(batch)
    assert np.allclose(found.f, exact.f, atol=1e-5)
    seen, whole = (Categorical().curvature(exact.f, batch.target) @ each for each in (found.variance, exact.variance))
    assert np.allclose(seen, whole, rtol=1e-3, atol=1e-6)
    assert np.allclose(m.origin.posterior.marginals(x[:5]).variance, exact.variance)


@pytest.mark.slow
def test_many_examples_of_a_large_network_are_a_sample_unless_all_are_asked_for(monkeypatch):
    monkeypatch.setattr(kronecker, "_MANY", 1000)
    monkeypatch.setattr(kronecker, "_DRAWN", 300)
    quick = drawn("ekfac")
    assert np.array_equal(quick["leverage"], few()["leverage"])
    assert any("examples='all'" in note for note in quick.provenance.description.notes)
    whole = drawn(EKFAC(examples="all"))
    assert not any("drawn by curvature" in note for note in whole.provenance.description.notes)
    assert off(quick["leverage"], whole["leverage"]) < 0.2


@pytest.mark.slow
def test_weights_of_zero_stay_without_leverage():
    weight = np.where(np.arange(1797) < 900, 0.0, 1.0)
    m = drawn(EKFAC(examples=300), weight=weight)
    assert along(m)
    assert not m["leverage"][:900].any()
    assert m["leverage"][900:].all()
