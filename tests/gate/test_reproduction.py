"""The adapter's outputs are the model's own predictions, or the model is refused."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from sklearn.compose import TransformedTargetRegressor
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge, SGDClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR, LinearSVC

import memorymaps as mm
from memorymaps.data.examples import DataError
from memorymaps.posteriors.registry import UnsupportedModelError

rng = np.random.default_rng(0)
X = rng.normal(size=(120, 3))
Y = X @ [1.0, -2.0, 0.5] + rng.normal(size=120)
CLASSES = (Y > 0).astype(int) + (Y > 1)


def _shifted(kind, method):
    """A subclass whose `method` answers otherwise."""
    return type(f"Other{kind.__name__}", (kind,), {method: lambda self, x: 0.1 + 0.8 * getattr(kind, method)(self, x)})


CASES = {
    "ridge": (Ridge, "predict", {}, Y),
    "poisson": (PoissonRegressor, "predict", {}, np.abs(np.round(Y))),
    "svr": (SVR, "predict", {}, Y),
    "logistic": (LogisticRegression, "predict_proba", {}, CLASSES > 0),
    "softmax": (LogisticRegression, "predict_proba", {}, CLASSES),
    "linear svc": (LinearSVC, "decision_function", {}, CLASSES > 0),
    "linear svc of 3": (LinearSVC, "decision_function", {}, CLASSES),
    "sgd": (SGDClassifier, "decision_function", {"random_state": 0}, CLASSES),
    "svc": (SVC, "decision_function", {}, CLASSES > 0),
    "svc of 3": (SVC, "decision_function", {}, CLASSES),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_subclass_with_predictions_of_its_own_is_refused_and_a_harmless_one_is_not(case):
    kind, method, options, target = CASES[case]
    harmless = type(f"Harmless{kind.__name__}", (kind,), {})
    assert len(mm.memory_map(harmless(**options).fit(X, target), X, target)) == len(X)
    with pytest.raises(UnsupportedModelError, match=f"{method} is not what the adapter of {kind.__name__}"):
        mm.memory_map(_shifted(kind, method)(**options).fit(X, target), X, target)


def test_a_classifier_that_decides_otherwise_is_refused():
    class Cautious(LogisticRegression):
        def predict(self, x):
            return self.classes_[(self.predict_proba(x)[:, 1] > 0.9).astype(int)]

    with pytest.raises(UnsupportedModelError, match="predict is not what"):
        mm.memory_map(Cautious().fit(X, CLASSES > 0), X, CLASSES > 0)


def test_pipelines_and_transformed_targets_are_compared_as_a_whole():
    other = _shifted(Ridge, "predict")
    pipeline = make_pipeline(StandardScaler(), other()).fit(X, Y)
    with pytest.raises(UnsupportedModelError, match="predict is not what"):
        mm.memory_map(pipeline, X, Y)
    transformed = TransformedTargetRegressor(other(), func=np.log, inverse_func=np.exp).fit(X, np.exp(Y))
    with pytest.raises(UnsupportedModelError, match="predict is not what"):
        mm.memory_map(transformed, X, np.exp(Y))
    model = TransformedTargetRegressor(make_pipeline(StandardScaler(), Ridge()), func=np.log, inverse_func=np.exp)
    assert len(mm.memory_map(model.fit(X, np.exp(Y)), X, np.exp(Y))) == len(X)


def test_the_remedy_of_the_message_works():
    kind = _shifted(Ridge, "predict")
    model = kind().fit(X, Y)
    with pytest.raises(UnsupportedModelError, match=r"memorymaps.posterior.register\(OtherRidge\)"):
        mm.memory_map(model, X, Y)
    inner = Ridge().fit(X, Y)

    @mm.posterior.register(kind)
    def _(model, examples):
        return mm.posterior(inner, examples)

    with pytest.raises(UnsupportedModelError):  # its outputs are still others
        mm.memory_map(model, X, Y)
    kind.predict = Ridge.predict
    assert len(mm.memory_map(model, X, Y)) == len(X)


def test_statsmodels_data_that_were_edited_after_the_fit_are_refused():
    x = sm.add_constant(X)
    results = sm.OLS(Y, x).fit()
    assert len(mm.memory_map(results)) == len(X)
    x[:, 1] *= 2
    with pytest.raises(DataError, match="or fit again"):
        mm.memory_map(results)
    assert len(mm.memory_map(sm.OLS(Y, x).fit())) == len(X)


def test_a_data_frame_in_another_order_of_columns_is_the_same_data():
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    model = Ridge().fit(frame, Y)
    np.testing.assert_allclose(
        mm.memory_map(model, frame[["c", "a", "b"]], Y)["leverage"], mm.memory_map(model, frame, Y)["leverage"]
    )
