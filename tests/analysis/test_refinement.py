"""Refined rows and removed groups of approximate posteriors equal those of the exact one."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from networks import CASES, case

import memorymaps as mm
from memorymaps.data.datasets import demo_model


def drawn(name, structure, n=15, **options):
    net, x, y = case(name, n)
    recipe = mm.Laplace(structure, prior=0.7, directions=options.pop("directions", 0))
    return mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe, **options)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_refined_deviations_are_those_of_the_exact_posterior(name):
    exact, rough = drawn(name, "full", estimator="R-sm"), drawn(name, "diag")
    fine = mm.refine(rough, top=4, steps=500, tolerance=1e-11)
    rows = np.flatnonzero(fine["refined"])
    assert set(fine["id"][rows]) == set(rough.top(4)["id"])
    for column in ("deviation", "sensitivity", "loo_loss", "memorization", "loo_mean"):
        np.testing.assert_allclose(fine[column][rows], exact[column][rows], rtol=1e-6, atol=1e-9, err_msg=column)
    np.testing.assert_array_equal(np.delete(fine["sensitivity"], rows), np.delete(rough["sensitivity"], rows))
    assert not np.any(fine["warning"][rows])
    assert "refined with the exact curvature" in fine.provenance.description.notes[-1]


@pytest.mark.slow
def test_weights_are_removed_with_their_examples():
    weight = np.linspace(0.5, 2, 15)
    exact, rough = (drawn("mlp", s, sample_weight=weight, estimator="R-sm") for s in ("full", "kfac"))
    fine = mm.refine(rough, top=15, steps=500, tolerance=1e-11)
    np.testing.assert_allclose(fine["deviation"], exact["deviation"], rtol=1e-6, atol=1e-9)


@pytest.mark.slow
def test_refining_along_directions_and_twice():
    rough = drawn("mlp", "kfac", directions=2)
    fine = mm.refine(mm.refine(rough, top=2, tolerance=1e-10, steps=300), top=5, by="error", tolerance=1e-10, steps=300)
    assert 5 <= fine["refined"].sum() <= 7
    exact = drawn("mlp", "full", estimator="R-sm")
    rows = np.flatnonzero(fine["refined"])
    np.testing.assert_allclose(fine["sensitivity"][rows], exact["sensitivity"][rows], rtol=1e-6)


def test_too_few_steps_light_the_warning():
    fine = mm.refine(drawn("cnn", "diag"), top=3, steps=1, tolerance=1e-12)
    assert np.all(fine["warning"][fine["refined"]] == int(mm.Warn.NOT_CONVERGED))


def test_groups_of_a_posterior_without_factors_are_removed_by_iteration():
    groups = {"a": [0, 3, 4], "b": [1], "c": list(range(5, 12))}
    exact, rough = drawn("mlp", "full"), drawn("mlp", "kfac", directions=2)
    want, got = exact.leave_out(groups), rough.leave_out(groups)
    for column in ("sensitivity", "leave_out_loss", "rest_sensitivity", "rest_leave_out_loss"):
        np.testing.assert_allclose(got[column], want[column], rtol=1e-3, err_msg=column)


@pytest.mark.parametrize("options", [{"top": 0}, {"steps": 0}])
def test_nothing_to_do_is_refused(options):
    with pytest.raises(ValueError, match="expected a positive"):
        mm.refine(drawn("mlp", "diag"), **options)


@pytest.mark.slow
def test_exact_models_and_maps_from_disk_are_refused(tmp_path):
    m = mm.memory_map(*demo_model())
    with pytest.raises(TypeError, match="cannot be refined"):
        mm.refine(m)
    with pytest.raises(ValueError, match="read from disk"):
        mm.refine(mm.load(drawn("mlp", "diag").save(tmp_path / "m.parquet")))
