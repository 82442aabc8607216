"""scikit-learn's models, and boosted trees of other libraries with its interface."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
from families import (
    Family,
    estimator_family,
    log_outputs,
    log_probabilities,
    logit_probabilities,
)
from sklearn import ensemble as en
from sklearn import linear_model as lm
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, WhiteKernel
from sklearn.kernel_ridge import KernelRidge
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR, LinearSVC, LinearSVR
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn_versions import LASSO
from tables import Table

EXACT: dict[str, Any] = {"tol": 1e-10, "max_iter": 10_000}
NEWTON: dict[str, Any] = {"solver": "newton-cholesky", **EXACT}


def linear() -> Iterator[Family]:
    of = estimator_family
    yield of("least squares", lm.LinearRegression(), "real", offset=True)
    yield of("least squares of two", lm.LinearRegression(), "two columns")
    yield of("ridge", lm.Ridge(3.0), "real", penalty={"alpha": 60.0}, offset=True)
    yield of("ridge lsqr", lm.Ridge(3.0, solver="lsqr", tol=1e-12), "real", penalty={"alpha": 60.0})
    yield of("ridge cv", lm.RidgeCV([3.0]), "real", penalty={"alpha_": 60.0})
    yield of("lasso", lm.Lasso(0.05, **EXACT), "real", penalty={"alpha": 0.4})
    yield of("elastic net", lm.ElasticNet(0.1, **EXACT), "real", penalty={"alpha": 0.6})
    yield of("logistic", lm.LogisticRegression(**NEWTON), "two", penalty={"C": 0.02}, offset=True)
    yield of("logistic lbfgs", lm.LogisticRegression(tol=1e-9), "two", penalty={"C": 0.02})
    yield of(
        "logistic balanced", lm.LogisticRegression(class_weight={0: 1.0, 1: 3.0}, **NEWTON), "two", penalty={"C": 0.02}
    )
    yield of("softmax", lm.LogisticRegression(tol=1e-9, max_iter=5000), "three", penalty={"C": 0.02})
    yield of(
        "logistic l1", lm.LogisticRegression(**LASSO, solver="liblinear", C=0.5, tol=1e-10, max_iter=5000), "two",
        penalty={"C": 0.1},
    )  # fmt: skip
    yield of("poisson", lm.PoissonRegressor(alpha=0.02, **NEWTON), "count", log_outputs, penalty={"alpha": 1.0})
    yield of("gamma", lm.GammaRegressor(alpha=0.02, **NEWTON), "positive", log_outputs, penalty={"alpha": 1.0})
    yield of(
        "tweedie", lm.TweedieRegressor(power=1.5, alpha=0.02, **NEWTON), "positive", log_outputs,
        penalty={"alpha": 1.0},
    )  # fmt: skip
    yield of(
        "sgd logistic", lm.SGDClassifier(loss="log_loss", alpha=0.01, random_state=0), "two", sizes=False, noisy=True
    )
    yield of("sgd regression", lm.SGDRegressor(alpha=0.01, random_state=0), "real", sizes=False, noisy=True)


def robust() -> Iterator[Family]:
    of = estimator_family
    yield of("huber", lm.HuberRegressor(tol=1e-8, max_iter=1000), "real", sizes=False, penalty={"alpha": 5.0})
    yield of("quantile", lm.QuantileRegressor(alpha=0.0), "real", sizes=False)
    yield of("linear svc", LinearSVC(tol=1e-8, max_iter=10**6), "two", penalty={"C": 0.01})
    yield of("linear svc of three", LinearSVC(tol=1e-8, max_iter=10**6), "three", penalty={"C": 0.01})
    yield of("linear svr", LinearSVR(epsilon=0.1, tol=1e-8, max_iter=10**5), "real", sizes=False)


def kernels() -> Iterator[Family]:
    of = estimator_family
    yield of("svc", SVC(tol=1e-6, gamma=0.3), "two", penalty={"C": 0.05})
    yield of("svc of three", SVC(tol=1e-6, gamma=0.3, decision_function_shape="ovo"), "three", penalty={"C": 0.05})
    yield of("svr", SVR(tol=1e-6, gamma=0.3), "real", penalty={"C": 0.05})
    yield of("kernel ridge", KernelRidge(alpha=1.0, kernel="rbf", gamma=0.3), "real", penalty={"alpha": 20.0})
    yield of(
        "gp regression", GaussianProcessRegressor(RBF(2.0) + WhiteKernel(0.5), optimizer=None), "real", weighted=False,
        penalty={"alpha": 2.0},
    )  # fmt: skip
    yield of(
        "gp classes", GaussianProcessClassifier(RBF(2.0), optimizer=None), "two", gp_latent, weighted=False,
        coefficients=False,
    )  # fmt: skip


def gp_latent(model: Any, x: np.ndarray) -> np.ndarray:
    """The mode of the latent function: `k(x)ᵀ ∇ log p(y ∣ f)`."""
    base = model.base_estimator_
    return base.kernel_(base.X_train_, x).T @ (base.y_train_ - base.pi_)


def part_of_trees(name: str, estimator: Any, kind: str, outputs: Any = None, **facts: Any) -> Family:
    return estimator_family(name, estimator, kind, outputs, sizes=False, coefficients=False, **facts)


def trees() -> Iterator[Family]:
    of, facts = part_of_trees, {"ordered": True}
    yield of("tree of classes", DecisionTreeClassifier(min_samples_leaf=5, random_state=0), "three", proba)
    yield of("tree", DecisionTreeRegressor(min_samples_leaf=5, random_state=0), "real")
    yield of(
        "forest of classes", en.RandomForestClassifier(15, min_samples_leaf=3, random_state=0), "two", proba, **facts
    )
    yield of("forest", en.RandomForestRegressor(15, min_samples_leaf=3, random_state=0), "real", **facts)
    yield of("extra trees", en.ExtraTreesRegressor(15, min_samples_leaf=3, random_state=0), "real", **facts)
    yield of("boosting", en.GradientBoostingRegressor(n_estimators=10, random_state=0), "real")
    yield of("boosting of classes", en.GradientBoostingClassifier(n_estimators=10, random_state=0), "two")
    yield of("hist boosting", en.HistGradientBoostingRegressor(max_iter=10), "real")
    yield of("hist boosting of classes", en.HistGradientBoostingClassifier(max_iter=10), "three")


def proba(model: Any, x: np.ndarray) -> np.ndarray:
    return model.predict_proba(x)


def boosting_libraries() -> Iterator[Family]:
    of = part_of_trees
    if find_spec("lightgbm"):
        import lightgbm

        quiet = {"n_estimators": 10, "verbose": -1, "n_jobs": 1, "min_child_samples": 5}
        yield of("lightgbm", lightgbm.LGBMRegressor(**quiet), "real")
        yield of("lightgbm of classes", lightgbm.LGBMClassifier(**quiet), "two", logit_probabilities)
    if find_spec("xgboost"):
        import xgboost

        few = {"n_estimators": 10, "n_jobs": 1, "max_depth": 3}
        yield of("xgboost", xgboost.XGBRegressor(**few), "real")
        yield of("xgboost of classes", xgboost.XGBClassifier(**few), "three", log_probabilities)
    if find_spec("catboost"):
        import catboost

        options = {"iterations": 10, "verbose": 0, "thread_count": 1, "depth": 3, "allow_writing_files": False}
        yield of("catboost", catboost.CatBoostRegressor(**options), "real", ordered=True)


def wrapped() -> Iterator[Family]:
    of = functools.partial(estimator_family, coefficients=False)
    scaled = make_pipeline(StandardScaler(), lm.LogisticRegression(**NEWTON))
    yield of("pipeline", scaled, "two", weighted=False)
    yield of(
        "columns", make_pipeline(ColumnTransformer([("kept", "passthrough", [0, 2])]), lm.Ridge(3.0)), "real",
        weighted=False,
    )  # fmt: skip
    yield of("search", GridSearchCV(lm.Ridge(), {"alpha": [3.0]}, cv=3), "real")
    yield of("several outputs", MultiOutputRegressor(lm.Ridge(3.0)), "two columns")
    yield of(
        "transformed target",
        TransformedTargetRegressor(lm.Ridge(3.0), func=lambda y: y, inverse_func=lambda y: y),
        "real",
    )
    yield of("search of svc", GridSearchCV(SVC(tol=1e-6, gamma=0.3), {"C": [1.0]}, cv=3), "two")


def from_weights(model: Any, data: Table, total: float) -> Any:
    """A perceptron trained on from its weights; its penalty is one per example."""
    fresh = copy.deepcopy(model).set_params(warm_start=True, alpha=model.alpha)
    return fresh.fit(data.x, data.y)


FAMILIES = [*linear(), *robust(), *kernels(), *trees(), *boosting_libraries(), *wrapped()]
if find_spec("torch"):
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    TANH: dict[str, Any] = {
        "hidden_layer_sizes": (3,), "activation": "tanh", "solver": "lbfgs", "alpha": 1.0, "tol": 1e-9,
        "max_iter": 5000, "random_state": 0,
    }  # fmt: skip
    FACTS: dict[str, Any] = {
        "sizes": False, "weighted": False, "penalty": {"alpha": 30.0}, "refit": from_weights,
    }  # fmt: skip
    FAMILIES += [
        estimator_family("perceptron of classes", MLPClassifier(**TANH), "two", logit_probabilities, **FACTS),
        estimator_family("perceptron", MLPRegressor(**TANH), "real", **FACTS),
    ]
