"""Maps and runs that earlier versions wrote still load, with the numbers they had then; their journals are refused.

`tests/saved/VERSION` is what `tools/save_examples.py` wrote with that version; the numbers below were read off then.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import Ridge

import memorymaps as mm
from memorymaps.analysis.cleanlab import for_cleanlab
from memorymaps.analysis.journal import JournalError
from memorymaps.analysis.learning_events import events
from memorymaps.analysis.measures import influence_table
from memorymaps.core.perturbation.deviation import Warn
from memorymaps.core.perturbation.estimators import CODES
from memorymaps.maps.trajectory import Trajectory

SAVED = Path(__file__).parent / "saved" / "0.1"

# name → form, examples, outputs, Σ leverage, Σ sensitivity (without NaN), leave-one-out loss and score, most
# sensitive example, codes of warnings
MAPS = {
    "at_the_bound": ("R-sm", 12, 1, 3.0, 2.821359462, 1.96714559, 1.688739766, 5, {0, 1}),
    "classes": ("R-sm", 11, 3, 6.141471336, 4.965599687, 1.588179241, 0.1818181818, 0, {0}),
    "directions": ("R-sm", 12, 3, 6.31811399, 5.098809608, 3.128824274, 0.08333333333, 3, {0}),
    "first_order": ("F-sm", 12, 1, 5.403869792, 6.878529333, 3.72277916, 2.368054318, 3, {0}),
    "form_P": ("P", 12, 1, 3.0, 1.007553817, 0.692262148, 0.4166666667, 10, {0}),
    "form_P-sm": ("P-sm", 12, 1, 3.0, 0.9891095459, 0.692262148, 0.4166666667, 0, {0}),
    "form_F": ("F", 12, 1, 3.0, 1.007553817, 0.692262148, 0.4166666667, 10, {0}),
    "form_R": ("R", 12, 1, 3.0, 1.401940493, 0.7798371242, 0.4166666667, 0, {0}),
    "form_I": ("I", 12, 1, 3.0, 1.706980469, 0.9467671548, 0.3333333333, 3, {0}),
    "form_I-sm": ("I-sm", 12, 1, 3.0, 2.022414774, 0.9467671548, 0.3333333333, 3, {0}),
    "improved": ("F-sm", 12, 3, 8.433673023, 4.322154967, 2.739178683, 0.1666666667, 8, {0, 4}),
    "own_columns": ("R/F-sm", 12, 1, 5.407481154, 11.01580132, 14.80208846, 3.772230576, 7, {0, 16, 24}),
    "regression": ("R-sm", 12, 1, 3.702062874, 5.337323763, 2.076867321, 1.927320177, "row 03", {0}),  # weighted means
    "statsmodels": ("R-sm", 12, 1, 4.0, 5.276485483, 2.076706044, 1.835914588, 3, {0}),
    "two_targets": ("R-sm", 12, 2, 7.21426666, 6.420828806, 2.795141799, 1.8326805, 3, {0}),
}
CLASSES = {"classes", "directions", "improved", *(name for name in MAPS if name.startswith("form_"))}


def saved(name):
    return mm.load(SAVED / f"{name}.parquet")


def data():
    """Inputs and targets that the journals are of."""
    rng = np.random.default_rng(11)
    x = rng.normal(size=(40, 3))
    y = 1.5 + x @ [1.0, -0.7, 0.3] + 0.5 * rng.normal(size=40)
    y[7] += 4
    return x[:12], y[:12]


def test_every_saved_file_is_checked():
    assert {path.stem for path in SAVED.glob("*.parquet")} == set(MAPS)


@pytest.mark.parametrize("name", MAPS)
def test_maps_load_with_the_numbers_they_had(name):
    form, n, outputs, leverage, sensitivity, loo_loss, score, first, codes = MAPS[name]
    m, loo = saved(name), saved(name).leave_one_out()
    assert (m.provenance.estimator, len(m), m.provenance.n, m.provenance.outputs) == (CODES[form], n, 12, outputs)
    assert m["leverage"].sum() == pytest.approx(leverage, rel=1e-9)
    assert np.nansum(m["sensitivity"]) == pytest.approx(sensitivity, rel=1e-9)
    assert (loo.loo_loss, loo.loo_score) == pytest.approx((loo_loss, score), rel=1e-9)
    assert loo.metric == ("accuracy" if name in CLASSES else "RMSE")
    assert m.top(1)["id"].tolist() == [first]
    assert set(m["warning"].tolist()) == codes
    assert m.provenance.description.model in str(m.summary())
    assert "@inproceedings{nickl2023memory" in m.citation()


@pytest.mark.parametrize("name", MAPS)
def test_a_loaded_map_survives_another_save(name, tmp_path):
    m = saved(name)
    again = mm.load(m.save(tmp_path / "again.parquet"))
    assert again.table.schema == m.table.schema
    for column in m:
        np.testing.assert_array_equal(again[column], m[column])
    assert again.provenance == m.provenance


def test_classes_keep_their_labels():
    m = saved("classes")
    assert m.provenance.description.classes == ("a", "b", "c")
    assert m["target"].tolist() == list("bbcaccaacaa")
    np.testing.assert_allclose(m["mean"][0], [0.2581526, 0.56026532, 0.18158208], rtol=1e-7)
    assert for_cleanlab(m)["labels"].tolist() == [1, 1, 2, 0, 2, 2, 0, 0, 2, 0, 0]


def test_text_ids_and_weights_are_there():
    m = saved("regression")
    assert m["id"].tolist() == [f"row {k:02d}" for k in range(12)]
    np.testing.assert_allclose(m["weight"][:2], [1.25267402, 1.61900585], rtol=1e-8)


def test_facts_of_the_fit_give_the_classical_measures():
    row = influence_table(saved("statsmodels")).iloc[3]
    found = row[["hat", "rstudent", "cooks_distance", "dffits", "covratio"]]
    np.testing.assert_allclose(found, [0.54223235, -1.73503351, 0.71242177, -1.88833062, 0.89108537], rtol=1e-7)


def test_columns_of_the_posterior_itself_and_their_warning():
    m = saved("own_columns")
    assert m["pareto_k"].max() == pytest.approx(2.39783614509, rel=1e-9)
    assert m["psis_loo_loss"].sum() == pytest.approx(42.0775023378, rel=1e-9)
    assert np.flatnonzero(m["warning"] & int(Warn.PARETO_K)).tolist() == [3, 4, 7, 8, 9]
    assert np.flatnonzero(m["warning"] & int(Warn.FIRST_ORDER)).tolist() == [3]
    assert "5 of 12 examples with a Pareto-k" in str(m.summary())


def test_an_example_at_the_bound_stays_undefined():
    m = saved("at_the_bound")
    assert np.flatnonzero(m["warning"] == int(Warn.BOUND)).tolist() == [5]
    assert np.isnan(m["loo_prediction"][5])
    assert m.leave_one_out().defined == 11


def test_refined_and_refitted_rows_are_told_apart():
    m = saved("improved")
    assert np.flatnonzero(m["refined"]).tolist() == [7, 9]
    assert np.flatnonzero(m["refitted"]).tolist() == [0, 8]
    assert np.count_nonzero(m["warning"] & int(Warn.NOT_CONVERGED)) == 4


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("first_order", "first-order sizes with 0.45 effective parameters per example"),
        ("directions", "0.53 effective parameters per example, and outputs that are not linear in the parameters"),
        ("directions", "the parameters are 2.1 posterior standard deviations (each) from the optimum"),
    ],
)
def test_warnings_that_depend_on_provenance_are_still_given(name, words):
    assert any(words in line for line in saved(name).summary().warnings)


def test_saved_maps_can_be_compared():
    found = mm.compare(saved("form_F"), saved("form_R"))
    assert len(found) == 12
    assert found.slope() == pytest.approx(1.4090238135726, rel=1e-9)


def test_a_run_loads_with_its_scalars():
    run = Trajectory.load(SAVED / "run")
    assert run.steps == [3, 6]
    losses = run.losses()
    np.testing.assert_allclose(losses["loss"], [1.15847784893, 0.99577344149], rtol=1e-9)
    np.testing.assert_allclose(losses["loo_loss"], [3.00524869029, 2.58815769270], rtol=1e-9)
    np.testing.assert_allclose(losses["test_loss"], [1.11950485180, 0.85532885127], rtol=1e-9)
    np.testing.assert_allclose(losses["effective"], [19.0165821386, 15.5013976839], rtol=1e-9)
    assert run.cartography()["confidence"].sum() == pytest.approx(4.3629480371730, rel=1e-9)
    assert run.rank_evolution()[1][:, 0].tolist() == [2, 2]
    assert set(events(run)["step"]) <= {3, 6}


def network():
    """The network of the journal, weights by a formula."""
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Tanh(), torch.nn.Linear(2, 1)).double()
    with torch.no_grad():
        for value in net.parameters():
            value.copy_(torch.sin(1.0 + torch.arange(value.numel(), dtype=torch.float64)).view_as(value))
    return net


def test_a_journal_of_refits_without_checksums_is_refused_and_left_as_it_is(tmp_path):
    path = Path(shutil.copy(SAVED / "refit.jsonl", tmp_path))
    net, (x, y) = network(), data()
    m = mm.memory_map(net, x, y, likelihood="gaussian", posterior=mm.Laplace("full", prior=0.5))
    with pytest.raises(JournalError, match="not a journal"):
        mm.refit(m, top=3, steps=20, path=path, progress=False)
    assert path.read_bytes() == (SAVED / "refit.jsonl").read_bytes()


def test_a_journal_of_retrainings_without_checksums_is_refused_and_left_as_it_is(tmp_path):
    path, (x, y) = Path(shutil.copy(SAVED / "retrain.jsonl", tmp_path)), data()
    m = mm.memory_map(Ridge().fit(x, y), x, y)
    with pytest.raises(JournalError, match="not a journal"):
        mm.retrain_check(m, lambda removed, wanted: None, k=4, path=path, progress=False)
    assert path.read_bytes() == (SAVED / "retrain.jsonl").read_bytes()
