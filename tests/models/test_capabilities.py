"""Every wrapper passes on every capability: the map of a wrapped estimator is the map of the estimator itself."""

import dataclasses
import functools

import numpy as np
import pytest
from sklearn.compose import TransformedTargetRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, WhiteKernel
from sklearn.linear_model import HuberRegressor, QuantileRegressor, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import MultiOutputRegressor
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import SVR

import memorymaps as mm
from memorymaps import measures
from memorymaps.posteriors.capabilities import Capabilities, capabilities_of

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3))
Y = X @ [1.0, -2.0, 0.5] + 0.3 * RNG.normal(size=40)
BARE = {
    "ridge": Ridge(alpha=0.5),
    "huber": HuberRegressor(alpha=0.1, tol=1e-8),
    "quantile": QuantileRegressor(alpha=0.01, solver="highs"),
    "svr": SVR(C=1.0, epsilon=0.05, tol=1e-8),
    "gp": GaussianProcessRegressor(RBF() + WhiteKernel(0.1), optimizer=None),
    "mlp": MLPRegressor(
        hidden_layer_sizes=(3,), alpha=0.1, activation="tanh", solver="lbfgs", max_iter=5000, tol=1e-12, random_state=0
    ),
}
WRAPPERS = {
    "pipeline": lambda bare: make_pipeline(FunctionTransformer(), bare),
    "nested": lambda bare: make_pipeline(FunctionTransformer(), make_pipeline(FunctionTransformer(), bare)),
    "search": lambda bare: GridSearchCV(bare, {}, cv=2),
    "target": lambda bare: TransformedTargetRegressor(bare, check_inverse=False),
    "outputs": lambda bare: MultiOutputRegressor(bare),
}


def mapped(model):
    y = Y[:, None] if isinstance(model, MultiOutputRegressor) else Y
    return mm.memory_map(model.fit(X, y), X, y)


@pytest.fixture(scope="module")
def bare():
    """The map of a bare estimator by its name; perceptrons need torch."""

    @functools.cache
    def of(name):
        if name == "mlp":
            pytest.importorskip("torch")
        return mapped(BARE[name])

    return of


@pytest.fixture(scope="module")
def wrapped():
    """The map of a wrapped estimator, by the names of both."""
    return functools.cache(lambda wrapper, name: mapped(WRAPPERS[wrapper](BARE[name])))


@pytest.fixture(scope="module")
def changed(bare):
    """Deviations of the bare perceptron, refined and refitted."""
    return {change: change(bare("mlp"), top=2)["deviation"] for change in (mm.refine, mm.refit)}


@pytest.mark.slow
@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("name", BARE)
def test_a_wrapped_estimator_has_the_map_of_the_estimator(bare, wrapped, name, wrapper):
    expected, m = bare(name), wrapped(wrapper, name)
    for column in ("leverage", "sensitivity", "loo_loss", "deviation"):
        np.testing.assert_allclose(m[column], expected[column], rtol=1e-9, atol=1e-12)
    assert m.table.column_names == expected.table.column_names
    assert offered(m) == offered(expected)


def offered(m):
    able = capabilities_of(m.origin.posterior)
    return {field.name for field in dataclasses.fields(Capabilities) if getattr(able, field.name) is not None}


@pytest.mark.slow
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_what_the_capabilities_give_is_the_same_behind_a_wrapper(bare, wrapped, wrapper):
    groups = np.arange(40) % 4
    ridge = wrapped(wrapper, "ridge")
    np.testing.assert_allclose(
        ridge.leave_out(groups)["rest_sensitivity"], bare("ridge").leave_out(groups)["rest_sensitivity"], rtol=1e-9
    )
    if wrapper != "outputs":  # several targets have no one list of parameters
        np.testing.assert_allclose(measures.dfbeta(ridge), measures.dfbeta(bare("ridge")), rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_wrapped_network_is_refined_and_refitted_as_the_network(changed, wrapped, wrapper):
    for change, expected in changed.items():
        np.testing.assert_allclose(change(wrapped(wrapper, "mlp"), top=2)["deviation"], expected, rtol=1e-6)


@pytest.mark.slow
def test_two_targets_are_refitted_together(torch):
    twice = np.column_stack([Y, Y])
    joint = mm.memory_map(MultiOutputRegressor(BARE["mlp"]).fit(X, twice), X, twice)
    alone = mapped(BARE["mlp"])
    for change in (mm.refine, mm.refit):
        found, expected = change(joint, top=2, by="leverage"), change(alone, top=2, by="leverage")
        np.testing.assert_allclose(found["deviation"][:, 0], expected["deviation"], rtol=1e-6)
        np.testing.assert_allclose(found["deviation"][:, 1], expected["deviation"], rtol=1e-6)
