"""scikit-learn's wrappers: several targets side by side, transformed targets, and what is refused."""

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
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
    m = mm.memory_map(model, X, KINDS)
    parts = [mm.memory_map(LogisticRegression(**TIGHT).fit(X, y), X, y) for y in KINDS.T]
    np.testing.assert_allclose(m["leverage"], sum(part["leverage"] for part in parts), rtol=1e-8)
    np.testing.assert_allclose(m["sensitivity"], sum(part["sensitivity"] for part in parts), rtol=1e-8)
    np.testing.assert_allclose(m["mean"][:, 1:], parts[1]["mean"], rtol=1e-8)
    assert str(m.summary())


def test_transformed_targets_are_mapped_where_the_model_is_fitted():
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
    weighted = MultiOutputClassifier(LogisticRegression(class_weight="balanced")).fit(X, KINDS)
    with pytest.raises(ValueError, match="map the estimators_ one by one"):
        mm.memory_map(weighted, X, KINDS)
    log = TransformedTargetRegressor(Ridge(), func=np.log, inverse_func=np.exp, check_inverse=False)
    log.fit(X, np.exp(Y[:, 0]))
    with (
        np.errstate(divide="ignore"),
        pytest.raises(mm.DataError, match="transformer gives values that are not finite"),
    ):
        mm.memory_map(log, X, np.zeros(N))
