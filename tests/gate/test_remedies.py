"""What a refusal says to type instead is typed here: each remedy runs, and gives what was wanted."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.ensemble import RandomForestRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, PoissonRegressor, Ridge
from sklearn.naive_bayes import GaussianNB

import memorymaps as mm
from memorymaps import measures
from memorymaps.analysis.cleanlab import for_cleanlab
from memorymaps.analysis.scale_refitted import loo_loss_scale_refitted

RNG = np.random.default_rng(0)
N = 40
X = RNG.normal(size=(N, 3))
Y = X @ [1.0, -0.5, 0.2] + 0.3 * RNG.normal(size=N)
BITS = (Y > 0).astype(int)
RIDGE, LOGISTIC = Ridge(1.0).fit(X, Y), LogisticRegression(tol=1e-8).fit(X, BITS)
M = mm.memory_map(RIDGE, X, Y)


@pytest.fixture
def read(tmp_path):
    M.save(tmp_path / "m.parquet")
    return mm.load(tmp_path / "m.parquet")


def refused(act, words, kind=Exception):
    with pytest.raises(kind, match=words):
        act()


FROM_DISK = {
    "leave_out": lambda m: m.leave_out({"a": [0, 1]})["sensitivity"],
    "dfbeta": measures.dfbeta,
    "cross_fit": lambda m: m.leave_one_out(cross_fit=5).loo_loss,
    "refit": lambda m: mm.refit(m, top=2)["deviation"],
    "retrain_check": lambda m: mm.retrain_check(m, lambda removed, wanted: refitted(removed, wanted), k=4).slope,
}


def refitted(removed, wanted):
    kept = np.setdiff1d(np.arange(N), removed)
    return Ridge(1.0).fit(X[kept], Y[kept]).predict(X[wanted])[:, None]


@pytest.mark.parametrize("name", FROM_DISK)
def test_a_map_read_from_disk_needs_the_one_in_memory(name, read):
    refused(lambda: FROM_DISK[name](read), "read from disk has none")
    value = FROM_DISK[name](M)
    assert np.all(np.isfinite(value() if callable(value) else value))


def test_comparing_maps_of_corrected_targets(tmp_path):
    corrected = Y.copy()
    corrected[3] += 5
    model = Ridge(1.0).fit(X, corrected)
    other = mm.memory_map(model, X, corrected)
    refused(lambda: mm.compare(M, other), r"compare\(a, b, targets_changed=True\)", ValueError)
    assert len(mm.compare(M, other, targets_changed=True)) == N
    refused(
        lambda: M.explore(tmp_path / "a.html", compare=other), r"ids=\[f'row \{i\}' for i in range\(n\)\]", ValueError
    )
    names = [f"row {i}" for i in range(N)]
    a, b = mm.memory_map(RIDGE, X, Y, ids=names), mm.memory_map(model, X, corrected, ids=names)
    a.explore(tmp_path / "a.html", compare=b)
    assert (tmp_path / "a.html").stat().st_size > 0
    with pytest.raises(ValueError, match="targets differ") as error:
        M.explore(tmp_path / "b.html", compare=other)
    assert "targets_changed" not in str(error.value)


def test_ids_that_differ_in_kind_or_repeat():
    names = [f"row {i}" for i in range(N)]
    refused(lambda: mm.compare(M, mm.memory_map(RIDGE, X, Y, ids=names)), r"pass memory_map\(…, ids=…\)", ValueError)
    assert len(mm.compare(mm.memory_map(RIDGE, X, Y, ids=names), mm.memory_map(RIDGE, X, Y, ids=names))) == N
    others = mm.memory_map(RIDGE, X, Y, ids=np.arange(N) + 1000)
    refused(lambda: mm.compare(M, others), "no id in common.*ids=…", ValueError)
    refused(lambda: mm.memory_map(RIDGE, X, Y, ids=["same"] * N), rf"ids=range\({N}\)")
    assert mm.memory_map(RIDGE, X, Y, ids=range(N))["id"][3] == 3


def test_data_and_model_that_have_changed():
    x = X.copy()
    model = Ridge(1.0).fit(x, Y)
    m = mm.memory_map(model, x, Y)
    model.fit(x, Y + x[:, 0] ** 2)
    refused(lambda: m.leave_out({"a": [0]}), r"draw the map again: memory_map")
    assert mm.memory_map(model, x, Y + x[:, 0] ** 2).leave_out({"a": [0]})["size"][0] == 1


def one_hot_map():
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    words = pd.DataFrame(
        {"colour": np.array(["red", "blue"])[BITS], "size": np.array(["s", "m", "l"])[np.arange(N) % 3]}
    )
    return mm.memory_map(make_pipeline(OneHotEncoder(), Ridge()).fit(words, Y), words, Y)


CALLS = {
    "targets": (lambda: mm.memory_map(RIDGE, X), r"memory_map\(model, X, y\)", lambda: mm.memory_map(RIDGE, X, Y)),
    "estimator": (
        lambda: mm.memory_map(RIDGE, X, Y, change="linearised"), "estimator='cavity', change='linearised'",
        lambda: mm.memory_map(RIDGE, X, Y, estimator="cavity", change="linearised"),
    ),
    "likelihood": (
        lambda: mm.memory_map(RIDGE, X, Y, likelihood="gaussian"), "leave out likelihood=",
        lambda: mm.memory_map(RIDGE, X, Y),
    ),
    "offset": (
        lambda: mm.memory_map(RIDGE, X, Y, offset=np.full(N, np.nan)), "0 where there is no offset",
        lambda: mm.memory_map(RIDGE, X, Y, offset=np.zeros(N)),
    ),
    "rows": (
        lambda: mm.memory_map(RIDGE, X, Y, rows=[N]), f"positions from 0 to {N - 1}",
        lambda: mm.memory_map(RIDGE, X, Y, rows=[N - 1]),
    ),
    "out_of_bag": (
        lambda: mm.memory_map(RIDGE, X, Y, estimator="out_of_bag"), "leave estimator out",
        lambda: mm.memory_map(RandomForestRegressor(20, random_state=0).fit(X, Y), X, Y),
    ),
    "not a number": (
        lambda: mm.memory_map(RIDGE, np.where(X > 2, np.nan, X), Y), "drop or impute",
        lambda: mm.memory_map(RIDGE, np.nan_to_num(X), Y),
    ),
    "text column": (
        lambda: mm.memory_map(RIDGE, np.array([["a", "b", "c"]] * N), Y), "OneHotEncoder in a Pipeline", one_hot_map,
    ),
    "polish": (
        lambda: mm.memory_map(RandomForestRegressor(5, random_state=0).fit(X, Y), X, Y, polish=True),
        "no Newton steps to make",
        lambda: mm.memory_map(LogisticRegression(tol=1e-8, max_iter=10_000).fit(X, BITS), X, BITS, polish=True),
    ),
    "refine": (
        lambda: mm.refine(M), "as networks with approximate curvature can be", lambda: mm.refit(M),
    ),
    "jobs": (lambda: mm.refit(M, jobs=0), "expected a positive whole number", lambda: mm.refit(M, top=2, jobs=2)),
    "cleanlab": (
        lambda: for_cleanlab(M), "needs a classifier's", lambda: for_cleanlab(mm.memory_map(LOGISTIC, X, BITS)),
    ),
    "scale": (
        lambda: loo_loss_scale_refitted(M), "the column loo_loss", lambda: M["loo_loss"],
    ),
    "trust": (lambda: M.trust["colour"], "Expected one of leverage", lambda: M.trust["leverage"]),
    "groups": (
        lambda: M.leave_out({"all": np.arange(N)}), "expected some, not all",
        lambda: M.leave_out({"a": np.arange(N - 1)}),
    ),
    "labels": (lambda: M.leave_out(["a"]), f"one for each of {N}", lambda: M.leave_out(np.array(["a", "b"])[BITS])),
    "sort": (lambda: M.top(3, by="colour"), "expected", lambda: M.top(3, by="loo_loss")),
    "gp offset": (
        lambda: mm.memory_map(GaussianProcessRegressor(alpha=0.1).fit(X, Y), X, Y, offset=np.ones(N)),
        "fit the residuals instead",
        lambda: mm.memory_map(GaussianProcessRegressor(alpha=0.1).fit(X, Y - 1), X, Y - 1),
    ),
    "negative counts": (
        lambda: mm.memory_map(PoissonRegressor().fit(X, BITS), X, BITS - 5), "≥ 0 for Poisson",
        lambda: mm.memory_map(PoissonRegressor().fit(X, BITS), X, BITS),
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CALLS)
def test_what_a_message_says_to_type_works(name):
    wrong, words, right = CALLS[name]
    refused(wrong, words)
    assert right() is not None


def test_an_unknown_model_can_be_registered():
    refused(lambda: mm.memory_map(GaussianNB().fit(X, BITS), X, BITS), "@memorymaps.posterior.register", TypeError)


def test_sparse_inputs_and_several_outputs():
    assert mm.memory_map(LinearRegression().fit(X, Y), sparse.csr_matrix(X), Y)["leverage"].sum() == pytest.approx(4)
    several = mm.memory_map(LogisticRegression().fit(X, np.arange(N) % 3), X, np.arange(N) % 3)
    refused(lambda: measures.hat_values(several), "one output", ValueError)
