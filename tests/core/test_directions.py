"""Leading directions of Λ: never more than Λ, unbiased with the signed rest, exact at full rank."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from memorymaps.core.likelihoods.categorical import Categorical
from memorymaps.core.likelihoods.exponential_family import Bernoulli, Gaussian
from memorymaps.core.perturbation import curvature_sketch as directions
from memorymaps.core.perturbation.curvature_sketch import deflated_nystrom, error_and_roots, nystrom_sketch, root_scales

RNG = np.random.default_rng(0)
F = 3 * RNG.normal(size=(6, 5))
SIGNS = np.array(list(itertools.product([-1.0, 1.0], repeat=F.shape[1])))  # every one as likely as another
CASES = {"softmax": (Categorical(), F, np.zeros(6, int)), "labels": (Bernoulli(), F, np.zeros((6, 5)))}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("k", [5, 9])
def test_as_many_directions_as_outputs_are_exact(name, k):
    likelihood, f, y = CASES[name]
    r = nystrom_sketch(likelihood, f, y, k)
    np.testing.assert_allclose(r @ r.swapaxes(1, 2), likelihood.curvature(f, y), atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_the_leading_part_never_exceeds_the_curvature_and_is_nearly_the_best(name):
    likelihood, f, y = CASES[name]
    whole, main = likelihood.curvature(f, y), nystrom_sketch(likelihood, f, y, 2)[..., :-1]
    rest = np.linalg.eigvalsh(whole - main @ main.swapaxes(1, 2))
    assert rest.min() > -1e-12
    best = np.linalg.eigvalsh(whole)[:, -2:].sum(1)
    captured = np.sum(main**2, axis=(1, 2))
    assert np.all(captured > 0.97 * best)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_the_signed_rest_is_unbiased(name, monkeypatch):
    likelihood, f, y = CASES[name]
    draws = []
    for signs in SIGNS:
        monkeypatch.setattr(directions, "random_signs", lambda f, seed, s=signs: np.broadcast_to(s, f.shape))
        r = nystrom_sketch(likelihood, f, y, 1)
        draws.append(r @ r.swapaxes(1, 2))
    np.testing.assert_allclose(np.mean(draws, axis=0), likelihood.curvature(f, y), atol=1e-12)


def root_of(likelihood, f, y, weight, k):
    d = error_and_roots(likelihood, f, y, weight, k)
    return d * root_scales(likelihood, f, y, d)[:, None]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("k", [4, 5, 9])
def test_error_and_directions_beside_it_are_exact_where_they_reach_the_rank(name, k):
    likelihood, f, y = CASES[name]
    weight = np.linspace(0, 2, len(f))
    r = root_of(likelihood, f, y, weight, k)
    expected = weight[:, None, None] * likelihood.curvature(f, y)
    np.testing.assert_allclose(r @ r.swapaxes(1, 2), expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_error_and_directions_beside_it_never_exceed_the_curvature(name):
    likelihood, f, y = CASES[name]
    main = root_of(likelihood, f, y, np.ones(len(f)), 1)[..., :-1]
    rest = np.linalg.eigvalsh(likelihood.curvature(f, y) - main @ main.swapaxes(1, 2))
    assert rest.min() > -1e-12
    alone = nystrom_sketch(likelihood, f, y, 1)[..., :-1]
    assert np.all(np.sum(main**2, axis=(1, 2)) >= 0.97 * np.sum(alone**2, axis=(1, 2)))


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_the_rest_beside_the_error_is_unbiased(name, monkeypatch):
    likelihood, f, y = CASES[name]
    e = likelihood.error(f, y)
    first = root_scales(likelihood, f, y, e[..., None])[:, 0, None] * e
    draws = []
    for signs, last in itertools.product(SIGNS, [-1.0, 1.0]):  # of the outputs, and of what is left
        draw = lambda f, seed, s=signs, last=last: np.broadcast_to(s if f.shape[1] > 1 else last, f.shape)  # noqa: E731
        monkeypatch.setattr(directions, "random_signs", draw)
        r = deflated_nystrom(likelihood, f, y, e, 1)
        draws.append(r @ r.swapaxes(1, 2))
    expected = likelihood.curvature(f, y) - first[..., :, None] * first[..., None, :]
    np.testing.assert_allclose(np.mean(draws, axis=0), expected, atol=1e-12)


def test_signs_depend_on_the_content_alone(torch):
    assert np.array_equal(directions.random_signs(F), directions.random_signs(F.copy()))
    assert not np.array_equal(directions.random_signs(F), directions.random_signs(F + 1))
    assert np.array_equal(directions.random_signs(torch.tensor(F)).numpy(), directions.random_signs(F))


def test_equal_outputs_and_flat_curvature_give_finite_directions():
    f = np.array([[0.0, 0.0, 0.0, 0.0], [800.0, 0.0, 0.0, 0.0]])
    r = nystrom_sketch(Categorical(), f, np.zeros(2, int), 2)
    assert np.all(np.isfinite(r))
    for y in (np.zeros(2, int), np.ones(2, int)):  # certain and right, certain and wrong
        assert np.all(np.isfinite(root_of(Categorical(), f, y, np.ones(2), 1)))
    assert np.all(np.isfinite(nystrom_sketch(Gaussian(), f, f, 2)))
