"""Pictures without a screen, and maps that many tests read."""

import matplotlib
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from memorymaps import memory_map
from memorymaps.datasets import demo_model

matplotlib.use("Agg")


@pytest.fixture(scope="session")
def diabetes_map():
    X, y = load_diabetes(return_X_y=True)
    return memory_map(LinearRegression().fit(X, y), X, y)


@pytest.fixture(scope="session")
def cancer_map():
    X, y = load_breast_cancer(return_X_y=True)
    return memory_map(make_pipeline(StandardScaler(), LogisticRegression(tol=1e-8)).fit(X, y), X, y)


@pytest.fixture(scope="session")
def digits_map():
    return memory_map(*demo_model())
