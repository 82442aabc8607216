"""Training examples: arrays, frames and Parquet files give the same map; broken data is refused."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import memorymaps as mm
from memorymaps.core.arrays import Batch
from memorymaps.data.examples import Examples, MappedExamples
from memorymaps.data.in_memory import ArrayExamples
from memorymaps.data.streamed.parquet import ParquetExamples

rng = np.random.default_rng(5)


@pytest.fixture
def table(tmp_path):
    frame = pd.DataFrame(rng.normal(size=(500, 3)), columns=list("abc"))
    frame["y"] = frame.a - frame.b + rng.normal(size=500)
    frame["name"] = [f"row {k}" for k in range(500)]
    frame["w"] = rng.uniform(0.5, 2, 500)
    frame.to_parquet(tmp_path / "t.parquet")
    return tmp_path / "t.parquet", frame


def test_streaming_gives_the_same_map_as_memory(table):
    path, frame = table
    X = frame[list("abc")]
    model = LinearRegression().fit(X, frame.y, sample_weight=frame.w)
    whole = mm.memory_map(model, X, frame.y, sample_weight=frame.w, ids=frame.name)
    stream = ParquetExamples(path, target="y", id="name", weight="w", batch_size=64)
    streamed = mm.memory_map(model, stream)
    assert streamed["id"].tolist() == frame.name.tolist()
    for column in ("leverage", "sensitivity", "loo_loss"):
        np.testing.assert_allclose(streamed[column], whole[column], rtol=1e-9)
    assert streamed.provenance.fingerprint == whole.provenance.fingerprint
    groups = {"g": ["row 3", "row 400"]}
    np.testing.assert_allclose(
        streamed.leave_out(groups)["rest_sensitivity"], whole.leave_out(groups)["rest_sensitivity"], rtol=1e-8
    )


def test_a_parquet_file_feeds_a_pipeline(table):
    path, frame = table
    X, y = frame[list("abc")], np.asarray(frame.y > 0)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    frame.assign(y=y).to_parquet(path)
    m = mm.memory_map(model, ParquetExamples(path, target="y", features=list("abc"), batch_size=100))
    np.testing.assert_allclose(m["leverage"], mm.memory_map(model, X, y)["leverage"], rtol=1e-9)


def test_both_kinds_are_examples(table):
    path, frame = table
    kinds = [ParquetExamples(path, target="y"), ArrayExamples.of(frame[list("abc")], frame.y)]
    kinds.append(MappedExamples(kinds[0], lambda batch: batch))
    for examples in kinds:
        assert isinstance(examples, Examples)
        assert len(examples) == 500
        picked = examples.take(np.array([7, 3]))
        np.testing.assert_allclose(picked.target, frame.y.to_numpy()[[7, 3]])


def test_parquet_columns_that_are_missing_are_named(table):
    with pytest.raises(mm.DataError, match=r"no column \['z'\]; it has"):
        ParquetExamples(table[0], target="z")


def test_empty_parquet_is_refused(table):
    path, frame = table
    frame.iloc[:0].to_parquet(path)
    with pytest.raises(mm.DataError, match="no rows"):
        ParquetExamples(path, target="y")


class Shuffling(Examples):
    """A loader that reads its examples in another order every time."""

    def __init__(self, X, y):
        self.X, self.y = X, y

    def __len__(self):
        return len(self.y)

    def __iter__(self):
        order = rng.permutation(len(self.y))
        yield Batch(self.X[order], self.y[order], order)

    def take(self, rows):
        return Batch(self.X[rows], self.y[rows], np.arange(len(self.y))[rows])


def test_a_shuffling_loader_is_caught():
    X = rng.normal(size=(50, 2))
    y = X[:, 0] + rng.normal(size=50)
    with pytest.raises(mm.DataError, match="another order"):
        mm.memory_map(LinearRegression().fit(X, y), Shuffling(X, y))


def test_duplicate_ids_in_a_stream_are_caught(table):
    path, frame = table
    frame.assign(name="same").to_parquet(path)
    model = LinearRegression().fit(frame[list("abc")], frame.y)
    with pytest.raises(mm.DataError, match="ids must be unique"):
        mm.memory_map(model, ParquetExamples(path, target="y", id="name", features=list("abc")))


X3, Y3 = np.zeros((3, 2)), np.zeros(3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((X3, np.zeros(4)), "target has 4 rows, the inputs have 3"),
        ((X3, Y3, [1, 2]), "ids has 2 rows"),
        ((X3, Y3, [1, 2, 2]), "ids must be unique: .*2.* occurs 2 times"),
        ((X3, Y3, None, [1, 2]), "sample_weight has 2 rows"),
        ((X3, Y3, None, [1, -2, 1]), "finite numbers ≥ 0"),
        ((X3, Y3, None, [1, np.nan, 1]), "finite numbers ≥ 0"),
        ((X3[:0], Y3[:0]), "no rows"),
        ((X3, None), "needs targets"),
    ],
)
def test_unusable_data_is_refused(arguments, words):
    with pytest.raises(mm.DataError, match=words):
        ArrayExamples.of(*arguments)


def test_examples_bring_their_own_targets():
    examples = ArrayExamples.of(X3, Y3)
    with pytest.raises(ValueError, match="has its own targets"):
        mm.memory_map(LinearRegression().fit(X3, Y3), examples, Y3)


def test_targets_outside_the_support_of_a_stream_are_named(table):
    path, frame = table
    frame.assign(y=np.where(np.arange(500) == 321, np.nan, frame.y)).to_parquet(path)
    model = LinearRegression().fit(frame[list("abc")], frame.y)
    with pytest.raises(mm.TargetError, match=r"example 'row 321' is \[nan\]"):
        mm.memory_map(model, ParquetExamples(path, target="y", id="name", features=list("abc"), batch_size=100))


def test_lists_of_rows_are_one_array_and_several_arrays_stay_several():
    rows = [np.ones(3), np.zeros(3)]
    assert ArrayExamples.of(rows, [0, 1]).whole.inputs.shape == (2, 3)
    assert len(ArrayExamples.of((np.ones((3, 2)), np.ones((3, 1))), Y3).take([0, 2]).inputs) == 2


def test_ids_of_mixed_kinds_become_text():
    assert ArrayExamples.of(X3, Y3, ids=["a", 1, (2, 3)]).whole.ids.tolist() == ["a", "1", "(2, 3)"]
