"""scikit-learn's BayesianRidge against its own covariance and against refits with its precisions held."""

import numpy as np
import pytest
from oracles import left_out
from sklearn.linear_model import BayesianRidge, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import memorymaps as mm
from memorymaps import measures
from memorymaps.models import LinearModel, coefficients_of, design_of, laplace

rng = np.random.default_rng(3)
N = 50
X = rng.normal(size=(N, 4)) * [1.0, 3.0, 0.2, 1.0] + [0.0, 5.0, 0.0, -2.0]
Y = X @ [1.0, -0.5, 2.0, 0.0] + 3 + rng.normal(size=N)
W = rng.uniform(0.3, 2.0, N)
CASES = [(intercept, weight) for intercept in (True, False) for weight in (None, W)]
NAMES = [f"{'' if i else 'no '}intercept, {'unweighted' if w is None else 'weighted'}" for i, w in CASES]


def fitted(intercept, weight):
    model = BayesianRidge(fit_intercept=intercept).fit(X, Y, sample_weight=weight)
    return model, mm.memory_map(model, X, Y, sample_weight=weight)


def held(model):
    """The same estimator with its precisions held: one pass without an update."""
    return Ridge(alpha=model.lambda_ / model.alpha_, fit_intercept=model.fit_intercept, solver="svd")


@pytest.mark.slow
@pytest.mark.parametrize(("intercept", "weight"), CASES, ids=NAMES)
def test_leaving_one_out_is_refitting_with_the_precisions_held(intercept, weight):
    model, m = fitted(intercept, weight)
    for i in range(N):
        keep = np.arange(N) != i
        refit = held(model).fit(X[keep], Y[keep], sample_weight=None if weight is None else weight[keep])
        assert m["loo_prediction"][i] == pytest.approx(refit.predict(X[[i]])[0], rel=1e-10)


@pytest.mark.parametrize(("intercept", "weight"), CASES, ids=NAMES)
def test_leaving_a_group_out_is_refitting_with_the_precisions_held(intercept, weight):
    model, m = fitted(intercept, weight)
    ones = np.column_stack([np.ones(N), X]) if intercept else X
    delta = np.full(ones.shape[1], model.lambda_ / model.alpha_)
    delta[: int(intercept)] = 0
    group = [0, 3, 4, 17]
    after = left_out(ones, Y, np.ones(N) if weight is None else weight, delta, group)
    change = np.abs(after - model.predict(X))[group].sum()
    assert m.leave_out({"g": group})["sensitivity"][0] == pytest.approx(change, rel=1e-9)


@pytest.mark.parametrize("weight", [None, W], ids=["unweighted", "weighted"])
def test_the_posterior_is_the_models_own(weight):
    model, m = fitted(False, weight)
    variance = np.einsum("np,pq,nq->n", X, model.sigma_, X)
    curvature = model.alpha_ * (np.ones(N) if weight is None else weight)
    np.testing.assert_allclose(m["leverage"], curvature * variance, rtol=1e-9)
    np.testing.assert_allclose(measures.standard_errors(m), np.sqrt(np.diag(model.sigma_)), rtol=1e-9)


def test_the_loss_is_at_the_models_noise():
    model, m = fitted(True, None)
    gap = Y - model.predict(X)
    expected = 0.5 * (model.alpha_ * gap**2 - np.log(model.alpha_) + np.log(2 * np.pi))
    np.testing.assert_allclose(m["loss"], expected, rtol=1e-10)
    assert m.provenance.description.dispersion == pytest.approx(1 / model.alpha_)


def test_the_map_says_that_precisions_are_held():
    _, m = fitted(True, None)
    for figure in ("sensitivity", "loo_loss", "groups"):
        assert m.trust[figure].level == "exact"
        assert "held as in the fit: alpha_ and lambda_, by the evidence" in " ".join(m.trust[figure].reasons)
    assert "alpha_ and lambda_, by the evidence" in str(m.summary())


def test_the_scale_is_held_where_the_fit_states_no_degrees_of_freedom():
    _, m = fitted(True, None)
    table = measures.influence_table(m)
    assert m.provenance.description.residual_df is None
    np.testing.assert_array_equal(table["rstudent"], table["rstandard"])
    np.testing.assert_array_equal(table["dffits"], measures.dffits_internal(m))
    assert "`rstudent` equals `rstandard`" in " ".join(measures.loo_scale.__doc__.split())


def test_an_adapter_states_what_is_held_and_what_is_not_to_be_trusted():
    class Mine(Ridge):
        pass

    @mm.posterior.register(Mine)
    def _(model, examples):
        design, coefficients = design_of(model), coefficients_of(model)
        delta = np.full(coefficients.shape, 1.0)
        delta[0] = 0.0
        linear = LinearModel(
            "mine", mm.Gaussian(), coefficients, design, design.parameters, lambda weight: delta,
            np.ones(coefficients.shape, dtype=bool), dispersion_known=False, cautions=("not for sizes of any kind",),
            hyperparameters_held="alpha, by hand",
        )  # fmt: skip
        return laplace(linear, examples)

    m = mm.memory_map(Mine(alpha=1.0).fit(X, Y), X, Y)
    mm.posterior.unregister(Mine)
    assert "not for sizes of any kind" in m.summary().warnings
    assert "alpha, by hand" in str(m.trust["groups"])
    np.testing.assert_allclose(m["leverage"], mm.memory_map(Ridge(alpha=1.0).fit(X, Y), X, Y)["leverage"], rtol=1e-12)


def test_an_intercept_adds_its_variance_to_the_models_own():
    """`sigma_` is that of centred columns and has no intercept."""
    model, m = fitted(True, None)
    centred = X - X.mean(axis=0)
    variance = np.einsum("np,pq,nq->n", centred, model.sigma_, centred) + 1 / (N * model.alpha_)
    np.testing.assert_allclose(m["leverage"], model.alpha_ * variance, rtol=1e-9)


def test_a_pipeline_is_mapped_and_changed_targets_are_refused():
    piped = make_pipeline(StandardScaler(), BayesianRidge()).fit(X, Y)
    assert 0 < mm.memory_map(piped, X, Y)["leverage"].sum() <= 5
    with pytest.raises(mm.DataError, match="Not those of the fit"):
        mm.memory_map(BayesianRidge().fit(X, Y), X, Y[::-1])
