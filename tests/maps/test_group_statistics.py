"""Group statistics against refits without the group: statsmodels, scikit-learn, and closed forms."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import integrate, stats
from sklearn.datasets import load_iris
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, WhiteKernel
from sklearn.linear_model import ElasticNet, Lasso, LinearRegression, LogisticRegression, Ridge
from sklearn.metrics import confusion_matrix
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn_versions import LASSO, MULTINOMIAL_SOLVER

import memorymaps as mm

RNG = np.random.default_rng(0)
N = 60
X = sm.add_constant(RNG.normal(size=(N, 3)))
F = X @ [0.4, 1.0, -0.8, 0.3]
Y = F + RNG.normal(size=N)
sites = np.arange(N) // 7
WEIGHT = RNG.uniform(0.5, 2.0, N)
FAMILIES = {
    "binomial": (sm.families.Binomial(), (RNG.random(N) < 1 / (1 + np.exp(-F))).astype(float)),
    "Poisson": (sm.families.Poisson(), RNG.poisson(np.exp(F / 2))),
    "gamma": (sm.families.Gamma(sm.families.links.Log()), RNG.gamma(2.0, np.exp(F) / 2)),
}


def least_squares(rows):
    return sm.OLS(Y[rows], X[rows]).fit()


def test_a_group_of_one_has_the_influence_of_statsmodels():
    results = least_squares(np.arange(N))
    found, influence = mm.memory_map(results).leave_out(np.arange(N)), results.get_influence()
    np.testing.assert_allclose(found["cooks_distance"], influence.cooks_distance[0], rtol=1e-9)
    np.testing.assert_allclose(found["dfbetas"], influence.dfbetas, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(found["cooks_distance"], mm.measures.cooks_distance(mm.memory_map(results)), rtol=1e-9)


def test_least_squares_groups_are_refits():
    results = least_squares(np.arange(N))
    found = mm.memory_map(results).leave_out(sites)
    for k in range(sites.max() + 1):
        left = least_squares(sites != k)
        change = results.params - left.params
        np.testing.assert_allclose(found["leave_out_coefficients"][k], left.params, rtol=1e-10, atol=1e-12)
        distance = change @ X.T @ X @ change / (4 * results.scale)  # Cook's distance of a set
        assert found["cooks_distance"][k] == pytest.approx(distance, rel=1e-9)
        error = np.sqrt(left.scale * np.diag(np.linalg.inv(X.T @ X)))
        np.testing.assert_allclose(found["dfbetas"][k], change / error, rtol=1e-8)
        members = sites == k
        covariance = results.scale * (
            np.eye(members.sum()) + X[members] @ np.linalg.inv(X[~members].T @ X[~members]) @ X[members].T
        )
        joint = stats.multivariate_normal.logpdf(Y[members], X[members] @ left.params, covariance)
        assert found["joint_log_score"][k] == pytest.approx(joint, rel=1e-9)
    assert set(found["warning"]) == {""}


def test_weighted_least_squares_groups_are_refits():
    results = sm.WLS(Y, X, weights=WEIGHT).fit()
    found = mm.memory_map(results).leave_out(sites)
    for k in (0, 4):
        kept = sites != k
        left = sm.WLS(Y[kept], X[kept], weights=WEIGHT[kept]).fit()
        error = np.sqrt(left.scale * np.diag(results.normalized_cov_params))
        np.testing.assert_allclose(found["dfbetas"][k], (results.params - left.params) / error, rtol=1e-8)


def test_several_targets_have_coefficients_each():
    both = np.column_stack([Y, Y**2])
    names = [f"x{j}:{k}" for j in range(3) for k in range(2)]
    found = mm.memory_map(LinearRegression().fit(X[:, 1:], both), X[:, 1:], both).leave_out(sites)
    left = LinearRegression().fit(X[sites != 2, 1:], both[sites != 2])
    table = found.coefficients()
    np.testing.assert_allclose(table.loc["2", names], left.coef_.T.reshape(-1), rtol=1e-9)
    one = least_squares(np.arange(N))
    np.testing.assert_allclose(
        found["dfbetas"][:, ::2], mm.memory_map(one).leave_out(sites)["dfbetas"], rtol=1e-7, atol=1e-10
    )


@pytest.mark.parametrize("name", FAMILIES)
def test_glm_groups_are_refits(name):
    family, y = FAMILIES[name]
    results = sm.GLM(y, X, family=family).fit(tol=1e-13, maxiter=200)
    m = mm.memory_map(results)
    found = m.leave_out(sites)
    information = np.linalg.inv(results.cov_params() / results.scale) / results.scale
    for k in range(sites.max() + 1):
        kept = sites != k
        left = sm.GLM(y[kept], X[kept], family=family).fit(tol=1e-13, maxiter=200)
        change = results.params - left.params
        np.testing.assert_allclose(found["leave_out_coefficients"][k], left.params, rtol=1e-5, atol=1e-6)
        if name != "gamma":  # whose map has observed information, statsmodels expected
            assert found["cooks_distance"][k] == pytest.approx(change @ information @ change / 4, rel=1e-4)
            error = results.bse * np.sqrt(left.scale / results.scale)
            np.testing.assert_allclose(found["dfbetas"][k], change / error, rtol=1e-4, atol=1e-5)
        else:
            own = mm.measures.standard_errors(m) * np.sqrt(left.scale / results.scale)
            np.testing.assert_allclose(found["dfbetas"][k], change / own, rtol=1e-4, atol=1e-5)
    assert set(found["warning"]) == {""}


def test_the_joint_score_of_a_logistic_group_is_its_integral():
    x, y = X[:, 1], FAMILIES["binomial"][1]

    def log_joint(b, rows):
        f = b * x[rows]
        return np.sum(y[rows] * f - np.logaddexp(0, f)) - 0.5 * b**2

    def log_evidence(rows):
        return np.log(integrate.quad(lambda b: np.exp(log_joint(b, rows)), -8, 8)[0])

    model = LogisticRegression(C=1.0, fit_intercept=False, solver=MULTINOMIAL_SOLVER, tol=1e-10)
    found = mm.memory_map(model.fit(x[:, None], y), x[:, None], y).leave_out(sites)
    truth = [log_evidence(np.arange(N)) - log_evidence(np.flatnonzero(sites != k)) for k in range(sites.max() + 1)]
    np.testing.assert_allclose(found["joint_log_score"], truth, atol=0.05)  # of 2 to 5 nats


def test_the_joint_score_of_a_gaussian_process_is_its_predictive_density():
    x = X[:, 1:2]
    model = GaussianProcessRegressor(RBF(1.0) + WhiteKernel(0.5), optimizer=None).fit(x, Y)
    found = mm.memory_map(model, x, Y).leave_out(sites)
    for k in (0, 3):
        inside = sites == k
        left = GaussianProcessRegressor(RBF(1.0) + WhiteKernel(0.5), optimizer=None).fit(x[~inside], Y[~inside])
        mean, covariance = left.predict(x[inside], return_cov=True)
        truth = stats.multivariate_normal.logpdf(Y[inside], mean, covariance)
        assert found["joint_log_score"][k] == pytest.approx(truth, rel=1e-6)
    assert "dfbetas" not in found.table.column_names


@pytest.mark.slow
@pytest.mark.parametrize("ids", ["names", "numbers"])
def test_accuracy_and_confusion_are_those_of_refits(ids):
    inputs, y = load_iris(return_X_y=True)
    labels = np.array(["setosa", "versicolor", "virginica"])[y] if ids == "names" else y
    groups = RNG.permutation(np.arange(150) % 6)
    model = LogisticRegression(C=1.0, solver=MULTINOMIAL_SOLVER, tol=1e-10)
    found = mm.memory_map(model.fit(inputs, labels), inputs, labels).leave_out(groups)
    for k in range(6):
        inside = groups == k
        left = LogisticRegression(C=1.0, solver=MULTINOMIAL_SOLVER, tol=1e-10).fit(inputs[~inside], labels[~inside])
        predicted = left.predict(inputs)
        assert found["leave_out_accuracy"][k] == pytest.approx(np.mean(predicted[inside] == labels[inside]))
        assert found["rest_leave_out_accuracy"][k] == pytest.approx(np.mean(predicted[~inside] == labels[~inside]))
        for rest in (False, True):
            table, rows = found.confusion(str(k), rest=rest), inside ^ rest
            expected = confusion_matrix(labels[rows], predicted[rows], labels=model.classes_)
            shown = table.reindex(index=model.classes_, columns=model.classes_, fill_value=0)
            np.testing.assert_allclose(shown, expected)
    assert list(found.coefficients().columns[:3]) == [f"(Intercept):{c}" for c in model.classes_]


def test_a_half_class_is_refitted_to_its_coefficients():
    inputs, y = load_iris(return_X_y=True)
    half = np.flatnonzero(y == 1)[::2]
    model = make_pipeline(StandardScaler(), LogisticRegression(C=10.0, solver=MULTINOMIAL_SOLVER, tol=1e-10))
    found = mm.memory_map(model.fit(inputs, y), inputs, y).leave_out({"half": half})
    scaled = model[0].transform(inputs)
    left = LogisticRegression(C=10.0, solver=MULTINOMIAL_SOLVER, tol=1e-10).fit(
        np.delete(scaled, half, axis=0), np.delete(y, half)
    )
    coefficients = found["leave_out_coefficients"][0].reshape(5, 3)
    np.testing.assert_allclose(coefficients[1:], left.coef_.T, rtol=1e-4, atol=1e-5)


SPARSE = {
    "Lasso": (lambda: Lasso(alpha=0.4, tol=1e-10, max_iter=100_000), Y),
    "ElasticNet": (lambda: ElasticNet(alpha=0.57, l1_ratio=0.7, tol=1e-10, max_iter=100_000), Y),
    "logistic, L1": (
        lambda: LogisticRegression(C=0.2, solver="liblinear", tol=1e-10, max_iter=10_000, **LASSO),
        FAMILIES["binomial"][1].astype(int),
    ),
    "positive": (lambda: Ridge(alpha=1.0, positive=True, tol=1e-10), Y),
}


@pytest.mark.parametrize("name", SPARSE)
def test_coefficients_at_zero_without_a_group_are_those_of_refits(name):
    (make, y), x = SPARSE[name], X[:, 1:]
    model = make()
    m = mm.memory_map(model.fit(x, y), x, y)
    found, sets = m.leave_out(sites), set()
    errors = np.sqrt(m.origin.posterior.parameter_variance()[:, 0])
    for k in range(sites.max() + 1):
        left = make().fit(x[sites != k], y[sites != k])
        full, truth = (np.r_[each.intercept_, np.ravel(each.coef_)] for each in (model, left))
        np.testing.assert_allclose(found["leave_out_coefficients"][k], truth, rtol=1e-6, atol=1e-7)
        sets.add(tuple(truth != 0))
        ratio = found["dfbetas"][k] / ((full - truth) / np.where(errors > 0, errors, np.nan))
        assert np.nanstd(ratio) < 1e-4  # one scale without the group for all coefficients
        np.testing.assert_array_equal(np.isnan(found["dfbetas"][k]), errors == 0)
    assert name in ("positive", "ElasticNet") or len(sets) > 1
    assert found.coefficients().shape == (sites.max() + 1, 4)


def test_a_site_with_its_own_dummy_is_not_determined_by_the_others():
    site = np.arange(N) % 3
    design = np.column_stack([pd.get_dummies(site).to_numpy(float), X[:, 1]])
    for results in (
        sm.OLS(Y, design).fit(),
        sm.GLM(FAMILIES["Poisson"][1], design, family=sm.families.Poisson()).fit(),
    ):
        found = mm.memory_map(results).leave_out(site)
        assert np.all(np.isnan(found["dfbetas"]))
        assert set(found["warning"]) == {"the other examples do not determine the model"}


def test_what_a_model_does_not_have_is_refused_with_what_to_use():
    m = mm.memory_map(SVC(gamma=0.1).fit(X, FAMILIES["binomial"][1]), X, FAMILIES["binomial"][1])
    found = m.leave_out({"few": [1, 2, 3]})
    with pytest.raises(TypeError, match=r"result\['sensitivity'\]"):
        found.coefficients()
    with pytest.raises(TypeError, match=r"result\['sensitivity'\]"):
        found.dfbetas()
    assert np.isfinite(found["sensitivity"]).all()
    ridge = mm.memory_map(Ridge().fit(X, Y), X, Y).leave_out({"few": [1, 2, 3]})
    with pytest.raises(TypeError, match=r"result\['leave_out_loss'\]"):
        ridge.confusion("few")
    with pytest.raises(KeyError, match="expected one of"):
        found.confusion("many")
    assert np.isfinite(ridge["leave_out_loss"]).all()
