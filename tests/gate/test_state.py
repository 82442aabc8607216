"""After the model or the data changed, nothing is computed from the map's parts any more."""

import copy
import functools

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import sparse
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeRegressor

import memorymaps as mm
from memorymaps.analysis import measures
from memorymaps.analysis.journal import JournalError
from memorymaps.analysis.recipe_fingerprint import fingerprint_of_function, same_function
from memorymaps.data.examples import DataError
from memorymaps.data.fingerprint import digest_of

rng = np.random.default_rng(0)
X = rng.normal(size=(80, 3))
Y = X @ [1.0, -2.0, 0.5] + rng.normal(size=80)


def _retrain(removed, wanted):
    return Ridge().fit(np.delete(X, removed, 0), np.delete(Y, removed)).predict(X[wanted])


LATER = {
    "leave_out": lambda m: m.leave_out({"g": [1, 2, 3]}),
    "retrain_check": lambda m: mm.retrain_check(m, _retrain, k=4),
    "dfbeta": lambda m: measures.dfbeta(m),
}
EDITS = {
    "one cell": lambda x, y: x.__setitem__((7, 1), 0.25),
    "scaled": lambda x, y: x.__imul__(2),
    "two rows swapped": lambda x, y: x.__setitem__([3, 5], x[[5, 3]]),
    "two columns swapped": lambda x, y: x.__setitem__((slice(None), [0, 1]), x[:, [1, 0]].copy()),
    "a target": lambda x, y: y.__setitem__(2, 9.0),
}


@pytest.mark.parametrize("later", LATER)
@pytest.mark.parametrize("edit", EDITS)
def test_data_that_were_edited_in_place_are_refused(later, edit):
    x, y = X.copy(), Y.copy()
    m = mm.memory_map(Ridge().fit(x, y), x, y)
    LATER[later](m)
    EDITS[edit](x, y)
    with pytest.raises(DataError, match=r"changed since the map was drawn.*memory_map"):
        LATER[later](m)


@pytest.mark.parametrize("later", LATER)
def test_a_refitted_estimator_is_refused_and_the_remedy_works(later):
    model = Ridge().fit(X, Y)
    m = mm.memory_map(model, X, Y)
    model.fit(X[:50], Y[:50])
    with pytest.raises(DataError, match=r"Ridge has changed since the map was drawn.*memory_map"):
        LATER[later](m)
    model.fit(X, Y)
    LATER[later](mm.memory_map(model, X, Y))


MODELS = {
    "pipeline": make_pipeline(StandardScaler(), Ridge()),
    "gaussian process": GaussianProcessRegressor(alpha=0.5, optimizer=None),
    "svc": SVC(),
    "logistic": LogisticRegression(),
    "tree": DecisionTreeRegressor(min_samples_leaf=3),
}


@pytest.mark.parametrize("name", MODELS)
def test_every_family_knows_its_parameters(name):
    y = (Y > 0) if name in ("svc", "logistic") else Y
    model = copy.deepcopy(MODELS[name]).fit(X, y)
    m, again = (mm.memory_map(model, X, y) for _ in range(2))
    assert m.provenance.model_state == again.provenance.model_state != ""
    m.origin.check_unchanged()
    other = np.roll(y, 1)
    model.fit(X, other)
    with pytest.raises(DataError, match="has changed"):
        m.origin.check_unchanged()


def test_hyperparameters_belong_to_the_state():
    model = SVC().fit(X, Y > 0)
    m = mm.memory_map(model, X, Y > 0)
    model.C = 100.0
    with pytest.raises(DataError, match="SVC has changed"):
        m.leave_out({"g": [1]})


def test_statsmodels_results_know_their_data():
    x = sm.add_constant(X)
    m = mm.memory_map(sm.OLS(Y, x).fit())
    m.leave_out({"g": [1]})
    x[4, 1] = 3.0
    with pytest.raises(DataError, match="inputs have changed"):
        m.leave_out({"g": [1]})


KINDS = {
    "array": lambda x: x,
    "float32": lambda x: x.astype(np.float32),
    "columns first": np.asfortranarray,
    "frame": lambda x: pd.DataFrame(x),
    "mixed frame": lambda x: pd.DataFrame({"a": x[:, 0], "b": [f"t{v:.3f}" for v in x[:, 1]], "c": x[:, 2] > 0}),
    "csr": sparse.csr_matrix,
    "csc": sparse.csc_matrix,
    "tuple": lambda x: (x[:, :1], x[:, 1:]),
    "mapping": lambda x: {"a": x[:, :1], "b": x[:, 1:]},
    "texts": lambda x: [f"{row[0]:.5f} {row[1]:.5f}" for row in x],
    "images": lambda x: np.stack([x, x], axis=1),
}


@pytest.mark.parametrize("kind", KINDS)
def test_fingerprints_see_every_kind_of_change(kind):
    make = KINDS[kind]
    assert digest_of(make(X)) == digest_of(make(X.copy()))
    for edit in ("one cell", "scaled", "two rows swapped"):
        x = X.copy()
        EDITS[edit](x, Y.copy())
        assert digest_of(make(x)) != digest_of(make(X)), edit


def test_the_same_numbers_in_both_memory_orders_have_one_fingerprint():
    assert digest_of(np.asfortranarray(X)) == digest_of(X)


def _journal(path, retrain, x=X):
    m = mm.memory_map(Ridge().fit(x, Y), x, Y)
    return mm.retrain_check(m, retrain, k=4, path=path)


def test_a_journal_of_another_function_or_other_inputs_is_refused(tmp_path):
    path = tmp_path / "retrain.jsonl"
    first = _journal(path, _retrain)
    np.testing.assert_array_equal(_journal(path, _retrain)["truth"], first["truth"])
    with pytest.raises(JournalError, match=r"the function retrain differs.*use another file, path="):
        _journal(path, lambda removed, wanted: _retrain(removed, wanted) + len(removed))

    @functools.wraps(_retrain)
    def logged(removed, wanted):
        return _retrain(removed, wanted)

    assert len(_journal(path, logged)) == 4
    x = X.copy()
    x[70] += 1e-6
    with pytest.raises(JournalError, match="inputs of the data differ"):
        _journal(path, _retrain, x)
    assert len(_journal(tmp_path / "other.jsonl", _retrain, x)) == 4


def test_functions_are_told_by_what_they_do():
    def make(scale, shift=0.0):
        return lambda removed, wanted: scale * wanted + shift

    same = fingerprint_of_function(make(2.0))
    assert fingerprint_of_function(make(2.0)) == same
    others = [make(3.0), make(2.0, 1.0), make(X), make(X + 1), functools.partial(make(2.0), 1), _retrain]
    found = [same, *(fingerprint_of_function(each) for each in others)]
    assert len(set(found)) == len(found)
    assert same_function(same, "2.7:0123")


def test_a_resumed_tracker_refuses_other_inputs_and_another_architecture(tmp_path):
    torch = pytest.importorskip("torch")
    x, y = torch.tensor(X, dtype=torch.float32), torch.tensor((Y > 0).astype(int))

    def record(hidden, inputs, start):
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Linear(3, hidden), torch.nn.Tanh(), torch.nn.Linear(hidden, 2))
        optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
        torch.nn.functional.cross_entropy(net(inputs), y).backward()
        optimizer.step()
        with mm.Tracker(net, optimizer, inputs, y, likelihood="categorical", path=tmp_path, start=start) as tracker:
            tracker.steps = start + 1
            tracker.record()

    record(4, x, 0)
    record(4, x, 1)
    with pytest.raises(DataError, match=r"inputs differ from.*Use another path="):
        record(4, x + 1, 2)
    with pytest.raises(DataError, match=r"the model is another.*22 parameters|the model is another.*Use another path="):
        record(5, x, 2)
