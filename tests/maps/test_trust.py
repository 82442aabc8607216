"""The verdict on each figure: from the map's facts alone, the same in a file, read by everything that shows figures."""

from __future__ import annotations

import dataclasses
import pathlib

import numpy as np
import pytest
import statsmodels.api as sm
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier, RandomForestRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.linear_model import (
    ElasticNetCV,
    Lasso,
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    PoissonRegressor,
    Ridge,
    RidgeCV,
)
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from sklearn.svm import SVC, SVR, LinearSVC
from sklearn.tree import DecisionTreeClassifier
from sklearn_versions import RIDGE_CV

import memorymaps as mm
from memorymaps.core.likelihoods import Gaussian
from memorymaps.core.likelihoods.exponential_family import Bernoulli
from memorymaps.maps.table import COLUMNS
from memorymaps.maps.trust import BASE_VERDICTS, FIGURES, Level, Trust
from memorymaps.models import Draws
from memorymaps.models.linear.newton_methods import von
from memorymaps.posteriors.approximation import Approximation

RNG = np.random.default_rng(4)
N = 60
X = RNG.normal(size=(N, 3))
Y = X @ [1.0, -1.0, 0.5] + RNG.normal(size=N)
LABELS = (Y > 0).astype(int)
THREE = np.digitize(Y, [-0.8, 0.8])
TIGHT = {"tol": 1e-9, "max_iter": 10_000}
E, V, S, R, U = Level


def fitted(model, y):
    return lambda: mm.memory_map(model.fit(X, y), X, y)


CASES = {
    "least squares": (fitted(LinearRegression(), Y), (E, E, E, E, E)),
    "ridge in a pipeline": (fitted(make_pipeline(StandardScaler(), Ridge()), Y), (E, E, E, E, E)),
    "gaussian process": (fitted(GaussianProcessRegressor(alpha=1.0, optimizer=None), Y), (E, E, E, E, E)),
    "lasso": (fitted(Lasso(alpha=0.3, tol=1e-10), Y), None),
    "logistic": (fitted(LogisticRegression(**TIGHT), LABELS), (E, S, S, S, S)),
    "softmax": (fitted(LogisticRegression(**TIGHT), THREE), (E, S, S, S, S)),
    "poisson": (fitted(PoissonRegressor(tol=1e-10, max_iter=1000), np.abs(THREE)), (E, S, S, S, S)),
    "gaussian with a log link": (
        lambda: mm.memory_map(
            sm.GLM(np.exp(Y / 4), sm.add_constant(X), family=sm.families.Gaussian(sm.families.links.Log())).fit(
                tol=1e-14
            )
        ),
        (E, S, S, S, S),
    ),
    "multinomial": (lambda: mm.memory_map(sm.MNLogit(THREE, sm.add_constant(X)).fit(disp=0)), (E, S, S, S, S)),
    "stopped early": (
        fitted(LogisticRegression(C=100, max_iter=3), LABELS),
        (R, R, R, S, R),
    ),
    "forest": (fitted(RandomForestClassifier(10, random_state=0), LABELS), (R, R, U, S, U)),
    "boosting": (fitted(GradientBoostingRegressor(n_estimators=10, random_state=0), Y), (R, R, U, S, U)),
    "first order": (
        lambda: mm.memory_map(LinearRegression().fit(X, Y), X, Y, estimator="first_order"),
        (E, R, R, E, E),
    ),
    "svm": (fitted(SVC(), LABELS), (S, R, R, S, R)),
    "several svms": (fitted(SVC(), THREE), (S, R, R, S, R)),
    "svm of a given width": (fitted(SVC(gamma=0.3), LABELS), (S, R, R, S, S)),
    "linear svm": (fitted(LinearSVC(loss="hinge", tol=1e-8, max_iter=100_000), LABELS), (S, R, R, S, S)),
    "squared hinge": (fitted(LinearSVC(tol=1e-8, max_iter=100_000), LABELS), (S, S, S, S, S)),
    "one tree": (fitted(DecisionTreeClassifier(min_samples_leaf=5, random_state=0), LABELS), (R, R, U, U, U)),
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", CASES)
def test_the_verdict_on_every_figure(name, tmp_path):
    make, expected = CASES[name]
    m = make()
    assert [verdict.figure for verdict in m.trust] == list(FIGURES)
    if expected is not None:
        assert tuple(verdict.level for verdict in m.trust) == expected
    assert all(verdict.reasons for verdict in m.trust)
    assert m.provenance.description.approximation != Approximation.UNSTATED
    read = mm.load(m.save(tmp_path / "m.parquet"))
    assert read.trust == m.trust
    assert read.trust.to_dict() == m.trust.to_dict()
    for verdict in m.trust:
        assert f"  {verdict}" in str(m.summary())
    assert m.trust["deviation"] == m.trust["sensitivity"]
    with pytest.raises(KeyError, match="Expected one of leverage"):
        m.trust["colour"]


def test_the_columns_that_a_left_out_example_changes_have_verdicts_and_the_docstring_names_them():
    m = fitted(LinearRegression(), Y)()
    of_the_fit = {"id", "row", "target", "prediction", "error", "loss", "weight", "warning", "output", "residual",
                  "standardised_error", "mean", "refined", "refitted"}  # fmt: skip
    for name in COLUMNS.keys() - of_the_fit:
        assert isinstance(m.trust[name].level, Level)
        assert f"`{name}`" in Trust.__doc__
    for name in of_the_fit:
        with pytest.raises(KeyError, match=f"no verdict on '{name}'.* Expected one of leverage, sensitivity, loo_loss"):
            m.trust[name]


CHOSEN = {
    "alpha, by cross-validation": RidgeCV(),
    "alpha and l1_ratio, by cross-validation": ElasticNetCV(tol=1e-9, max_iter=10_000),
    "C, by cross-validation": LogisticRegressionCV(Cs=[0.1, 1.0], cv=3, scoring="neg_log_loss", **RIDGE_CV, **TIGHT),
    "alpha, by GridSearchCV": GridSearchCV(Ridge(), {"alpha": [0.1, 1.0]}),
    "ridgecv__gcv_mode, by GridSearchCV": GridSearchCV(make_pipeline(RidgeCV()), {"ridgecv__gcv_mode": ["svd"]}),
    "the kernel's hyperparameters, by the marginal likelihood": GaussianProcessRegressor(alpha=1.0),
}


@pytest.mark.slow
@pytest.mark.parametrize("chosen", CHOSEN)
def test_hyperparameters_that_were_chosen_from_the_data_are_said_to_be_held(chosen, tmp_path):
    y = LABELS if isinstance(CHOSEN[chosen], LogisticRegressionCV) else Y
    m = fitted(CHOSEN[chosen], y)()
    for figure in ("sensitivity", "loo_loss", "groups"):
        assert chosen in " ".join(m.trust[figure].reasons)
    assert "held" not in " ".join(m.trust["leverage"].reasons)
    assert mm.load(m.save(tmp_path / "m.parquet")).trust == m.trust


HELD = {
    "preprocessing, by StandardScaler, PolynomialFeatures": make_pipeline(
        StandardScaler(), "passthrough", PolynomialFeatures(), Ridge()
    ),
    "class weights, by class_weight='balanced'": LogisticRegression(class_weight="balanced", **TIGHT),
    "gamma, by gamma='scale'; class weights, by class_weight='balanced'": SVC(class_weight="balanced"),
    "gamma, by gamma='scale'": SVR(),
    "mean and standard deviation of the targets, by normalize_y": GaussianProcessRegressor(
        alpha=1.0, optimizer=None, normalize_y=True
    ),
    "the targets' scale, by StandardScaler": TransformedTargetRegressor(Ridge(), transformer=StandardScaler()),
    "class weights, by class_weight='balanced_subsample'": RandomForestClassifier(
        10, class_weight="balanced_subsample", random_state=0
    ),
    "alpha, by cross-validation; preprocessing, by StandardScaler": make_pipeline(StandardScaler(), RidgeCV()),
}


@pytest.mark.slow
@pytest.mark.parametrize("held", HELD)
def test_what_is_computed_from_all_examples_before_the_fit_is_said_to_be_held(held, tmp_path):
    m = fitted(HELD[held], LABELS if hasattr(HELD[held], "class_weight") else Y)()
    for figure in ("sensitivity", "loo_loss", "groups"):
        assert f"held as in the fit: {held}" in m.trust[figure].reasons
    assert mm.load(m.save(tmp_path / "m.parquet")).trust == m.trust


def test_groups_are_trusted_less_where_refits_would_change_what_is_held():
    balanced = fitted(LogisticRegression(class_weight="balanced", **TIGHT), LABELS)()
    assert balanced.trust["groups"].level == U
    assert balanced.trust["sensitivity"].level == S
    assert fitted(SVC(), LABELS)().trust["groups"].level == R
    numbers = dict(zip(*np.unique(LABELS, return_counts=True), strict=True))
    given = LogisticRegression(class_weight={k: N / (2 * n) for k, n in numbers.items()}, **TIGHT)
    m = fitted(given, LABELS)()
    assert m.trust["groups"].level == S
    for figure in ("leverage", "sensitivity"):
        np.testing.assert_allclose(m[figure], balanced[figure], rtol=1e-6)
    rows = np.flatnonzero(LABELS == 0)[:20]
    rest = np.setdiff1d(np.arange(N), rows)
    found = m.leave_out({"most of a class": m["id"][rows]})
    refitted = clone(given).fit(X[rest], LABELS[rest]).predict_proba(X)[:, 1]
    change = np.abs(refitted - given.predict_proba(X)[:, 1])[rows].sum()
    assert found["sensitivity"][0] == pytest.approx(change, rel=0.02)


@pytest.mark.parametrize(
    "model", [SVC(gamma=1.0), SVC(kernel="linear"), LogisticRegression(class_weight={0: 1, 1: 2}, **TIGHT)]
)
def test_widths_and_class_weights_that_were_given_are_not(model):
    assert "held as in the fit" not in str(fitted(model, LABELS)().trust)


@pytest.mark.parametrize(
    "model", [Ridge(), GaussianProcessRegressor(alpha=1.0, optimizer=None), GridSearchCV(Ridge(), {})]
)
def test_hyperparameters_that_were_given_are_not(model):
    assert "held as in the fit" not in str(fitted(model, Y)().trust)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (LinearRegression(), "linear equations, in closed form"),
        (Ridge(), "linear equations, in closed form"),
        (PoissonRegressor(tol=1e-10, max_iter=1000), "Newton's method (the fitted optimum)"),
        (Lasso(alpha=0.8, tol=1e-12), "Newton's method on the active set"),
    ],
)
def test_the_algorithm_is_that_of_the_optimum(model, words):
    assert fitted(model, np.exp(Y / 4))().provenance.description.algorithm.startswith(words)


def test_an_active_set_is_no_exact_model():
    m = fitted(Lasso(alpha=0.8, tol=1e-12), Y)()
    assert np.any(Lasso(alpha=0.8).fit(X, Y).coef_ == 0)
    assert m.provenance.description.approximation == Approximation.ACTIVE_SET
    assert m.trust["sensitivity"].level != Level.EXACT


@pytest.mark.slow
def test_steps_that_are_too_long_are_told_by_leverage():
    """Verdicts against refits: what is called estimated is right in slope, error and loss."""
    for C in (1.0, 1e4):
        model = LogisticRegression(C=C, solver="newton-cg", **TIGHT)
        x = np.repeat(np.eye(15), 4, axis=0)  # one-hot: four examples a category
        y = (RNG.uniform(size=60) < 0.5).astype(int)
        m = mm.memory_map(model.fit(x, y), x, y)
        truth = []
        for i in range(60):
            keep = np.arange(60) != i
            left = LogisticRegression(C=C, solver="newton-cg", **TIGHT).fit(x[keep], y[keep])
            truth.append(abs(left.predict_proba(x[[i]])[0, 1] - model.predict_proba(x[[i]])[0, 1]))
        t, e = np.array(truth), m["sensitivity"]
        off = abs(t @ e / (t @ t) - 1) > 0.15 or np.linalg.norm(e - t) > 0.3 * np.linalg.norm(t)
        assert not (off and m.trust["sensitivity"].sizes), (C, m.trust["sensitivity"])


def test_warnings_of_examples_lower_the_verdict_when_they_are_many():
    m = CASES["logistic"][0]()
    assert m.trust["loo_loss"].level == Level.ESTIMATED
    some = with_column(m, "warning", np.where(np.arange(N) < 2, 2, 0).astype(np.int8))
    assert some.trust["loo_loss"].level == Level.ESTIMATED
    assert "2 of 60 examples carry a warning" in str(some.trust["loo_loss"])
    many = with_column(m, "warning", np.where(np.arange(N) < 20, 2, 0).astype(np.int8))
    assert many.trust["loo_loss"].level == Level.RANKS


def with_column(m, name, values):
    import pyarrow as pa

    table = m.table
    if name in table.column_names:
        table = table.drop_columns([name])
    return dataclasses.replace(m, table=table.append_column(name, pa.array(values)))


def test_refitted_examples_are_verified():
    m = CASES["forest"][0]()
    assert with_column(m, "refitted", np.ones(N, bool)).trust["sensitivity"].level == Level.VERIFIED
    some = with_column(m, "refitted", np.arange(N) < 5).trust["sensitivity"]
    assert some.level == Level.RANKS
    assert "5 of 60 examples are verified" in str(some)


@pytest.mark.slow
@pytest.mark.parametrize("delta", [10.0, 2.0])
def test_a_leverage_near_one_by_approximate_curvature_is_for_ranks_only(delta):
    torch = pytest.importorskip("torch")
    x, y = load_breast_cancer(return_X_y=True)
    x, y = torch.tensor(StandardScaler().fit_transform(x)[:200]), torch.tensor(y[:200])
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(30, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2)).double()
    optimizer = torch.optim.LBFGS(
        net.parameters(), max_iter=1000, tolerance_grad=1e-8, tolerance_change=1e-12, line_search_fn="strong_wolfe"
    )

    def closure():
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(x), y, reduction="sum")
        loss = loss + delta / 2 * sum(p.square().sum() for p in net.parameters())
        loss.backward()
        return loss

    optimizer.step(closure)
    maps = {
        name: mm.memory_map(net, x, y, likelihood="categorical", posterior=mm.Laplace(name, prior=delta))
        for name in ("kfac", "full")
    }
    assert maps["kfac"].provenance.description.approximation == Approximation.CHECKED_CURVATURE
    assert np.mean(maps["kfac"]["loo_loss"]) > 1.3 * np.mean(maps["full"]["loo_loss"])
    assert maps["kfac"].trust["loo_loss"].level == maps["kfac"].trust["sensitivity"].level == R
    assert maps["full"].trust["loo_loss"].level == S


def test_networks():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    x, y = torch.tensor(X).float(), torch.tensor(LABELS)
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()

    def drawn(recipe):
        return mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe)

    state = drawn(mm.FromOptimizer(optimizer, N, prior=1.0))
    assert state.provenance.description.approximation == Approximation.OPTIMIZER_STATE
    assert state.trust["loo_loss"].level == Level.UNUSABLE
    assert state.trust["sensitivity"].level == Level.RANKS
    assert state.trust["ranks"].level == Level.ESTIMATED
    last = drawn(mm.Laplace("full", subset="last_layer", prior=1.0))
    assert last.trust["loo_loss"].level == Level.UNUSABLE
    diagonal = drawn(mm.Laplace("diag", prior=1.0, probes=0))
    assert diagonal.trust["sensitivity"].level == Level.RANKS
    linear = mm.memory_map(
        torch.nn.Linear(3, 1),
        x,
        torch.tensor(Y).float(),
        likelihood="gaussian",
        posterior=mm.Laplace("full", prior=1.0),
    )
    assert linear.provenance.description.approximation == Approximation.EXACT
    assert linear.trust["sensitivity"].level == Level.UNUSABLE  # untrained
    assert "from the optimum" in str(linear.trust["sensitivity"])


def test_few_draws_give_ranks():
    f = RNG.normal(size=(8, N, 1)) / 5 + Y[None, :, None]
    for draws, level in (
        (f, Level.RANKS),
        (np.concatenate([f + RNG.normal(size=f.shape) / 5 for _ in range(60)]), None),
    ):
        m = mm.memory_map(Draws(draws, Gaussian(1.0)), X, Y)
        assert m.trust["leverage"].error == pytest.approx(np.sqrt(2 / (len(draws) - 1)))
        assert level is None or m.trust["leverage"].level == level


@pytest.mark.parametrize(
    ("error", "level"), [(None, S), (0.31, S), (0.99, S), (1.0, R), (2.9, R), (3.0, U), (206.45, U), (float("nan"), U)]
)
def test_ranks_are_lowered_where_the_stated_error_is_larger_than_what_it_is_of(error, level):
    m = CASES["logistic"][0]()
    facts = dataclasses.replace(m.provenance.description, relative_error=error)
    found = dataclasses.replace(m, provenance=dataclasses.replace(m.provenance, description=facts)).trust["ranks"]
    assert found.level == level
    assert ("were the exact ones" in str(found)) == (level != S)


def stating(**facts):
    m = mm.memory_map(LogisticRegression(**TIGHT).fit(X, LABELS), X, LABELS)
    description = dataclasses.replace(m.provenance.description, **facts)
    return dataclasses.replace(m, provenance=dataclasses.replace(m.provenance, description=description))


def test_deviations_have_a_verdict_of_their_own_where_their_error_is_stated_apart():
    m = stating(relative_error=0.02, size_errors=(0.03, 0.01), deviation_error=0.04)
    assert [verdict.figure for verdict in m.trust] == [*FIGURES, "deviation"]
    assert m.trust["deviation"].error == pytest.approx(0.05)
    assert m.trust["deviation"].level == m.trust["sensitivity"].level == S
    assert m.trust["loo_prediction"].error == 0.03
    large = stating(relative_error=0.02, size_errors=(0.03, 0.01), deviation_error=0.4)
    assert (large.trust["deviation"].level, large.trust["sensitivity"].level) == (R, S)
    assert stating(deviation_error=0.4).trust["output_sensitivity"].error is None
    assert with_column(large, "refitted", np.ones(N, bool)).trust["deviation"].figure == "sensitivity"
    assert with_column(large, "refined", np.arange(N) > 0).trust["deviation"].figure == "deviation"


def test_a_posterior_that_does_not_say_is_for_ranks():
    m = CASES["least squares"][0]()
    facts = dataclasses.replace(m.provenance.description, approximation="something else", posterior="of mine")
    other = dataclasses.replace(m, provenance=dataclasses.replace(m.provenance, description=facts))
    assert {verdict.level for verdict in other.trust} == {Level.RANKS}
    assert "does not state its approximation" in str(other.trust["sensitivity"])


def test_the_page_lists_every_kind_with_its_verdicts():
    page = (pathlib.Path(__file__).parents[2] / "docs" / "meaning" / "trust.md").read_text(encoding="utf-8")
    table = page.partition("<!-- verdicts -->\n")[2].partition("\n\n")[0].splitlines()[2:]
    listed = {
        cells[1].strip(" `"): [cell.strip() for cell in cells[3:8]] for cells in (row.split("|") for row in table)
    }
    expected = {str(kind): [str(level) for level in found[:5]] for kind, found in BASE_VERDICTS.items() if kind}
    assert listed == expected
    for level in Level:
        assert f"| {level} |" in page


@pytest.mark.slow
@pytest.mark.parametrize("name", ["least squares", "forest", "first order"])
def test_pictures_comparison_and_command_line_read_the_verdicts(name, tmp_path, capsys):
    from memorymaps.cli.commands import main
    from memorymaps.viz.displays.leave_out import LeaveOutDisplay
    from memorymaps.viz.displays.map import MapDisplay
    from memorymaps.viz.displays.sensitivity import SensitivityDisplay

    m = CASES[name][0]()
    for display, figure in ((LeaveOutDisplay, "loo_loss"), (SensitivityDisplay, "sensitivity")):
        label = display.from_map(m).ax_.get_ylabel()
        assert label.endswith(f": {m.trust[figure].level}") == (not m.trust[figure].sizes)
    words = [text.get_text() for text in MapDisplay.from_map(m, label=0).ax_.texts]
    assert any(f"sensitivity: {m.trust['sensitivity'].level}" in text for text in words) == (name != "least squares")
    assert ("a: " in str(mm.compare(m, m)).split("sensitivity")[1].splitlines()[0]) == (name != "least squares")
    assert main(["top", str(m.save(tmp_path / "m.parquet"))]) == 0
    assert (str(m.trust["sensitivity"]) in capsys.readouterr().err) == (name != "least squares")


@pytest.mark.slow
def test_lines_of_the_picture_are_those_of_the_sensitivity():
    from memorymaps.maps.iso_lines import IsoScore, iso_score_of
    from memorymaps.viz.displays.map import MapDisplay

    m = CASES["least squares"][0]()
    assert iso_score_of(m) == IsoScore.CAVITY
    np.testing.assert_allclose(IsoScore.CAVITY.score(m["leverage"], m["error"]), m["sensitivity"], rtol=1e-9)
    display = MapDisplay.from_map(m, label=0)
    lines = [line for line in display.ax_.lines if line.get_color() == "0.6" or line.get_linewidth() == 0.7]
    levels = []
    for line in lines:
        h, e = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
        level = h * e / (1 - h)
        np.testing.assert_allclose(level, level[0], rtol=1e-9)
        levels.append(level[0])
    np.testing.assert_allclose(sorted(levels), np.quantile(m["sensitivity"], [0.5, 0.9, 0.99]), rtol=1e-9)
    assert "lines: leverage × error / (1 − leverage)" in [text.get_text() for text in display.ax_.texts]
    assert iso_score_of(CASES["first order"][0]()) == IsoScore.PRODUCT
    assert iso_score_of(CASES["softmax"][0]()) == IsoScore.PRODUCT
    assert np.isnan(IsoScore.CAVITY.score(np.array([1.0]), np.array([1.0])))[0]


# --- verified by retraining ------------------------------------------------------------------------------------------


def retraining(model, y, noise=0.0, shift=0.0):
    """Refits of a clone; `noise` on its outputs, and a drift of `shift`."""
    rng = np.random.default_rng(0)

    def retrain(removed, wanted):
        fit = clone(model).fit(np.delete(X, removed, axis=0), np.delete(y, removed))
        f = fit.decision_function(X[wanted]) if hasattr(fit, "decision_function") else fit.predict(X[wanted])
        return f + noise * rng.normal(size=f.shape) + shift * (len(removed) == 0)

    return retrain


def test_what_retraining_confirms_is_verified_in_the_map_of_the_check_and_in_its_file(tmp_path):
    model = LogisticRegression(**TIGHT).fit(X, LABELS)
    m = mm.memory_map(model, X, LABELS)
    check = mm.retrain_check(m, retraining(model, LABELS), k=20)
    assert m.trust["sensitivity"].level == S
    for found in (check.map, saved_and_loaded(check.map, tmp_path)):
        levels = [found.trust[name].level for name in ("leverage", "sensitivity", "loo_loss", "ranks", "groups")]
        assert levels == [E, V, V, V, S]
        assert "20 examples retrained without: slope" in str(found.trust["sensitivity"])
    np.testing.assert_array_equal(check.map["sensitivity"], m["sensitivity"])
    assert "verified" in str(check.map.summary())
    assert [v.level for v in dataclasses.replace(check.map, provenance=m.provenance).trust] == [E, S, S, S, S]


def saved_and_loaded(m, tmp_path):
    m.save(tmp_path / "m.parquet")
    return mm.load(tmp_path / "m.parquet")


def test_exact_stays_exact_and_few_examples_verify_nothing():
    exact = mm.memory_map(Ridge().fit(X, Y), X, Y)
    assert mm.retrain_check(exact, retraining(Ridge(), Y), k=12).map.trust["sensitivity"].level == E
    model = LogisticRegression(**TIGHT).fit(X, LABELS)
    few = mm.retrain_check(mm.memory_map(model, X, LABELS), retraining(model, LABELS), k=4).map.trust["sensitivity"]
    assert few.level == S
    assert "4 examples retrained" in few.reasons[-1]


def test_what_retraining_contradicts_is_lowered():
    model = LogisticRegression(**TIGHT).fit(X, LABELS)
    m = mm.memory_map(model, X, LABELS)
    double = dataclasses.replace(
        m, table=m.table.set_column(m.table.column_names.index("sensitivity"), "sensitivity", [2 * m["sensitivity"]])
    )
    found = mm.retrain_check(double, retraining(model, LABELS), k=20).map.trust
    assert [found[name].level for name in ("sensitivity", "ranks", "loo_loss")] == [R, V, V]
    assert "slope 2." in str(found["sensitivity"]) or "slope 1.9" in str(found["sensitivity"])
    shuffled = np.random.default_rng(0).permutation(m["sensitivity"])
    wrong = dataclasses.replace(
        m, table=m.table.set_column(m.table.column_names.index("sensitivity"), "sensitivity", [shuffled])
    )
    found = mm.retrain_check(wrong, retraining(model, LABELS), k=30).map.trust
    assert found["sensitivity"].level == found["ranks"].level == U


def test_a_drift_as_large_as_the_changes_verifies_nothing():
    model = LogisticRegression(**TIGHT).fit(X, LABELS)
    found = mm.retrain_check(mm.memory_map(model, X, LABELS), retraining(model, LABELS, shift=3.0), k=20).map.trust
    assert found["sensitivity"].level == S
    assert "nothing left out changes predictions as much" in str(found["sensitivity"])


@pytest.mark.slow
def test_trees_whose_sizes_disagree_with_retraining_say_so():
    model = RandomForestRegressor(20, random_state=0).fit(X, Y)
    found = mm.retrain_check(mm.memory_map(model, X, Y), retraining(model, Y), k=20).map.trust["sensitivity"]
    assert found.level in (R, U)
    assert "20 examples retrained without" in str(found)


def test_a_variational_posterior_with_many_parameters_keeps_its_order_and_an_optimisers_state_does_not():
    m = mm.memory_map(Ridge(alpha=1e-6).fit(X[:5], Y[:5]), X[:5], Y[:5], estimator="first_order")
    assert float(np.mean(m["leverage"])) > 0.3

    def level(approximation):
        description = dataclasses.replace(m.provenance.description, approximation=approximation)
        changed = dataclasses.replace(m, provenance=dataclasses.replace(m.provenance, description=description))
        return changed.trust["loo_loss"].level

    assert level(Approximation.VARIATIONAL) == R
    assert level(Approximation.OPTIMIZER_STATE) == level(Approximation.APPROXIMATE_CURVATURE) == U


@pytest.mark.slow
@pytest.mark.parametrize(("prior", "long"), [(0.05, True), (3.0, False)])
def test_one_step_from_a_flexible_variational_posterior_is_for_ranks_only(prior, long):
    """Variational online Newton without each example: the others' expected losses change with the variance, too."""
    draws = np.random.default_rng(0)
    x = np.column_stack([np.ones(24), draws.normal(size=(24, 2))])
    y = (x[:, 1] + 0.5 * draws.normal(size=24) > 0).astype(int)
    y[:2] = 1 - y[:2]

    def state(kept):
        return list(von(x[kept], y[kept], likelihood=Bernoulli(), prior=prior, rate=0.5, steps=80))[-1]

    everyone = np.arange(24)
    fitted = state(everyone)
    m = mm.memory_map(fitted, x, y)
    truth = np.array([((state(np.delete(everyone, i)).mean - fitted.mean) @ x[i])[0] for i in everyone])
    slope = m["deviation"].ravel() @ truth / (truth @ truth)
    assert (slope < 0.85) == long
    assert (m.trust["sensitivity"].level == R) == long
    assert any("variational posterior this flexible" in line for line in m.summary().warnings) == long
