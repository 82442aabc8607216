"""What messages about linear models of scikit-learn say to type, typed."""

import warnings

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from remedies import remedy
from sklearn import linear_model as sk
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC
from sklearn_versions import RATIOS

import memorymaps as mm
from memorymaps.core.likelihoods.exponential_family import Bernoulli
from memorymaps.models import ExpectedInformation
from memorymaps.models.linear.newton_methods import newton

RNG = np.random.default_rng(0)
N = 40
X = RNG.normal(size=(N, 3))
Y = X @ [1.0, -0.5, 0.2] + 0.3 * RNG.normal(size=N)
BITS = (Y + RNG.normal(size=N) > 0).astype(int)
THREE = np.argsort(np.argsort(Y + RNG.normal(size=N))) * 3 // N
SEVERAL = np.column_stack([Y, -Y])
TIGHT = {"tol": 1e-10, "max_iter": 10_000}


def logistic(**settings):
    return sk.LogisticRegression(**TIGHT, **settings)


def left_out(make, y, row=0, **fit):
    """The outputs of a model that was fitted without a row, at this row."""
    rest = np.arange(N) != row
    fit = {name: value[rest] for name, value in fit.items()}
    model = make().fit(X[rest], y[rest], **fit)
    return (model.decision_function if hasattr(model, "decision_function") else model.predict)(X[row : row + 1])


def is_map_of_refits(m, make, y, row=0, tolerance=1e-6, **fit):
    deviation = mm.refit(m, top=N)
    place = deviation["id"].tolist().index(row)
    full = m.origin.posterior.marginals(X[row : row + 1]).f[0]
    found = np.ravel(full + deviation["deviation"][place])
    np.testing.assert_allclose(found, np.ravel(left_out(make, y, row, **fit)), atol=tolerance)


@remedy("is not supported yet: refit with Lasso or ElasticNet")
@pytest.mark.parametrize("other", [sk.Lasso, sk.ElasticNet])
@pytest.mark.parametrize(
    "kind", [sk.LassoLars, sk.LassoLarsIC, sk.LassoLarsCV, sk.MultiTaskLasso, sk.MultiTaskElasticNet]
)
@pytest.mark.slow
def test_relatives_of_lasso(said, kind, other):
    y = np.column_stack([Y, -Y]) if "Task" in kind.__name__ else Y
    with said:
        mm.memory_map(kind().fit(X, y), X, y)
    assert mm.memory_map(other(alpha=0.01, tol=1e-10).fit(X, y), X, y)["leverage"].sum() > 1


@remedy("or replace it by its difference from them")
def test_rounding_of_nearly_collinear_columns(said):
    one = logistic(C=np.inf).fit(X[:, :1], THREE)
    near = np.c_[X[:, 0], X[:, 0] + 2e-13 * X[:, 1]]
    model = clone(one).fit(near, THREE)
    model.coef_, model.intercept_ = np.c_[one.coef_, np.zeros(3)], one.intercept_
    said.reads("".join(mm.memory_map(model, near, THREE).provenance.description.cautions))
    alone = mm.memory_map(one, X[:, :1], THREE)
    other = np.c_[near[:, 0], (near[:, 1] - near[:, 0]) * 5e12]
    both = mm.memory_map(logistic(C=np.inf).fit(other, THREE), other, THREE)
    for m, count in ((alone, 4), (both, 6)):
        assert m["leverage"].sum() == pytest.approx(count, abs=1e-9)
        assert m.provenance.description.relative_error is None


@remedy("is not fitted: call model.fit(X, y) before memory_map", at="models/linear/sklearn.py")
def test_a_linear_model_that_is_not_fitted(said):
    model = sk.Ridge()
    with said:
        mm.memory_map(model, X, Y)
    model.fit(X, Y)
    assert len(mm.memory_map(model, X, Y)) == N


@remedy("with several classes fits one-versus-rest: use 'lbfgs'")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_liblinear_of_several_classes(said):
    model = sk.LogisticRegression(solver="liblinear").fit(X, BITS)
    model.classes_ = np.arange(3)  # newer scikit-learn refuses to fit it
    with said:
        mm.memory_map(model, X, THREE)
    assert mm.memory_map(logistic(solver="lbfgs").fit(X, THREE), X, THREE)["leverage"].shape == (N,)


@remedy("classes has another loss")
def test_one_versus_rest(said):
    model = logistic().fit(X, THREE)
    model.multi_class = "ovr"
    with said:
        mm.memory_map(model, X, THREE)
    assert mm.memory_map(logistic().fit(X, THREE), X, THREE)["leverage"].shape == (N,)


@remedy("does not keep its training data: pass it, memory_map(model, X, y)", at="models/sklearn_targets.py")
def test_a_model_without_data(said):
    model = sk.Ridge().fit(X, Y)
    with said:
        mm.memory_map(model)
    assert len(mm.memory_map(model, X, Y)) == N


@remedy("in row … of its batch: drop such rows")
def test_a_text_among_the_targets(said):
    y = Y.astype(object)
    y[4] = "unknown"
    model = sk.Ridge().fit(np.delete(X, 4, 0), np.delete(Y, 4))
    with said:
        mm.memory_map(model, X, y)
    kept = [i for i, value in enumerate(y) if not isinstance(value, str)]
    assert len(mm.memory_map(model, X[kept], y[kept])) == N - 1


@remedy("got an array of …: pass numbers")
def test_texts_as_targets(said):
    words, model = np.array([f"{y:.3f} m" for y in Y]), sk.Ridge().fit(X, np.round(Y, 3))
    with said:
        mm.memory_map(model, X, words)
    assert len(mm.memory_map(model, X, [float(word.removesuffix(" m")) for word in words])) == N


@remedy("Pass the columns of the fit, no others")
def test_other_columns(said):
    model = sk.Ridge().fit(X, Y)
    with said:
        mm.memory_map(model, np.column_stack([X, Y]), Y)
    assert len(mm.memory_map(model, X, Y)) == N


@remedy("encode them first, for instance with scikit-learn's OneHotEncoder in a Pipeline")
def test_columns_of_text(said):
    words = pd.DataFrame({"colour": np.array(["red", "blue"])[BITS], "size": np.array(["s", "m", "l"])[THREE]})
    codes = words.apply(lambda column: pd.factorize(column)[0])
    with said:
        mm.memory_map(sk.Ridge().fit(codes, Y), words, Y)
    m = mm.memory_map(make_pipeline(OneHotEncoder(), sk.Ridge()).fit(words, Y), words, Y)
    assert 3 < m["leverage"].sum() < 5


@remedy("first in row … of its batch: drop or impute")
@pytest.mark.parametrize("how", ["drop", "impute"])
def test_missing_inputs(said, how):
    x = X.copy()
    x[5, 1] = np.nan
    model = sk.Ridge().fit(np.nan_to_num(x), Y)
    with said:
        mm.memory_map(model, x, Y)
    if how == "impute":
        assert len(mm.memory_map(model, np.nan_to_num(x), Y)) == N
    else:
        keep = np.isfinite(x).all(1)
        assert len(mm.memory_map(sk.Ridge().fit(x[keep], Y[keep]), x[keep], Y[keep])) == N - 1


@pytest.mark.parametrize("how", ["drop", "prior"])
@remedy("drop one, or take a larger prior=", at="models/linear/newton_methods.py")
def test_precisions_that_are_singular(how, said):
    x = np.column_stack([X, X[:, 0]])
    with said:
        next(newton(x, BITS, likelihood=Bernoulli(), prior=1e-18))
    x, prior = (X, 1e-18) if how == "drop" else (x, 1e-3)
    assert len(mm.memory_map(next(newton(x, BITS, likelihood=Bernoulli(), prior=prior)), x, BITS)) == N


@remedy("leave out posterior=…", at="models/linear")
def test_expected_information_of_another_model(said):
    model = sk.HuberRegressor(**TIGHT).fit(X, Y)
    with said:
        mm.memory_map(model, X, Y, posterior=ExpectedInformation())
    assert len(mm.memory_map(model, X, Y)) == N


@remedy("leave out likelihood=", at="models/linear/expected_information.py")
def test_a_likelihood_beside_expected_information(said):
    model = sk.GammaRegressor(**TIGHT).fit(X, np.exp(Y))
    with said:
        mm.memory_map(model, X, np.exp(Y), likelihood="gaussian", posterior=ExpectedInformation())
    assert len(mm.memory_map(model, X, np.exp(Y), posterior=ExpectedInformation())) == N


@remedy("Expected finite numbers: scale the features and fit again")
def test_coefficients_that_have_overflowed(said):
    model = sk.LinearRegression().fit(X, Y)
    model.coef_ = np.array([np.inf, 0, 0])
    with said:
        mm.memory_map(model, X, Y)
    m = mm.memory_map(make_pipeline(StandardScaler(), sk.LinearRegression()).fit(X * 1e6, Y), X * 1e6, Y)
    assert m["leverage"].sum() == pytest.approx(4)


@remedy("Use fewer features or a penalised model (Ridge, Lasso)")
def test_as_many_features_as_examples(said):
    wide = RNG.normal(size=(N, N + 5))
    with said:
        mm.memory_map(sk.LinearRegression().fit(wide, Y), wide, Y)
    for model, x in ((sk.LinearRegression(), wide[:, :5]), (sk.Ridge(), wide), (sk.Lasso(alpha=0.1, tol=1e-9), wide)):
        assert np.all(np.isfinite(mm.memory_map(model.fit(x, Y), x, Y)["sensitivity"]))


@remedy("Pass targets with noise; nothing is remembered where a formula gives them all")
def test_targets_without_noise(said):
    for exact in (np.zeros(N), X[:, 0], 1e3 + X @ [1.0, 2.0, 3.0]):
        with said:
            mm.memory_map(sk.LinearRegression().fit(X, exact), X, exact)
    with said:
        mm.memory_map(sm.OLS(X[:, 0], sm.add_constant(X)).fit())
    assert len(mm.memory_map(sk.LinearRegression().fit(X, Y), X, Y)) == N


def poorly_scaled():
    x = X * [1, 30, 1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return sk.LogisticRegression(C=1e4, max_iter=4).fit(x, BITS), x


@remedy("makes the remaining Newton steps on a copy")
def test_a_fit_that_has_stopped_early(said):
    model, x = poorly_scaled()
    said.reads(str(mm.memory_map(model, x, BITS).summary()))
    m = mm.memory_map(model, x, BITS, polish=True)
    assert not any("optimum" in line for line in m.summary().warnings)
    np.testing.assert_allclose(
        m["leverage"], mm.memory_map(logistic(C=1e4).fit(X, BITS), X, BITS)["leverage"], atol=0.02
    )


@remedy("Scale the features, make_pipeline(StandardScaler(), …), fit and map again")
@pytest.mark.filterwarnings("ignore")
def test_polishing_that_does_not_arrive(said, monkeypatch):
    monkeypatch.setattr("memorymaps.models.linear.newton_polish._STEPS", 0)
    model, x = poorly_scaled()
    with said:
        mm.memory_map(model, x, BITS, polish=True)
    monkeypatch.undo()
    scaled = make_pipeline(StandardScaler(), logistic(C=1e4)).fit(x, BITS)
    assert mm.memory_map(scaled, x, BITS).summary().warnings == ()


@remedy("has kinks and no Newton steps to make. Fit again with a smaller tolerance")
@pytest.mark.filterwarnings("ignore")
def test_polishing_a_loss_with_kinks(said):
    model = LinearSVC(loss="hinge", random_state=0, max_iter=5).fit(X, BITS)
    with said:
        mm.memory_map(model, X, BITS, polish=True)
    model = LinearSVC(loss="hinge", random_state=0, tol=1e-8, max_iter=10_000).fit(X, BITS)
    assert not any("optimum" in line for line in mm.memory_map(model, X, BITS).summary().warnings)


@remedy("polish=True: … has no Newton steps to make. Fit again with a smaller tolerance")
@pytest.mark.filterwarnings("ignore")
def test_polishing_another_model(said):
    from sklearn.svm import SVR

    model = SVR(tol=1e-1).fit(X, Y)
    with said:
        mm.memory_map(model, X, Y, polish=True)
    assert len(mm.memory_map(SVR(tol=1e-8, max_iter=10_000).fit(X, Y), X, Y)) == N


@remedy("which few coefficients smooth little: read sizes as ranks. refit(m, top=…)")
@pytest.mark.slow
def test_losses_with_kinks(said):
    def make():
        return sk.QuantileRegressor(alpha=0.0)

    m = mm.memory_map(make().fit(X, Y), X, Y)
    said.reads(str(m.summary()))
    is_map_of_refits(m, make, Y, int(mm.refit(m, top=1)["id"][0]))


@remedy("choose log_loss, …")
@pytest.mark.slow
def test_an_sgd_loss_without_likelihood(said):
    def fit(loss):
        return sk.SGDClassifier(loss=loss, alpha=0.1, max_iter=5000, tol=1e-7, random_state=0).fit(X, BITS)

    with said:
        mm.memory_map(fit("squared_error"), X, BITS)
    named = said.text.partition("choose ")[2].splitlines()[0].split(", ")
    assert "log_loss" in named
    assert len(named) > 1
    for loss in named:
        assert len(mm.memory_map(fit(loss), X, BITS)) == N


@remedy("is not supported: use multi_class='ovr'")
@pytest.mark.slow
def test_crammer_singer(said):
    with said:
        mm.memory_map(LinearSVC(multi_class="crammer_singer", random_state=0).fit(X, THREE), X, THREE)
    model = LinearSVC(multi_class="ovr", random_state=0, tol=1e-8, max_iter=100_000).fit(X, THREE)
    assert len(mm.memory_map(model, X, THREE)) == N


@remedy("Set the hyperparameters back, or fit again", at="models/linear/stationarity.py")
def test_a_penalty_that_was_changed(said):
    wide = RNG.normal(size=(N, 8))
    model = sk.Ridge(alpha=5.0).fit(wide, Y)
    model.alpha = 0.5
    with said:
        mm.memory_map(model, wide, Y)
    model.alpha = 5.0
    back = mm.memory_map(model, wide, Y)
    again = mm.memory_map(model.set_params(alpha=0.5).fit(wide, Y), wide, Y)
    assert again["leverage"].sum() > back["leverage"].sum()


@remedy("Leave sample_weight out, or fit with it", at="models/linear/stationarity.py")
def test_weights_that_the_fit_had_not(said):
    weight = RNG.uniform(0.5, 3, N)
    with said:
        mm.memory_map(sk.Ridge().fit(X, Y), X, Y, sample_weight=weight)
    assert len(mm.memory_map(sk.Ridge().fit(X, Y), X, Y)) == N
    assert len(mm.memory_map(sk.Ridge().fit(X, Y, weight), X, Y, sample_weight=weight)) == N


@remedy("pass X, y and sample_weight exactly as to fit, or fit again")
def test_targets_of_another_fit(said):
    model = sk.Ridge().fit(X, Y)
    other = Y + 2 * X[:, 0]
    with said:
        mm.memory_map(model, X, other)
    assert len(mm.memory_map(model, X, Y)) == N
    assert len(mm.memory_map(clone(model).fit(X, other), X, other)) == N


@remedy("without columns that are combinations of others, or with scaled features")
@pytest.mark.parametrize("how", ["penalty", "columns", "scaled"])
@pytest.mark.filterwarnings("ignore")
def test_a_fit_that_has_run_away(said, how):
    counts = RNG.poisson(1 + np.exp(Y / 3))
    x = np.column_stack([X, X[:, 0] * 2, X[:, 1] * 1e3])
    model = sk.PoissonRegressor(alpha=0.0, tol=1e-9, max_iter=1000).fit(x, counts)
    model.coef_, model.intercept_ = model.coef_ * 0, -1000.0
    model.coef_ = model.coef_ - 1e-3
    with said:
        mm.memory_map(model, x, counts)
    alpha, x = {"penalty": (0.1, x[:, :4]), "columns": (0.0, X), "scaled": (0.0, StandardScaler().fit_transform(X))}[
        how
    ]
    model = sk.PoissonRegressor(alpha=alpha, tol=1e-9, max_iter=1000).fit(x, counts)
    m = mm.memory_map(model, x, counts)
    assert 1 < m["leverage"].sum() < 5


@remedy("has no best_estimator_: fit it with refit=True")
def test_a_search_without_its_best_model(said):
    search = GridSearchCV(sk.Ridge(), {"alpha": [0.1, 1.0]}, refit=False).fit(X, Y)
    with said:
        mm.memory_map(search, X, Y)
    assert len(mm.memory_map(search.set_params(refit=True).fit(X, Y), X, Y)) == N


@remedy("Map the classifier itself, memory_map(clone(model.estimator).fit(X, y), X, y)")
def test_calibrated_classifiers(said):
    model = CalibratedClassifierCV(logistic(), cv=2).fit(X, BITS)
    with said:
        mm.memory_map(model, X, BITS)
    assert len(mm.memory_map(clone(model.estimator).fit(X, BITS), X, BITS)) == N


@remedy("TransformedTargetRegressor is not fitted: call model.fit(X, y) before memory_map")
def test_transformed_targets_without_a_fit(said):
    model = TransformedTargetRegressor(sk.Ridge(), func=np.log, inverse_func=np.exp)
    with said:
        mm.memory_map(model, X, np.exp(Y))
    model.fit(X, np.exp(Y))
    assert len(mm.memory_map(model, X, np.exp(Y))) == N


@remedy("is not fitted: call model.fit(X, Y) before memory_map")
def test_several_targets_without_a_fit(said):
    model, several = MultiOutputRegressor(sk.Ridge()), np.column_stack([Y, -Y])
    with said:
        mm.memory_map(model, X, several)
    model.fit(X, several)
    assert len(mm.memory_map(model, X, several)) == N


@remedy("does not keep its training data: pass it, memory_map(model, X, Y)")
def test_several_targets_without_data(said):
    several = np.column_stack([Y, -Y])
    model = MultiOutputRegressor(sk.Ridge()).fit(X, several)
    with said:
        mm.memory_map(model)
    assert len(mm.memory_map(model, X, several)) == N


@remedy("penalty on mean losses, others on summed ones: map them one by one")
def test_several_targets_with_penalties_of_two_kinds(said):
    several = np.column_stack([Y, -Y])
    model = MultiOutputRegressor(sk.Ridge()).fit(X, several)
    model.estimators_[1] = sk.Lasso(alpha=0.01, tol=1e-10).fit(X, -Y)
    with said:
        mm.memory_map(model, X, several)
    for each, y in zip(model.estimators_, several.T, strict=True):
        assert len(mm.memory_map(each, X, y)) == N


@remedy("pass the targets as to fit, or fit again", at="data/class_labels.py")
def test_another_class(said):
    model, named = logistic().fit(X, BITS), np.array(["no", "yes"])[BITS]
    with said:
        mm.memory_map(model, X, named)
    assert len(mm.memory_map(model, X, BITS)) == N
    assert len(mm.memory_map(logistic().fit(X, named), X, named)) == N


@remedy("of its batch is missing (…): drop such rows", at="data/class_labels.py")
def test_missing_classes(said):
    named = np.array(["no", "yes"], dtype=object)[BITS]
    named[3] = None
    keep = [value is not None for value in named]
    model = logistic().fit(X[keep], named[keep])
    with said:
        mm.memory_map(model, X, named)
    assert len(mm.memory_map(model, X[keep], named[keep])) == N - 1


@remedy("the inputs lack columns the model was fitted on, …: pass those of the fit")
def test_missing_columns(said):
    table = pd.DataFrame(X, columns=["a", "b", "c"])
    model = sk.Ridge().fit(table, Y)
    with said:
        mm.memory_map(model, table[["a", "c"]], Y)
    assert len(mm.memory_map(model, table, Y)) == N


@remedy("one-versus-rest: fit LogisticRegression(C=…) with one of them")
@remedy("chose a different l1_ratio for each class (…): fit LogisticRegression(l1_ratio=…) with one of them")
@pytest.mark.skipif(not RATIOS, reason="before 1.8 C_ and l1_ratio_ had a value for each class, of one fit")
@pytest.mark.filterwarnings("ignore")
def test_a_penalty_for_each_class(said):
    model = sk.LogisticRegressionCV(Cs=[0.1, 1.0], cv=3).fit(X, THREE)
    model.C_ = np.array([0.1, 1.0, 1.0])
    with said:
        mm.memory_map(model, X, THREE)
    assert len(mm.memory_map(sk.LogisticRegression(C=0.1, tol=1e-8).fit(X, THREE), X, THREE)) == N
    model.C_, model.l1_ratio_ = np.array([0.1]), np.array([0.2, 0.5, 0.5])
    with said:
        mm.memory_map(model, X, THREE)
    model = sk.LogisticRegression(C=0.5, l1_ratio=0.2, solver="saga", tol=1e-8, max_iter=10_000)
    assert len(mm.memory_map(model.fit(X, THREE), X, THREE)) == N


@remedy("target column(s): the model was fitted on …, pass these")
@remedy("target column(s) for … models: pass one for each")
def test_several_targets_in_another_number(said):
    model = MultiOutputRegressor(sk.Ridge()).fit(X, SEVERAL)
    with said:
        mm.memory_map(model, X, Y)
    m = mm.memory_map(model, X, SEVERAL)
    with said:
        m.origin.posterior.likelihood.check_target(Y, 2)
    m.origin.posterior.likelihood.check_target(SEVERAL, 2)
    assert len(m) == N


@remedy("values that are not finite for these targets: pass those of the fit")
@pytest.mark.filterwarnings("ignore:invalid value", "ignore:divide by zero")
def test_targets_that_a_transformer_cannot_take(said):
    model = TransformedTargetRegressor(sk.Ridge(), func=np.log, inverse_func=np.exp).fit(X, np.exp(Y))
    with said:
        mm.memory_map(model, X, -np.exp(Y))
    assert len(mm.memory_map(model, X, np.exp(Y))) == N


@remedy("where no other example has a class: read sensitivities and the others' losses")
def test_classes_that_no_other_example_has(said):
    m = mm.memory_map(sk.LogisticRegression(tol=1e-9, max_iter=1000).fit(X, THREE), X, THREE)
    found = m.leave_out("target")
    said.reads(found["warning"][0])
    others = THREE != 0
    fit = sk.LogisticRegression(C=2.0, tol=1e-9, max_iter=1000).fit(X[others], THREE[others])  # of two classes
    loss = -fit.predict_log_proba(X[others])[np.arange(others.sum()), THREE[others] - 1].mean()
    np.testing.assert_allclose(found["rest_leave_out_loss"][0], loss, rtol=1e-4)
    assert np.isfinite(found["sensitivity"]).all()


SIZES = np.column_stack([X[:, 0], 1e8 * X[:, 1], X[:, 2]])


def follows_its_refits(fit, x, row=3):
    m, rest = mm.memory_map(fit(x, Y), x, Y), np.arange(N) != row
    change = fit(x[rest], Y[rest]).predict(x[[row]]) - fit(x, Y).predict(x[[row]])
    np.testing.assert_allclose(np.ravel(m["deviation"])[row], change[0], rtol=1e-5)
    return m


@remedy("put StandardScaler() in front where sizes differ")
@pytest.mark.skipif(sk.LinearRegression().fit(SIZES, Y).rank_ == 3, reason="before 1.9 nothing was dropped here")
def test_columns_of_other_sizes_that_least_squares_dropped(said):
    with said:
        mm.memory_map(sk.LinearRegression().fit(SIZES, Y), SIZES, Y)
    assert "dropped 2 of 4 directions as singular" in said.text
    scaled = StandardScaler().fit_transform(SIZES)
    m = follows_its_refits(lambda x, y: sk.LinearRegression().fit(x, y), scaled)
    assert m["leverage"].sum() == pytest.approx(4)


CHAIN = np.column_stack([X, X[:, 0] + 3e-7 * RNG.normal(size=N), X[:, 1] + 5e-6 * RNG.normal(size=N)])


@remedy("put StandardScaler() in front where sizes differ")
@remedy("or fit LinearRegression(tol=1e-15)")
@pytest.mark.parametrize("what", ["drop", "tolerance"])
@pytest.mark.skipif(sk.LinearRegression().fit(CHAIN, Y).rank_ == 5, reason="before 1.9 nothing was dropped here")
def test_nearly_collinear_columns_of_which_least_squares_dropped_some(said, what):
    with said:
        mm.memory_map(sk.LinearRegression().fit(CHAIN, Y), CHAIN, Y)
    assert "dropped 1 of 6 directions as singular (by tol=1e-06" in said.text
    tol = 1e-15 if what == "tolerance" else 1e-6
    x = CHAIN if what == "tolerance" else np.delete(CHAIN, 3, axis=1)
    m = follows_its_refits(lambda x, y: sk.LinearRegression(tol=tol).fit(x, y), x)
    assert m["leverage"].sum() == pytest.approx(1 + x.shape[1])


@remedy("the loss has no minimum on these data: it falls on as estimates of … go to infinity")
def test_a_group_of_one_class(said):
    """A penalty gives every estimate an end; without the group's column they have one, too."""
    x, group = np.linspace(-2, 2, 40)[:, None], np.arange(40) % 4 == 0
    y = np.where(group, 1, np.arange(40) % 3 == 0).astype(int)
    both = np.column_stack([x, group])
    said.reads(mm.memory_map(sk.LogisticRegression(C=np.inf).fit(both, y), both, y).summary().warnings[0])
    assert mm.memory_map(sk.LogisticRegression().fit(both, y), both, y).summary().warnings == ()
    assert mm.memory_map(sk.LogisticRegression(C=np.inf, tol=1e-8).fit(x, y), x, y).summary().warnings == ()
