"""Registrations of one's own: they hold whenever they are made, load nothing else, and can be undone."""

import subprocess
import sys

import pytest
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Lasso, Ridge

import memorymaps as mm
from memorymaps.posteriors.registry import LazyDispatch


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.slow
@pytest.mark.parametrize("dispatch", ["posterior", "training_data"])
def test_a_registration_made_before_the_first_map_is_not_replaced(dispatch):
    calls = f"""
import memorymaps as mm
from sklearn.linear_model import Ridge, Lasso
@mm.{dispatch}.register(Ridge)
def _(model, examples):
    raise SystemExit(print("own", type(model).__name__))
mm.memory_map(Lasso(alpha=0.01).fit([[0.0], [1.0], [3.0]], [0.0, 1.0, 2.0]), [[0.0], [1.0], [3.0]], [0.0, 1.0, 2.0])
class Mine(Ridge): pass
mm.memory_map(Mine().fit([[0.0], [1.0], [3.0]], [0.0, 1.0, 2.0]), [[0.0], [1.0], [3.0]], [0.0, 1.0, 2.0])
"""
    assert run(calls) == ["own", "Mine"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["class Mine: pass", "from sklearn.linear_model import Ridge as Mine"])
def test_a_registration_loads_no_library_of_other_classes(kind):
    loaded = f"""
import sys, memorymaps as mm
{kind}
mm.posterior.register(Mine)(lambda model, examples: None)
print(*(name for name in ("torch", "statsmodels", "xgboost", "lightgbm", "catboost") if name in sys.modules), "end")
"""
    assert run(loaded) == ["end"]


def test_a_registration_is_undone_and_the_adapter_of_the_package_is_back():
    X, y = load_diabetes(return_X_y=True)
    model = Ridge(alpha=0.1).fit(X, y)
    before = mm.memory_map(model, X, y)

    @mm.posterior.register(Ridge)
    def _(model, examples):
        raise NotImplementedError("own")

    with pytest.raises(NotImplementedError, match="own"):
        mm.memory_map(model, X, y)
    mm.posterior.unregister(Ridge)
    assert mm.memory_map(model, X, y).table.equals(before.table)
    assert len(mm.memory_map(Lasso(alpha=0.1).fit(X, y), X, y)) == len(X)


def test_nothing_to_undo_is_said_with_what_there_is():
    @LazyDispatch
    def of(model):
        return "default"

    with pytest.raises(ValueError, match="nothing is registered for int: expected one of the classes none"):
        of.unregister(int)
    of.register(float)(lambda model: "float")
    with pytest.raises(ValueError, match="nothing is registered for int: expected one of the classes float"):
        of.unregister(int)
    of.unregister(float)
    assert (of(1.0), of.is_registered(1.0), of.registered_classes()) == ("default", False, [])
