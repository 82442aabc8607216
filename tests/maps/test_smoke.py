"""The README's first lines work."""

from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression

import memorymaps as mm


def test_one_call_draws_a_map():
    X, y = load_diabetes(return_X_y=True)
    m = mm.memory_map(LinearRegression().fit(X, y), X, y)
    assert abs(m["leverage"].sum() - 11) < 1e-10
