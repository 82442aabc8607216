"""What removals hold at its value although it was computed from all examples: every answer about them says it, once."""

from __future__ import annotations

import re

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import memorymaps as mm
from memorymaps.analysis.predictive import loo_predictive
from memorymaps.viz.explorer.group_table import group_tables

RNG = np.random.default_rng(4)
N = 60
X = RNG.normal(size=(N, 3))
Y = X @ [1.0, -1.0, 0.5] + RNG.normal(size=N)
LABELS = (Y > 0).astype(int)
TIGHT = {"tol": 1e-9, "max_iter": 10_000}
BALANCED = LogisticRegression(class_weight="balanced", **TIGHT)
GROUPS = {"some": [0, 1, 2, 3], "others": [9, 10, 11]}

HELD = {
    "preprocessing, by StandardScaler": make_pipeline(StandardScaler(), Ridge()),
    "class weights, by class_weight='balanced'": BALANCED,
    "gamma, by gamma='scale'": SVC(),
    "the kernel's hyperparameters, by the marginal likelihood": GaussianProcessRegressor(alpha=1.0),
}


def fitted(model):
    y = LABELS if hasattr(model, "class_weight") else Y
    return mm.memory_map(model.fit(X, y), X, y)


def answers(m):
    yield m.leave_out(GROUPS)
    yield mm.influence_on(m, X[:2], top=1)
    yield mm.influence_on(m, X[:2], groups=GROUPS)
    yield m.leave_one_out()


@pytest.mark.slow
@pytest.mark.parametrize("held", HELD)
def test_answers_about_removals_say_what_is_held_in_the_words_of_the_maps_trust(held):
    m = fitted(HELD[held])
    words = f"held as in the fit: {held}"
    assert words in m.trust["groups"].reasons
    for answer in answers(m):
        assert answer.held.startswith(words)
        assert str(answer).count(words) == 1
        assert str(answer).rstrip(")").endswith(answer.held)
    for answer in (m.leave_out(GROUPS), mm.influence_on(m, X[:2], groups=GROUPS)):
        assert set(answer["warning"].tolist()) == {""}
        assert answer._repr_html_().count("held as in the fit") == 1


@pytest.mark.parametrize(("model", "figure"), [(BALANCED, "class weights"), (SVC(), "gamma")])
def test_answers_about_groups_say_that_refits_would_change_what_is_held(model, figure):
    m = fitted(model)
    why = m.trust["groups"].reasons[-1]
    assert why.startswith(figure)
    for answer in (m.leave_out(GROUPS), m.leave_out("target"), mm.influence_on(m, X[:1], groups=GROUPS)):
        assert f"{m.trust['groups'].level}, as {why}" in str(answer)
    assert why not in str(mm.influence_on(m, X[:1], top=1))
    assert why not in str(m.leave_one_out())


def test_refits_of_folds_hold_it_too():
    m = fitted(BALANCED)
    assert m.leave_one_out(cross_fit=3).held == m.leave_one_out().held


@pytest.mark.parametrize("model", [LogisticRegression(class_weight={0: 1, 1: 2}, **TIGHT), SVC(gamma=0.3)])
def test_answers_hold_nothing_where_nothing_was_computed_from_all_examples(model):
    assert [answer.held for answer in answers(fitted(model))] == [""] * 4


def test_losses_hold_an_estimated_noise_scale():
    m = fitted(LinearRegression())
    assert [answer.held for answer in answers(m)] == ["the noise scale is held at its value"] * 4
    assert loo_predictive(m).held == "the noise scale is held at its value"
    assert mm.smallest_flip(m, m.provenance.description.parameters[1]).held == ""  # its scale is estimated again


def test_summaries_say_it_under_trust_and_not_again():
    section = re.search(r"Leave-one-out\n(.*?)\n\n", str(fitted(BALANCED).summary()), re.DOTALL)
    assert "held" not in section[1]


@pytest.mark.slow
def test_flips_pruning_and_the_pages_table_say_it():
    m = fitted(BALANCED)
    flip = mm.smallest_flip(m, m.provenance.description.parameters[1])
    for answer in (flip, mm.prune(m)):
        assert str(answer).endswith("\nheld as in the fit: class weights, by class_weight='balanced'")
    assert m.leave_out(GROUPS).held in group_tables(m, m.leave_out(GROUPS))[-1]["note"]
