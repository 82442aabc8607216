"""scikit-learn's estimators with their defaults: alone on raw columns, and behind a `StandardScaler`."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
import pandas as pd
import tables
from sklearn import datasets
from sklearn import ensemble as en
from sklearn import gaussian_process as gp
from sklearn import linear_model as lm
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.gaussian_process.kernels import RBF, WhiteKernel
from sklearn.kernel_ridge import KernelRidge
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import MultiOutputClassifier, MultiOutputRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, PolynomialFeatures, StandardScaler
from sklearn.svm import SVC, SVR, LinearSVC, LinearSVR
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from ordinary.use import NEARBY, OWN, Use, estimator_use

# --- data ----------------------------------------------------------------------------------------------------------


def raw(name: str, every: int = 1):
    """A bundled data set as it comes."""

    def load():
        x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
        return x[::every], y[::every]

    return load


def table(name: str, columns: list[str], target: str, every: int = 1, scale: float = 1.0):
    """Numeric columns of a table."""

    def load():
        d = tables.table(name, every).dropna(subset=[*columns, target])
        return d[columns].to_numpy(float), d[target].to_numpy(float) / scale

    return load


HOUSE = ["median_income", "housing_median_age", "total_rooms", "population", "households", "latitude", "longitude"]


def births():
    d = tables.table("birthwt.csv")
    return d[["age", "lwt", "smoke", "ht", "ui", "ptl"]].to_numpy(float), d["low"].to_numpy()


def spam():
    d = tables.table("spambase.parquet", 10)
    return d.iloc[:, :57].to_numpy(float), d.iloc[:, 57].to_numpy(int)


def interlocks():
    d = tables.table("ornstein.csv")
    return np.column_stack([np.log(d["assets"]), pd.get_dummies(d["nation"]).to_numpy(float)]), d["interlocks"]


CLASSES = {
    "cancer": raw("breast_cancer"),
    "wine": raw("wine"),
    "iris": raw("iris"),
    "births": births,
    "spam": spam,
    "digits": raw("digits", 4),
}
NUMBERS = {
    "diabetes": raw("diabetes"),
    "houses": table("california_housing.parquet", HOUSE, "median_house_value", 60, 1e5),
    "prestige": table("prestige.csv", ["education", "income", "women"], "prestige"),
    "diamonds": table("diamonds.parquet", ["carat", "depth", "table"], "price", 150),
    "bikes": table("bike_sharing_hour.parquet", ["temp", "hum", "windspeed", "hr"], "registered", 40),
    "savings": table("life_cycle_savings.csv", ["pop15", "pop75", "dpi", "ddpi"], "sr"),
}
COUNTS = {"bikes": NUMBERS["bikes"], "interlocks": interlocks}
POSITIVE = {"diabetes": NUMBERS["diabetes"], "diamonds": NUMBERS["diamonds"]}

# --- estimators ------------------------------------------------------------------------------------------------------

REGRESSORS = (
    lm.LinearRegression, lm.Ridge, lm.RidgeCV, lm.Lasso, lm.LassoCV, lm.ElasticNet, lm.ElasticNetCV, lm.HuberRegressor,
    lm.QuantileRegressor, lm.SGDRegressor, LinearSVR, SVR, KernelRidge,
)  # fmt: skip
CLASSIFIERS = (lm.LogisticRegression, lm.LogisticRegressionCV, lm.SGDClassifier, LinearSVC, SVC)
SEEDED = (lm.SGDRegressor, lm.SGDClassifier, LinearSVR, LinearSVC)
SCALED_ONLY = (SVR, KernelRidge, SVC, LinearSVR)  # on raw columns of many units: no refit of LinearSVR converges
TREES = {
    "classes": (
        DecisionTreeClassifier, en.RandomForestClassifier, en.ExtraTreesClassifier, en.GradientBoostingClassifier,
        en.HistGradientBoostingClassifier,
    ),
    "numbers": (
        DecisionTreeRegressor, en.RandomForestRegressor, en.ExtraTreesRegressor, en.GradientBoostingRegressor,
        en.HistGradientBoostingRegressor,
    ),
}  # fmt: skip


def _made(kind, **options):
    seed = {"random_state": 0} if kind in SEEDED else {}
    return kind(**options, **seed)


def _scaled(kind, **options):
    return make_pipeline(StandardScaler(), _made(kind, **options))


def linear() -> Iterator[Use]:
    """Linear and kernel estimators × data sets, raw and scaled."""
    for kinds, sets in ((REGRESSORS, NUMBERS), (CLASSIFIERS, CLASSES)):
        for kind in kinds:
            for name, data in sets.items():
                yield estimator_use(f"scaled {kind.__name__} {name}", "linear", functools.partial(_scaled, kind), data)
                if kind not in SCALED_ONLY:
                    yield estimator_use(f"{kind.__name__} {name}", "linear", functools.partial(_made, kind), data)


def glms() -> Iterator[Use]:
    """GLM regressors, `log_loss` by SGD, an elastic net by saga."""
    sets = {lm.PoissonRegressor: COUNTS, lm.GammaRegressor: POSITIVE, lm.TweedieRegressor: POSITIVE}
    for kind, data_sets in sets.items():
        for name, data in data_sets.items():
            yield estimator_use(f"scaled {kind.__name__} {name}", "linear", functools.partial(_scaled, kind), data)
    for name in ("cancer", "births", "spam"):
        log_loss = functools.partial(_scaled, lm.SGDClassifier, loss="log_loss")
        yield estimator_use(f"scaled SGDClassifier log_loss {name}", "linear", log_loss, CLASSES[name])
        saga = functools.partial(_scaled, lm.LogisticRegression, solver="saga")
        yield estimator_use(f"scaled LogisticRegression saga {name}", "linear", saga, CLASSES[name])


def kernels() -> Iterator[Use]:
    """Other kernels of SVMs; Gaussian processes with the kernels of the documentation."""
    for name in ("cancer", "iris", "births"):
        for kernel in ("linear", "poly"):
            make = functools.partial(_scaled, SVC, kernel=kernel)
            yield estimator_use(f"scaled SVC {kernel} {name}", "kernels", make, CLASSES[name])
    for name in ("diabetes", "prestige", "savings", "houses"):
        rbf = functools.partial(_scaled, KernelRidge, kernel="rbf")
        yield estimator_use(f"scaled KernelRidge rbf {name}", "kernels", rbf, NUMBERS[name])
        noisy = functools.partial(_scaled, gp.GaussianProcessRegressor, kernel=RBF() + WhiteKernel(), normalize_y=True)
        yield estimator_use(f"scaled GaussianProcessRegressor {name}", "kernels", noisy, NUMBERS[name])
    for name in ("births", "cancer"):
        make = functools.partial(_scaled, gp.GaussianProcessClassifier, kernel=1.0 * RBF(1.0))
        data = CLASSES[name] if name == "births" else raw("breast_cancer", 4)
        yield estimator_use(f"scaled GaussianProcessClassifier {name}", "kernels", make, data)


def trees() -> Iterator[Use]:
    """Trees, forests and boosting with their defaults."""
    for kind in TREES["classes"]:
        for name in ("cancer", "wine", "births"):
            yield estimator_use(f"{kind.__name__} {name}", "trees", functools.partial(kind, random_state=0),
                                CLASSES[name], truth=OWN)  # fmt: skip
    for kind in TREES["numbers"]:
        for name in ("diabetes", "prestige", "savings"):
            yield estimator_use(f"{kind.__name__} {name}", "trees", functools.partial(kind, random_state=0),
                                NUMBERS[name], truth=OWN)  # fmt: skip


def perceptrons() -> Iterator[Use]:
    """Multi-layer perceptrons, scaled, with Adam's default of 200 epochs and with L-BFGS."""
    for options in ({}, {"solver": "lbfgs", "max_iter": 2000, "hidden_layer_sizes": (8,), "alpha": 0.1}):
        solver = options.get("solver", "adam")
        for kind, sets, names in (
            (MLPClassifier, CLASSES, ("iris", "births", "wine")),
            (MLPRegressor, NUMBERS, ("savings", "prestige", "diabetes")),
        ):
            for name in names:
                make = functools.partial(_scaled, kind, random_state=0, **options)
                yield estimator_use(
                    f"scaled {kind.__name__} {solver} {name}", "perceptrons", make, sets[name], truth=NEARBY
                )


# --- wrappers and text -----------------------------------------------------------------------------------------------


def _two_targets():
    x, y = datasets.load_diabetes(return_X_y=True)
    return np.delete(x, 2, axis=1), np.column_stack([y, 1000 * x[:, 2]])


def _two_labels():
    x, y = datasets.load_wine(return_X_y=True)
    return StandardScaler().fit_transform(x[:, :8]), np.column_stack([y == 0, x[:, 12] > 700]).astype(int)


def _mixed_columns():
    d = tables.table("prestige.csv").dropna()
    return d[["education", "income", "women", "type"]], d["prestige"].to_numpy(float)


def _messages(rows: int):
    def load():
        d = pd.read_parquet(tables.TABULAR.parent / "text" / "sms_spam.parquet").iloc[:rows]
        return d["text"].to_numpy(), d["label"].to_numpy()

    return load


def _questions():
    d = pd.read_parquet(tables.TABULAR.parent / "text" / "trec.parquet").iloc[:400]
    return d["text"].to_numpy(), d["coarse"].to_numpy()


def _log_target(regressor):
    return TransformedTargetRegressor(make_pipeline(StandardScaler(), regressor), func=np.log1p, inverse_func=np.expm1)


def wrappers() -> Iterator[Use]:
    """Pipelines, searches, transformed targets, several targets."""
    columns = make_column_transformer((StandardScaler(), ["education", "income", "women"]), (OneHotEncoder(), ["type"]))
    for kind in (lm.Ridge, lm.LassoCV, SVR):
        make = lambda kind=kind: make_pipeline(columns, kind())  # noqa: E731
        yield estimator_use(f"columns + {kind.__name__} prestige", "wrappers", make, _mixed_columns)
    for kind in (lm.Ridge, lm.HuberRegressor, SVR):
        make = lambda kind=kind: _log_target(kind())  # noqa: E731
        yield estimator_use(f"log target {kind.__name__} diamonds", "wrappers", make, NUMBERS["diamonds"])
    for name in ("births", "cancer", "wine"):
        grid = lambda: GridSearchCV(_scaled(lm.LogisticRegression), {"logisticregression__C": [0.1, 1, 10]})  # noqa: E731
        yield estimator_use(f"search LogisticRegression {name}", "wrappers", grid, CLASSES[name])
        svc = lambda: GridSearchCV(_scaled(SVC), {"svc__C": [0.1, 1, 10]})  # noqa: E731
        yield estimator_use(f"search SVC {name}", "wrappers", svc, CLASSES[name])
        balanced = functools.partial(_scaled, lm.LogisticRegression, class_weight="balanced")
        yield estimator_use(f"balanced LogisticRegression {name}", "wrappers", balanced, CLASSES[name])
    for name in ("diabetes", "prestige", "diamonds"):
        make = lambda: make_pipeline(StandardScaler(), PolynomialFeatures(2), lm.Ridge())  # noqa: E731
        yield estimator_use(f"polynomials Ridge {name}", "wrappers", make, NUMBERS[name])
    for kind in (lm.Ridge, lm.LassoCV, lm.HuberRegressor, SVR):
        make = lambda kind=kind: MultiOutputRegressor(kind())  # noqa: E731
        yield estimator_use(f"two targets {kind.__name__} diabetes", "wrappers", make, _two_targets)
    for kind in (lm.LogisticRegression, SVC):
        make = lambda kind=kind: MultiOutputClassifier(kind())  # noqa: E731
        yield estimator_use(f"two labels {kind.__name__} wine", "wrappers", make, _two_labels)


def texts() -> Iterator[Use]:
    """Words of messages and questions."""
    for vectorizer in (TfidfVectorizer, CountVectorizer):
        every = lambda v=vectorizer: make_pipeline(v(), lm.LogisticRegression())  # noqa: E731
        yield estimator_use(f"{vectorizer.__name__} LogisticRegression messages", "text", every, _messages(400))
        for kind in (lm.SGDClassifier, LinearSVC, lm.LogisticRegressionCV):
            make = lambda v=vectorizer, kind=kind: make_pipeline(v(max_features=100), _made(kind))  # noqa: E731
            yield estimator_use(f"{vectorizer.__name__} {kind.__name__} 100 words", "text", make, _messages(400))
    few = lambda: make_pipeline(TfidfVectorizer(max_features=200), lm.LogisticRegression())  # noqa: E731
    yield estimator_use("TfidfVectorizer LogisticRegression questions", "text", few, _questions)
    yield estimator_use("TfidfVectorizer LogisticRegression 200 words", "text", few, _messages(1000))


SOURCES = (linear, glms, kernels, trees, perceptrons, wrappers, texts)
