"""Maps whose passes are shared by workers equal those of this process, whatever the family and the data."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from remedies import remedy
from round_trip import Elsewhere, RoundTrip
from scipy import sparse
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from test_refits_elsewhere import FAMILIES, XC, XR, YC, YR

import memorymaps as mm
from memorymaps.files.batch_journal import BatchJournal
from memorymaps.files.executors.errors import WorkerLostError

NAMES = ["a", "b", "c"]


def assert_same(found, expected, rtol=1e-10):
    assert found.table.column_names == expected.table.column_names
    for name in expected:
        if np.asarray(expected[name]).dtype.kind == "f":
            np.testing.assert_allclose(found[name], expected[name], rtol=rtol, atol=1e-12, err_msg=name)
        else:
            assert np.array_equal(found[name], expected[name]), name
    assert found.provenance.fingerprint == expected.provenance.fingerprint
    assert found.provenance.inputs == expected.provenance.inputs


def small_batches(x, y):
    return mm_array_examples(x, y, batch_size=16)


def mm_array_examples(x, y, **options):
    from memorymaps.data.in_memory import ArrayExamples

    return ArrayExamples.of(x, y, **options)


@pytest.mark.parametrize("name", FAMILIES)
def test_maps_by_workers_equal_those_here(name):
    model, x, y = FAMILIES[name]
    model, executor = model.fit(x, y), RoundTrip()
    here = mm.memory_map(model, small_batches(x, y))
    assert_same(mm.memory_map(model, small_batches(x, y), executor=executor), here)
    assert executor.submitted >= len(x) // 16


def table(n=120):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(n, 3)), columns=NAMES)
    f = frame.to_numpy() @ [1.0, -1.0, 0.5]
    chosen = (f + rng.logistic(size=n) > 0).astype(int)
    return frame.assign(
        y=f + rng.normal(size=n), z=chosen, w=rng.integers(1, 4, n) / 2, name=[f"row {k}" for k in range(n)]
    )


TABLE = table()


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """One file; several; folders `part=…`: of several row groups each."""
    root = tmp_path_factory.mktemp("data")
    (root / "several").mkdir()
    pq.write_table(pa.Table.from_pandas(TABLE), root / "one.parquet", row_group_size=25)
    for k, rows in enumerate(np.array_split(np.arange(len(TABLE)), 3)):
        part = pa.Table.from_pandas(TABLE.iloc[rows], preserve_index=False)
        pq.write_table(part, root / "several" / f"part-{k}.parquet", row_group_size=15)
        (root / "hive" / f"part={k}").mkdir(parents=True)
        pq.write_table(part, root / "hive" / f"part={k}" / "data.parquet", row_group_size=50)
    return root


PATHS = ["one.parquet", "several", "hive"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("executor", [None, RoundTrip(), Elsewhere()], ids=["here", "workers", "elsewhere"])
def test_files_give_the_map_of_the_frame(folders, path, executor):
    model = LogisticRegression(class_weight="balanced").fit(TABLE[NAMES], TABLE.z, sample_weight=TABLE.w)
    whole = mm.memory_map(model, TABLE[NAMES], TABLE.z, sample_weight=TABLE.w, ids=TABLE.name)
    data = mm.ParquetExamples(folders / path, "z", id="name", weight="w", features=NAMES, batch_size=40)
    found = mm.memory_map(model, data, executor=executor)
    assert_same(found, whole, 1e-8)
    rows = np.array([119, 3, 77, 4])
    assert data.take(rows).ids.tolist() == TABLE.name.iloc[rows].tolist()
    assert len(data.take(slice(0, 0))) == 0


def test_columns_of_folders_are_inputs(folders):
    data = mm.ParquetExamples(folders / "hive", "y", features=["a", "part"])
    whole = data.take(np.arange(120))
    assert whole.inputs["part"].tolist() == np.repeat([0, 1, 2], 40).tolist()
    first = next(iter(data))
    assert first.inputs.columns.tolist() == ["a", "part"]
    assert whole.target.tolist() == TABLE.y.tolist()


def test_a_list_of_files_is_read_in_its_order(folders):
    files = [folders / "several" / f"part-{k}.parquet" for k in (2, 0)]
    data = mm.ParquetExamples(files, "y", id="name", features=NAMES)
    assert [name for batch in data for name in batch.ids] == [*TABLE.name[80:], *TABLE.name[:40]]


def test_data_of_another_file_system(folders):
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    for file in sorted((folders / "several").iterdir()):
        memory.pipe(f"/bucket/{file.name}", file.read_bytes())
    model = Ridge(0.1).fit(TABLE[NAMES], TABLE.y)
    whole = mm.memory_map(model, TABLE[NAMES], TABLE.y)
    for data in (
        mm.ParquetExamples("memory://bucket", "y", features=NAMES),
        mm.ParquetExamples("/bucket", "y", features=NAMES, filesystem=memory),
    ):
        assert_same(mm.memory_map(model, data, executor=RoundTrip()), whole, 1e-8)


def test_workers_are_sent_paths_not_tables(folders):
    sizes = []

    class Measured(RoundTrip):
        def submit(self, fn, /, *args, **kwargs):
            sizes.append(max(len(part) for part in args if isinstance(part, bytes)))
            return super().submit(fn, *args, **kwargs)

    wide = pd.DataFrame(np.random.default_rng(0).normal(size=(2_000, 3)), columns=NAMES)
    wide["y"] = wide.sum(axis=1) + np.sin(np.arange(2_000))
    path = folders / "wide.parquet"
    wide.to_parquet(path, row_group_size=500)
    model = Ridge(0.1).fit(wide[NAMES], wide.y)
    mm.memory_map(model, mm.ParquetExamples(path, "y", features=NAMES, batch_size=500), executor=Measured())
    assert len(sizes) == 8
    assert max(sizes) < 2_000


def test_a_sample_is_spread_over_the_row_groups(folders):
    data = mm.ParquetExamples(folders / "several", "y", features=NAMES)
    assert len(data.sample(10**6)) == 120
    some = data.sample(9)
    assert len(some) == 9
    assert np.diff(some.ids).max() < 30
    assert some.target.tolist() == TABLE.y.iloc[some.ids].tolist()
    assert data.take(data.sample_rows(9)).ids.tolist() == some.ids.tolist()


@pytest.mark.parametrize("rows", [[119, 0, 31, 30, 0], [], [5], slice(100, 20, -7), slice(None)])
def test_chosen_rows_come_in_the_given_order(folders, rows):
    data = mm.ParquetExamples(folders / "several", "y", features=NAMES, batch_size=4)
    found, places = data.take(rows), np.arange(120)[rows if len(np.shape(rows)) == 0 else np.asarray(rows, dtype=int)]
    assert found.ids.tolist() == places.tolist()
    np.testing.assert_array_equal(found.inputs, TABLE[NAMES].iloc[places])


# --- kinds of inputs, and transformers --------------------------------------------------------------------------------


def test_pipelines_on_files_and_sparse_inputs(folders):
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(TABLE[NAMES], TABLE.z)
    data = mm.ParquetExamples(folders / "several", "z", features=NAMES)
    assert_same(mm.memory_map(model, data, executor=RoundTrip()), mm.memory_map(model, data))
    x = OneHotEncoder().fit_transform(TABLE[["z"]].assign(k=np.arange(120) % 7))
    linear = Ridge(1.0).fit(x, TABLE.y)
    assert sparse.issparse(x)
    examples = mm_array_examples(x, TABLE.y, batch_size=32)
    assert_same(mm.memory_map(linear, examples, executor=RoundTrip()), mm.memory_map(linear, examples))


def test_several_classes_and_chosen_rows():
    y = np.arange(len(XC)) % 3
    model = LogisticRegression().fit(XC, y)
    whole = mm.memory_map(model, small_batches(XC, y))
    assert_same(mm.memory_map(model, small_batches(XC, y), executor=RoundTrip()), whole)
    rows = [3, 50, 70]
    some = mm.memory_map(model, small_batches(XC, y), rows=rows, executor=RoundTrip())
    np.testing.assert_allclose(some["leverage"], whole["leverage"][rows])
    assert some["row"].tolist() == rows


def test_draws_by_workers():
    rng = np.random.default_rng(0)
    draws = XR[:, 0] * rng.normal(1.0, 0.3, size=(300, 1)) + 0.1 * rng.normal(size=(300, len(XR)))
    model = mm.models.Draws(draws, mm.Gaussian(0.5))
    examples = small_batches(XR, YR)
    assert_same(mm.memory_map(model, examples, executor=RoundTrip()), mm.memory_map(model, examples))


@pytest.mark.slow
def test_networks_by_workers():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    x, y = torch.randn(40, 3), torch.arange(40) % 2
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))
    data = mm.LoaderExamples([(x[k : k + 10], y[k : k + 10]) for k in range(0, 40, 10)])
    options = {"likelihood": "categorical", "posterior": mm.Laplace("kfac", prior=1.0, probes=0)}
    here = mm.memory_map(net, data, **options)
    assert_same(mm.memory_map(net, data, **options, executor=RoundTrip()), here, 1e-6)


# --- journals ---------------------------------------------------------------------------------------------------------


class Killed(RoundTrip):
    """Breaks at the 14th task: in the second pass over nine pieces."""

    def run(self, fn, args, kwargs):
        if self.submitted >= 14:
            raise WorkerLostError("run the same again to go on")
        return fn(*args, **kwargs)


def test_batches_of_a_run_whose_worker_was_killed_are_kept(folders, tmp_path, monkeypatch):
    model = LinearRegression().fit(TABLE[NAMES], TABLE.y)
    data = mm.ParquetExamples(folders / "several", "y", features=NAMES, batch_size=15)
    whole, path, made = mm.memory_map(model, data), tmp_path / "m.parquet", []
    with pytest.raises(WorkerLostError):
        mm.memory_map(model, data, path=path, executor=Killed())
    finished = len(list((tmp_path / ".m.parquet.batches").glob("[0-9]*.parquet")))
    assert 0 < finished < 9
    add = BatchJournal.add

    def counted(journal, part, *rest):
        made.append(part.start)
        add(journal, part, *rest)

    monkeypatch.setattr(BatchJournal, "add", counted)
    assert_same(mm.memory_map(model, data, path=path, executor=RoundTrip()), whole)
    assert len(made) == len(set(made)) == 9 - finished
    assert_same(mm.load(path), whole)


@remedy("has lost rows", at="build/tables.py")
def test_a_batch_that_was_deleted_meanwhile(said, folders, tmp_path, monkeypatch):
    model = LinearRegression().fit(TABLE[NAMES], TABLE.y)
    data = mm.ParquetExamples(folders / "several", "y", features=NAMES, batch_size=15)
    path = tmp_path / "m.parquet"
    with pytest.raises(WorkerLostError):
        mm.memory_map(model, data, path=path, executor=Killed())
    with monkeypatch.context() as patch, said:
        patch.setattr(BatchJournal, "read", lambda *args: None)
        mm.memory_map(model, data, path=path)
    assert len(mm.memory_map(model, data, path=path)) == len(TABLE)


def test_two_outputs_and_weights():
    y = np.column_stack([YR, -YR + XR[:, 0]])
    model = LinearRegression().fit(XR, y)
    assert_same(mm.memory_map(model, small_batches(XR, y), executor=RoundTrip()), mm.memory_map(model, XR, y), 1e-8)
    weight = np.arange(len(XC)) % 3 + 0.5
    classifier = LogisticRegression().fit(XC, YC, sample_weight=weight)
    examples = mm_array_examples(XC, YC, sample_weight=weight, batch_size=16)
    assert_same(mm.memory_map(classifier, examples, executor=RoundTrip()), mm.memory_map(classifier, examples))
