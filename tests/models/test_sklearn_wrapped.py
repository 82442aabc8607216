"""scikit-learn's wrappers: several independent targets, transformed targets, and what is refused."""

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge
from sklearn.multioutput import MultiOutputClassifier, MultiOutputRegressor
from sklearn.preprocessing import StandardScaler

import memorymaps as mm

RNG = np.random.default_rng(6)
N = 60
X = RNG.normal(size=(N, 3))
Y = X @ RNG.normal(size=(3, 2)) + RNG.normal(size=(N, 2))
KINDS = np.column_stack([np.where(Y[:, 0] > 0, "yes", "no"), np.digitize(Y[:, 1], [-1, 1]).astype(str)])
W = RNG.uniform(0.5, 2, N)
TIGHT = {"tol": 1e-10, "max_iter": 5000}


def test_several_numbers_are_as_many_maps():
    model = MultiOutputRegressor(Ridge(2.0)).fit(X, Y, sample_weight=W)
    m = mm.memory_map(model, X, Y, sample_weight=W)
    parts = [mm.memory_map(Ridge(2.0).fit(X, y, sample_weight=W), X, y, sample_weight=W) for y in Y.T]
    np.testing.assert_allclose(m["leverage"], sum(part["leverage"] for part in parts))
    np.testing.assert_allclose(m["loo_prediction"], np.column_stack([part["loo_prediction"] for part in parts]))
    np.testing.assert_allclose(m["loo_loss"], sum(part["loo_loss"] for part in parts))
    gone = m.leave_out({"g": [1, 2]})["sensitivity"]
    assert gone == pytest.approx(sum(part.leave_out({"g": [1, 2]})["sensitivity"] for part in parts))
    assert m["leverage"].sum() == pytest.approx(m.provenance.description.effective_parameters)


def test_several_labels_are_as_many_maps():
    model = MultiOutputClassifier(LogisticRegression(**TIGHT)).fit(X, KINDS)
    m = mm.memory_map(model, X, KINDS, estimator="cavity")  # no refits: each map would choose other examples
    parts = [mm.memory_map(LogisticRegression(**TIGHT).fit(X, y), X, y, estimator="cavity") for y in KINDS.T]
    np.testing.assert_allclose(m["leverage"], sum(part["leverage"] for part in parts), rtol=1e-8)
    np.testing.assert_allclose(m["sensitivity"], sum(part["sensitivity"] for part in parts), rtol=1e-8)
    np.testing.assert_allclose(m["mean"][:, 1:], parts[1]["mean"], rtol=1e-8)
    assert str(m.summary())


@pytest.mark.slow
@pytest.mark.parametrize("weight", [None, "weighted"])
@pytest.mark.parametrize(
    "kind",
    [
        LogisticRegression(class_weight="balanced", tol=1e-9),
        RandomForestClassifier(8, min_samples_leaf=4, class_weight="balanced", random_state=0),
        HistGradientBoostingClassifier(max_iter=5, class_weight="balanced"),
    ],
    ids=lambda kind: type(kind).__name__,
)
def test_classes_are_weighed_target_by_target(kind, weight):
    weight = None if weight is None else np.random.default_rng(0).uniform(0.5, 2, N)
    kinds = np.char.add("k", KINDS)  # balanced forests of scikit-learn cannot have labels that read as numbers
    model = MultiOutputClassifier(kind).fit(X, kinds, sample_weight=weight)
    options = {"sample_weight": weight, "estimator": "cavity"}
    m = mm.memory_map(model, X, kinds, **options)
    alone = [mm.memory_map(part, X, kinds[:, k], **options) for k, part in enumerate(model.estimators_)]
    assert len({round(w, 6) for w in alone[0]["weight"]}) > 1
    for column in ("leverage", "loss", "loo_loss"):
        np.testing.assert_allclose(m[column], sum(part[column] for part in alone), rtol=1e-8, atol=1e-10)
    parts = [part["deviation"].reshape(N, -1) for part in alone]
    np.testing.assert_allclose(m["deviation"], np.hstack(parts), rtol=1e-8, atol=1e-10)
    if weight is not None:
        np.testing.assert_array_equal(m["weight"], weight)


def test_groups_are_removed_from_all_targets_with_their_class_weights():
    model = MultiOutputClassifier(LogisticRegression(class_weight="balanced", tol=1e-9)).fit(X, KINDS)
    alone = [mm.memory_map(part, X, KINDS[:, k]).leave_out({"a": [1, 5]}) for k, part in enumerate(model.estimators_)]
    m = mm.memory_map(model, X, KINDS).leave_out({"a": [1, 5]})
    expected = sum(part["rest_sensitivity"][0] for part in alone)
    assert m["rest_sensitivity"][0] == pytest.approx(expected, rel=1e-8)


def test_transformed_targets_are_mapped_on_the_transformed_scale():
    positive = np.exp(Y[:, 0])
    model = TransformedTargetRegressor(Ridge(2.0), func=np.log, inverse_func=np.exp).fit(X, positive)
    m, inner = mm.memory_map(model, X, positive), mm.memory_map(Ridge(2.0).fit(X, Y[:, 0]), X, Y[:, 0])
    for name in ("leverage", "error", "loo_prediction", "target"):
        np.testing.assert_allclose(m[name], inner[name], rtol=1e-9, atol=1e-12)
    assert "units of the transformed target" in str(m.summary())
    scaled = TransformedTargetRegressor(Ridge(2.0), transformer=StandardScaler()).fit(X, 5 * Y + 3)
    m = mm.memory_map(scaled, X, 5 * Y + 3)
    standard = StandardScaler().fit_transform(Y)
    np.testing.assert_allclose(m["leverage"], mm.memory_map(Ridge(2.0).fit(X, standard), X, standard)["leverage"])


def test_what_cannot_be_mapped_is_refused():
    y = KINDS[:, 0]
    with pytest.raises(mm.UnsupportedModelError, match=r"trained on different folds.*Map the classifier itself"):
        mm.memory_map(CalibratedClassifierCV(LogisticRegression(), cv=3).fit(X, y), X, y)
    with pytest.raises(mm.DataError, match="not fitted"):
        mm.memory_map(MultiOutputRegressor(Ridge()), X, Y)
    with pytest.raises(mm.DataError, match="not fitted"):
        mm.memory_map(TransformedTargetRegressor(Ridge()), X, Y)
    model = MultiOutputRegressor(Ridge()).fit(X, Y)
    with pytest.raises(mm.TargetError, match=r"1 target column\(s\): the model was fitted on 2"):
        mm.memory_map(model, X, Y[:, 0])
    with pytest.raises(mm.TargetError, match="≥ 0 for Poisson"):
        mm.memory_map(MultiOutputRegressor(PoissonRegressor()).fit(X, Y**2), X, Y)
    with pytest.raises(ValueError, match="does not keep its training data"):
        mm.memory_map(model)
    log = TransformedTargetRegressor(Ridge(), func=np.log, inverse_func=np.exp, check_inverse=False)
    log.fit(X, np.exp(Y[:, 0]))
    with (
        np.errstate(divide="ignore"),
        pytest.raises(mm.DataError, match="transformer gives values that are not finite"),
    ):
        mm.memory_map(log, X, np.zeros(N))
