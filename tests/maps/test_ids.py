"""Ids join by value in whatever type they come; every remedy that a message about ids names is run here."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from sklearn.linear_model import LinearRegression, LogisticRegression
from statsmodels.duration.hazard_regression import PHReg
from statsmodels.miscmodels.ordinal_model import OrderedModel

import memorymaps as mm
from memorymaps.data.examples import DataError

RNG = np.random.default_rng(8)
N = 20
X = RNG.normal(size=(N, 2))
Y = X @ [1.0, 2.0] + RNG.normal(size=N)
MODEL = LinearRegression().fit(X, Y)
BIG = 2**63
TWICE = pd.DataFrame({"x": X[:, 0], "z": X[:, 1], "y": Y}, index=list("abcdefghij") * 2)


def drawn(ids):
    return mm.memory_map(MODEL, X, Y, ids=ids)


KINDS = {
    "uint64": np.arange(N, dtype=np.uint64) + np.uint64(BIG),
    "small uint64": np.arange(N, dtype=np.uint64),
    "python integers": [*range(1, N), BIG + 1],
    "range": range(BIG, BIG + N),
    "index": pd.Index(np.arange(N, dtype=np.uint64) + np.uint64(BIG)),
    "nullable": pd.array(range(5, N + 5), dtype="UInt64"),
    "negative": np.arange(N) - BIG // 2,
    "text": [f"{k:05d}" for k in range(N)],
    "floats": np.arange(N) + 0.5,
    "dates": pd.date_range("2020-01-01", periods=N),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_ids_of_every_kind_are_kept_and_found(kind, tmp_path):
    ids = KINDS[kind]
    m = mm.load(drawn(ids).save(tmp_path / "m.parquet"))
    assert [str(value) for value in m["id"].tolist()] == [str(value) for value in ids]
    for some in ([5, 2], [0, N - 1], [N - 1]):
        wanted = [ids[k] for k in some]
        assert m.select(wanted)["row"].tolist() == some
        assert m.select([str(value) for value in wanted])["row"].tolist() == some
        np.testing.assert_array_equal(drawn(ids).leave_out({"g": wanted})["size"], len(some))


@pytest.mark.parametrize("size", [3, N])
def test_unsigned_ids_of_a_file_and_of_a_loader_do_not_wrap(size, tmp_path):
    torch = pytest.importorskip("torch")
    ids = np.array([*range(N - 1), BIG + 1], dtype=np.uint64)
    pq.write_table(pa.table({"a": X[:, 0], "b": X[:, 1], "y": Y, "id": ids}), tmp_path / "t.parquet")
    data = mm.ParquetExamples(tmp_path / "t.parquet", target="y", id="id", batch_size=size)
    plain = LinearRegression().fit(pd.DataFrame(X, columns=["a", "b"]), Y)
    assert mm.memory_map(plain, data)["id"].tolist() == [str(value) for value in ids]
    batches = [
        (torch.tensor(X[k : k + size]).float(), torch.tensor(Y[k : k + size]).float(), ids[k : k + size])
        for k in range(0, N, size)
    ]
    recipe = mm.Laplace("full", prior=1.0)
    m = mm.memory_map(torch.nn.Linear(2, 1), batches, likelihood="gaussian", posterior=recipe)
    assert m["id"].tolist() == [str(value) for value in ids]


def test_text_ids_are_as_written():
    m = drawn([f"{k:05d}" for k in range(N)])
    with pytest.raises(KeyError, match="41"):
        m.select([41])
    with pytest.raises(KeyError, match="'3'"):
        m.select(["3"])
    assert m.select(["00003"])["row"].tolist() == [3]
    with pytest.raises(KeyError, match=r"\[True\]"):
        drawn(None).select([True])


# --- ids that occur twice --------------------------------------------------------------------------------------------

CARRIED = {
    "ols": lambda d: smf.ols("y ~ x", d).fit(),
    "glm": lambda d: smf.glm("y ~ x", d).fit(),
    "poisson": lambda d: smf.poisson("k ~ x", d.assign(k=np.arange(N) % 4)).fit(disp=0),
    "logit": lambda d: smf.logit("k ~ x", d.assign(k=np.arange(N) % 2)).fit(disp=0),
    "ordered": lambda d: OrderedModel(pd.Series(np.arange(N) % 3, d.index), d[["x"]]).fit(method="bfgs", disp=0),
    "survival": lambda d: PHReg(pd.Series(np.exp(d["y"]), d.index), d[["x"]]).fit(),
}


@pytest.mark.parametrize("name", CARRIED)
def test_a_model_that_carries_a_repeated_index_takes_other_ids(name):
    results = CARRIED[name](TWICE)
    with pytest.raises(DataError, match=rf"'a' occurs 2 times. Pass memory_map\(…, ids=…\).*ids=range\({N}\)"):
        mm.memory_map(results)
    m = mm.memory_map(results, ids=range(N))  # the remedy
    assert m["id"].tolist() == list(range(N))
    other = mm.memory_map(CARRIED[name](TWICE.reset_index(drop=True)))
    np.testing.assert_allclose(m["leverage"], other["leverage"], rtol=1e-9)
    with pytest.raises(ValueError, match=r"memory_map\(results, ids=…\)"):
        mm.memory_map(results, TWICE[["x"]], TWICE["y"], ids=range(N))
    with pytest.raises(DataError, match="ids has 3 rows"):
        mm.memory_map(results, ids=range(3))


def test_a_data_frame_with_a_repeated_index_takes_other_ids():
    model = LinearRegression().fit(TWICE[["x", "z"]], TWICE["y"])
    with pytest.raises(DataError, match=rf"ids=range\({N}\)"):
        mm.memory_map(model, TWICE[["x", "z"]], TWICE["y"])
    assert len(mm.memory_map(model, TWICE[["x", "z"]], TWICE["y"], ids=range(N))) == N


def test_results_without_their_data_say_so_whatever_is_passed():
    results = smf.ols("y ~ x", TWICE.reset_index()).fit()
    results.remove_data()
    for given in ((), (sm.add_constant(X[:, :1]), Y)):
        with pytest.raises(ValueError, match="draw the map before, or fit again"):
            mm.memory_map(results, *given)


def test_an_unsupported_model_is_not_asked_for_its_data():
    results = smf.ols("y ~ x", TWICE.reset_index()).fit_regularized(alpha=0.1, L1_wt=0)
    for given in ((), (X[:, :1], Y)):
        with pytest.raises(mm.UnsupportedModelError, match="penalty"):
            mm.memory_map(results, *given)


# --- comparing maps --------------------------------------------------------------------------------------------------


def test_maps_joined_by_row_numbers_must_have_the_same_targets():
    a = drawn(None)
    order = RNG.permutation(N)
    b = mm.memory_map(MODEL, X[order], Y[order])
    with pytest.raises(
        ValueError, match=rf"joined by row numbers, and \d+ of {N} targets differ.*targets_changed=True"
    ):
        mm.compare(a, b)
    names = np.array([f"house {k}" for k in range(N)])
    joined = mm.compare(drawn(names), mm.memory_map(MODEL, X[order], Y[order], ids=names[order]))  # a remedy
    assert joined.slope() == pytest.approx(1)
    corrected = Y.copy()
    corrected[3] += 5
    c = mm.memory_map(LinearRegression().fit(X, corrected), X, corrected)
    with pytest.raises(ValueError, match=f"1 of {N} targets differ"):
        mm.compare(a, c)
    assert len(mm.compare(a, c, targets_changed=True)) == N  # the other remedy


@pytest.mark.parametrize(
    "change", [lambda y: y.astype(np.float32), lambda y: (y - y.mean()) / y.std(), lambda y: -3 * y]
)
def test_the_same_targets_in_other_units_are_the_same(change):
    other = change(Y)
    assert len(mm.compare(drawn(None), mm.memory_map(LinearRegression().fit(X, other), X, other))) == N


def test_the_same_classes_under_other_names_are_the_same(tmp_path):
    x = RNG.normal(size=(60, 2))
    codes = np.digitize(x[:, 0] + RNG.normal(size=60), [-0.5, 0.5])
    names = np.array(["c", "a", "b"])[codes]
    a, b = (mm.memory_map(LogisticRegression().fit(x, y), x, y) for y in (codes, names))
    assert len(mm.compare(a, b)) == 60
    names[0] = "a" if names[0] != "a" else "b"
    c = mm.memory_map(LogisticRegression().fit(x, names), x, names)
    with pytest.raises(ValueError, match="targets differ"):
        mm.compare(a, c)
    with pytest.raises(ValueError, match="targets differ"):
        a.explore(tmp_path / "page.html", compare=c)


def test_maps_without_a_common_id_or_kind_of_id_say_what_to_pass():
    with pytest.raises(ValueError, match=r"ids of different kinds.*ids=…"):
        mm.compare(drawn(None), drawn(list("abcdefghijklmnopqrst")))
    with pytest.raises(ValueError, match=r"no id in common: \[0, 1\] … and \[100, 101\]"):
        mm.compare(drawn(None), drawn(range(100, 100 + N)))
