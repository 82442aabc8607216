"""Sparse formats, names and targets that data really have: a right map or a clear error."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, Ridge
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC
from sklearn_versions import RIDGE_BY_RATIO_CV

import memorymaps as mm
from memorymaps.cli.commands import main
from memorymaps.core.likelihoods.base import TargetError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3)) * (RNG.random((40, 3)) < 0.7)
Y = X @ [1.0, 2.0, 3.0] + RNG.normal(size=40)
LABELS = np.where(Y > 0, "yes", "no").astype(object)
RIDGE = Ridge(alpha=0.1).fit(X, Y)
FORMATS = [kind(X).asformat(name) for kind in (sp.csr_array, sp.csr_matrix)
           for name in ("csr", "csc", "coo", "bsr", "dia", "dok", "lil")]  # fmt: skip


# --- sparse --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", FORMATS, ids=[type(data).__name__ for data in FORMATS])
def test_every_sparse_format_gives_the_dense_map(data):
    want, m = mm.memory_map(RIDGE, X, Y), mm.memory_map(RIDGE, data, Y)
    np.testing.assert_allclose(m["leverage"], want["leverage"], rtol=1e-12)
    np.testing.assert_allclose(m["sensitivity"], want["sensitivity"], rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "target"),
    [
        (SVC(), LABELS),
        (RandomForestRegressor(5, random_state=0), Y),
        (MLPClassifier((3,), solver="lbfgs", max_iter=2000, random_state=0), LABELS),
    ],
)
def test_other_families_read_sparse_formats(model, target):
    if isinstance(model, MLPClassifier):
        pytest.importorskip("torch")  # perceptrons are mapped as torch modules
    model.fit(X, target)
    want = mm.memory_map(model, X, target)
    for data in (sp.coo_array(X), sp.dok_matrix(X)):
        np.testing.assert_allclose(mm.memory_map(model, data, target)["leverage"], want["leverage"], rtol=1e-9)


def test_networks_and_vectors_say_what_they_expect(torch):
    net = torch.nn.Linear(3, 2)
    with pytest.raises(mm.DataError, match=r"sparse csr_array, networks take dense arrays: pass X.toarray\(\)"):
        mm.memory_map(
            net, sp.coo_array(X), LABELS == "yes", likelihood="categorical", posterior=mm.Laplace("full", prior=1.0)
        )
    with pytest.raises(mm.DataError, match=r"sparse inputs of shape \(40,\)"):
        mm.memory_map(RIDGE, sp.coo_array(Y), Y)


# --- ids -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ids",
    [
        [2**63 + k for k in range(40)],
        [-(2**70) - k for k in range(40)],
        np.arange(40, dtype=np.uint64) + np.uint64(2**63),
        [f"{k:05d}" for k in range(40)],
        pd.Series([f"{k:05d}" for k in range(40)], dtype="string"),
        pd.MultiIndex.from_product([range(4), range(10)]),
    ],
)
def test_names_that_are_not_integers_of_64_bits_are_text(ids, tmp_path):
    m = mm.memory_map(RIDGE, X, Y, ids=ids)
    assert m["id"].tolist() == [str(value) for value in ids]
    assert mm.load(m.save(tmp_path / "m.parquet"))["id"].tolist() == m["id"].tolist()


@pytest.mark.parametrize("ids", [range(40), np.arange(40, dtype=np.uint8), pd.array(range(40), dtype="Int64")])
def test_integers_stay_integers(ids):
    m = mm.memory_map(RIDGE, X, Y, ids=ids)
    assert m["id"].dtype == np.int64
    assert m["id"].tolist() == list(range(40))


def test_unsigned_names_of_a_parquet_file_are_text_in_every_batch(tmp_path):
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    model = Ridge(alpha=0.1).fit(frame, Y)
    names = np.arange(40, dtype=np.uint64)
    names[30:] += np.uint64(2**63)
    frame.assign(y=Y, name=names).to_parquet(tmp_path / "t.parquet")
    data = mm.ParquetExamples(tmp_path / "t.parquet", target="y", id="name", batch_size=16)
    assert mm.memory_map(model, data)["id"].tolist() == [str(name) for name in names]


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA, pd.NaT, np.datetime64("NaT")])
def test_a_missing_id_is_refused(missing):
    with pytest.raises(mm.DataError, match="the id of row 2 is missing"):
        mm.memory_map(RIDGE, X, Y, ids=["a", "b", missing, *range(37)])


def test_ids_of_other_shapes_are_refused():
    with pytest.raises(mm.DataError, match=r"ids of shape \(40, 2\): expected one name an example, \(40,\)"):
        mm.memory_map(RIDGE, X, Y, ids=np.arange(80).reshape(40, 2))
    with pytest.raises(mm.DataError, match="the id of row 0 is a list"):
        mm.memory_map(RIDGE, X, Y, ids=[[k] for k in range(40)])
    with pytest.raises(mm.DataError, match="ids has 39 rows, the inputs have 40"):
        mm.memory_map(RIDGE, X, Y, ids=range(39))


def run(tmp_path, names, capsys, **columns):
    """Exit code, message and ids of the command line with a column of names."""
    table = tmp_path / "table.csv"
    table.write_text("\n".join(["name,a,y", *(f"{n},{a},{b}" for n, a, b in zip(names, X[:, 0], Y, strict=True))]))
    code = main(["map", str(table), "--target", "y", "--id", "name", "--out", str(tmp_path / "out")])
    return code, capsys.readouterr().err, None if code else mm.load(tmp_path / "out" / "map.parquet")["id"].tolist()


@pytest.mark.slow
def test_the_command_line_keeps_names_as_they_are_written(tmp_path, capsys):
    for names in (
        [f"{k:05d}" for k in range(40)],
        [str(2**63 + k) for k in range(40)],
        ["NA", "null", "1.0", *map(str, range(37))],
    ):
        assert run(tmp_path, names, capsys)[2] == names
    assert run(tmp_path, [str(-k) for k in range(40)], capsys)[2] == [-k for k in range(40)]
    code, words, _ = run(tmp_path, ["a", "", *map(str, range(38))], capsys)
    assert code == 1
    assert "the id column 'name' is empty in row 1" in words


@pytest.mark.slow
def test_the_command_line_names_columns_of_lists(tmp_path, capsys):
    frame = pd.DataFrame({"a": X[:, 0], "b": [[1, 2]] * 40, "y": Y})
    frame.to_parquet(tmp_path / "t.parquet")
    for target in ("y", "b"):
        assert main(["map", str(tmp_path / "t.parquet"), "--target", target, "--out", str(tmp_path / "out")]) == 1
        assert "column(s) ['b'] hold lists or the like in their cells" in capsys.readouterr().err
    ignored = ["map", str(tmp_path / "t.parquet"), "--target", "y", "--ignore", "b", "--out", str(tmp_path / "out")]
    assert main(ignored) == 0


# --- targets -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
def test_a_missing_label_is_named(missing):
    model, bad = LogisticRegression().fit(X, LABELS), LABELS.copy()
    bad[3] = missing
    for target in (bad, pd.Series(bad), pd.Series(bad, dtype="string"), pd.Series(bad).astype("category")):
        with pytest.raises(TargetError, match="the target of row 3 of its batch is missing"):
            mm.memory_map(model, X, target)


def test_a_missing_number_among_classes_is_named():
    model, bad = LogisticRegression().fit(X, LABELS == "yes"), (LABELS == "yes").astype(float)
    assert len(mm.memory_map(model, X, bad)) == 40  # 1.0 is True
    bad[5] = np.nan
    with pytest.raises(TargetError, match="row 5"):
        mm.memory_map(model, X, bad)


def test_numbers_that_read_like_labels_are_found_whatever_their_order():
    numbers = np.asarray([2, 10, 100])[np.arange(40) % 3]
    model = LogisticRegression().fit(X, numbers)
    want = mm.memory_map(model, X, numbers)
    for target in (numbers.astype(str), numbers.astype(float), list(map(str, numbers))):
        assert mm.memory_map(model, X, target).table.equals(want.table)
    with pytest.raises(TargetError, match="class '3' was not among"):
        mm.memory_map(model, X, np.where(numbers == 2, 3, numbers).astype(str))


# --- models --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*:FutureWarning")
@pytest.mark.parametrize("options", [{}, {**RIDGE_BY_RATIO_CV, "solver": "lbfgs"}, {"scoring": "accuracy"}])
def test_cross_validated_logistic_regression_of_several_classes_is_that_of_its_choice(options):
    x, y = load_iris(return_X_y=True)
    model = LogisticRegressionCV(Cs=[0.1, 1.0], max_iter=5000, tol=1e-8, cv=3, **options).fit(x, y)
    (c,) = np.unique(model.C_)
    same = LogisticRegression(C=c, max_iter=5000, tol=1e-8).fit(x, y)
    m, want = mm.memory_map(model, x, y), mm.memory_map(same, x, y)
    np.testing.assert_allclose(m["leverage"], want["leverage"], rtol=1e-3)
    np.testing.assert_allclose(m["loo_loss"], want["loo_loss"], rtol=1e-3)
    assert m.summary().warnings == ()


def test_results_without_their_data_say_so():
    api = pytest.importorskip("statsmodels.api")
    ordinal = pytest.importorskip("statsmodels.miscmodels.ordinal_model")
    x, binary = api.add_constant(X), (LABELS == "yes").astype(int)
    for fitted in (
        api.OLS(Y, x).fit(),
        api.GLM(binary, x, family=api.families.Binomial()).fit(),
        api.Logit(binary, x).fit(disp=0),
        api.MNLogit(np.arange(40) % 3, x).fit(disp=0),
        ordinal.OrderedModel(np.arange(40) % 3, X).fit(disp=0),
    ):
        fitted.remove_data()
        with pytest.raises(ValueError, match=r"have lost their training data \(remove_data\(\)"):
            mm.memory_map(fitted)


@pytest.mark.filterwarnings("ignore:.*does not respect the domain", "ignore::RuntimeWarning")
def test_binomial_links_that_leave_the_unit_interval_are_refused():
    api = pytest.importorskip("statsmodels.api")
    x = api.add_constant(0.05 * X[:, :1])
    binary = (np.arange(40) % 3 == 0).astype(int)
    for link in (api.families.links.Identity(), api.families.links.Log()):
        results = api.GLM(binary, x, family=api.families.Binomial(link=link)).fit()
        with pytest.raises(mm.UnsupportedModelError, match="does not keep probabilities between 0 and 1"):
            mm.memory_map(results)
