"""Inputs that are asked about are those of the fit: columns by name, through a formula, or refused."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.svm import SVC
from statsmodels.miscmodels.ordinal_model import OrderedModel

import memorymaps as mm
from memorymaps.data.examples import DataError

_RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(_RNG.normal(size=(60, 3)) * [1.0, 3.0, 0.3], columns=["a", "b", "c"])
NUMBER = (FRAME @ [1.0, 0.2, -2.0] + _RNG.normal(size=60)).to_numpy()
CLASS = (NUMBER > 0).astype(int)


def _changes(m, inputs):
    return np.stack(mm.influence_on(m, inputs, top=None)["change"].tolist())


def _fitted(model, target):
    return mm.memory_map(model.fit(FRAME, target), FRAME, target)


def _mlp(kind, target):
    pytest.importorskip("torch")
    settings = {"hidden_layer_sizes": (3,), "alpha": 1.0, "solver": "lbfgs", "max_iter": 2000, "random_state": 0}
    return _fitted(kind(**settings), target)


def _network():
    torch = pytest.importorskip("torch")
    from memorymaps import nets

    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(3, 2)).double()
    recipe = nets.Laplace("full", prior=1.0)
    return mm.memory_map(net, FRAME, CLASS, likelihood="categorical", posterior=recipe)


MAPS = {
    "logistic": lambda: _fitted(LogisticRegression(), CLASS),
    "ridge": lambda: _fitted(Ridge(), NUMBER),
    "kernel ridge": lambda: _fitted(KernelRidge(kernel="rbf"), NUMBER),
    "SVC": lambda: _fitted(SVC(), CLASS),
    "GP regression": lambda: _fitted(GaussianProcessRegressor(alpha=1.0), NUMBER),
    "GP classification": lambda: _fitted(GaussianProcessClassifier(), CLASS),
    "GP of three classes": lambda: _fitted(GaussianProcessClassifier(), CLASS + (NUMBER > 1)),
    "MLP classifier": lambda: _mlp(MLPClassifier, CLASS),
    "MLP regressor": lambda: _mlp(MLPRegressor, NUMBER),
    "network": _network,
    "OLS": lambda: mm.memory_map(sm.OLS(NUMBER, FRAME).fit()),
    "logit": lambda: mm.memory_map(sm.Logit(CLASS, FRAME).fit(disp=0)),
    "ordered": lambda: mm.memory_map(OrderedModel(CLASS + (NUMBER > 1), FRAME).fit(disp=0)),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MAPS)
def test_columns_are_found_by_name_and_what_is_no_input_of_the_fit_is_refused(name):
    m, queries = MAPS[name](), FRAME[:3]
    expected = _changes(m, queries.to_numpy())
    assert np.ptp(expected) > 0
    for same in (queries, queries[["c", "a", "b"]], queries.assign(label=0.0)):
        np.testing.assert_allclose(_changes(m, same), expected, rtol=1e-8, atol=1e-12)
    for wrong in (
        queries.rename(columns={"a": "z"}),
        queries[["a", "b"]],
        queries * np.nan,
        queries * np.inf,
        queries.astype(str) + "x",
    ):
        with pytest.raises(DataError):
            mm.influence_on(m, wrong)


@pytest.mark.parametrize("name", [name for name in MAPS if name != "network"])
@pytest.mark.filterwarnings("ignore")
def test_complex_numbers_are_refused(name):
    with pytest.raises(DataError, match="complex inputs"):
        mm.influence_on(MAPS[name](), FRAME[:3].to_numpy() + 1j)


def _subjects():
    frame = FRAME.assign(
        time=_RNG.exponential(size=60), event=1, g=list("xyz") * 20, number=NUMBER, label=CLASS, grade=CLASS
    )
    return frame.assign(grade=CLASS + (NUMBER > 1))


FORMULAS = {
    "OLS": lambda frame: smf.ols("number ~ center(a) + np.exp(c) + C(g)", frame).fit(),
    "Poisson": lambda frame: smf.glm("grade ~ b * a", frame, family=sm.families.Poisson()).fit(),
    "splines": lambda frame: smf.ols("number ~ bs(a, 4) + b", frame).fit(),
    "logit": lambda frame: smf.logit("label ~ b + g", frame).fit(disp=0),
    "ordered": lambda frame: OrderedModel.from_formula("grade ~ b + g", frame).fit(disp=0),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_a_formulas_variables_become_its_design(name):
    frame = _subjects()
    fit = FORMULAS[name](frame)
    m = mm.memory_map(fit)
    rows = [5, 40, 7]
    expected = _changes(m, np.asarray(fit.model.exog)[rows])
    np.testing.assert_allclose(_changes(m, frame.iloc[rows][list(frame.columns[::-1])]), expected, rtol=1e-10)
    with pytest.raises(DataError, match="cannot be applied to these inputs"):
        mm.influence_on(m, frame.iloc[rows][["time"]])
    with pytest.raises(DataError, match="cannot be applied to these inputs"):
        mm.influence_on(m, frame.iloc[rows].assign(a=np.nan, b=np.nan))


def test_a_level_that_the_fit_had_not_is_refused():
    frame = _subjects()
    m = mm.memory_map(FORMULAS["logit"](frame))
    with pytest.raises(DataError, match="does not match any of the expected levels"):
        mm.influence_on(m, frame[:3].assign(g="new"))


def test_formulas_by_formulaic_are_applied_too():
    pytest.importorskip("formulaic")
    pytest.importorskip("statsmodels", minversion="0.15")
    from statsmodels.formula import options

    frame, rows = _subjects(), [5, 40, 7]
    before, options.formula_engine = options.formula_engine, "formulaic"
    try:
        fit = smf.ols("number ~ center(a) + C(g)", frame).fit()
    finally:
        options.formula_engine = before
    m = mm.memory_map(fit)
    expected = _changes(m, np.asarray(fit.model.exog)[rows])
    np.testing.assert_allclose(_changes(m, frame.iloc[rows]), expected, rtol=1e-10)
    with pytest.raises(DataError, match="have missing values"):
        mm.influence_on(m, frame.iloc[rows].assign(a=[1.0, np.nan, 2.0]))


def test_subjects_of_a_cox_regression_have_times_and_events_besides():
    frame = _subjects()
    m = mm.memory_map(sm.PHReg(frame["time"], FRAME, status=frame["event"]).fit())
    asked = frame[:3].assign(entry=0.0, stratum=0, offset=0.0)
    order = ["a", "b", "c", "time", "entry", "stratum", "offset", "event"]
    np.testing.assert_allclose(_changes(m, asked), _changes(m, asked[order].to_numpy()), rtol=1e-10)
    with pytest.raises(DataError, match="lack columns the model was fitted on"):
        mm.influence_on(m, FRAME[:3])
    with pytest.raises(DataError, match="the model was fitted on"):
        mm.influence_on(m, FRAME[:3].to_numpy())
