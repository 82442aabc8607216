"""Data sets of the library `datasets`: plain rows, formatted ones, loaders, streams, with further columns."""

from __future__ import annotations

import numpy as np
import pytest
from remedies import remedy

pytest.importorskip("torch")

import torch
from torch import nn
from torch.utils.data import DataLoader

import memorymaps as mm

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(30, 4)).astype(np.float32), RNG.integers(0, 3, 30)


class Dataset:
    """A stand-in for `datasets.Dataset`: rows of Python lists, or of tensors."""

    __module__ = "datasets.arrow_dataset"

    def __init__(self, columns, convert=lambda value: value):
        self.columns, self.convert = columns, convert
        self.shape = (len(self), len(columns))  # which arrays have too

    def with_format(self, kind):
        assert kind == "torch"
        return Dataset(self.columns, lambda value: value if isinstance(value, str) else torch.tensor(value))

    def rename_column(self, old, new):
        return Dataset({new if name == old else name: values for name, values in self.columns.items()}, self.convert)

    def __len__(self):
        return len(next(iter(self.columns.values())))

    def __getitem__(self, row):
        return {name: self.convert(values[row]) for name, values in self.columns.items()}


class DatasetDict(dict):
    __module__ = "datasets.dataset_dict"


def library():
    return pytest.importorskip("datasets").Dataset.from_dict


@pytest.fixture(params=["stand-in", "library"])
def data(request):
    make = Dataset if request.param == "stand-in" else library()
    text = [f"row {k}" for k in range(30)]
    return make({"x": X.tolist(), "labels": Y.tolist(), "text": text, "idx": list(range(100, 130))})


class Linear(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(4, 3)

    def forward(self, x):
        return self.layer(x)


def drawn(data, *target, net=None, forward=None, **options):
    recipe = mm.Laplace("full", prior=1.0, **({} if forward is None else {"forward": forward}))
    return mm.memory_map(net or Linear(), data, *target, likelihood="categorical", posterior=recipe, **options)


def named(rows, name="x"):
    return torch.tensor([row[name] for row in rows]), torch.tensor([row["labels"] for row in rows])


@pytest.mark.parametrize("size", [None, 7])
def test_the_columns_that_forward_names_are_taken_and_ids_and_labels_out_of_them(data, size):
    m = drawn(data, batch_size=size)
    np.testing.assert_allclose(m["leverage"], drawn(X, Y)["leverage"], rtol=1e-6)
    assert m["id"].tolist() == list(range(100, 130))
    np.testing.assert_array_equal(m["target"], Y)


def test_with_a_collate_function_or_a_loader(data):
    want = drawn(X, Y)["leverage"]
    np.testing.assert_allclose(drawn(data, collate=named, batch_size=7)["leverage"], want, rtol=1e-6)
    np.testing.assert_allclose(drawn(DataLoader(data, 7, collate_fn=named))["leverage"], want, rtol=1e-6)
    np.testing.assert_allclose(drawn(DataLoader(data.with_format("torch"), 7))["leverage"], want, rtol=1e-6)


def test_a_recipe_with_a_forward_of_its_own_has_all_arrays(data):
    other = data.rename_column("x", "inputs")
    np.testing.assert_allclose(
        drawn(other, forward=lambda net, batch: net(batch["inputs"]))["leverage"], drawn(X, Y)["leverage"], rtol=1e-6
    )


def test_a_tracker_reads_them_too(data, tmp_path):
    net = Linear()
    optimizer = torch.optim.Adam(net.parameters(), weight_decay=0.01)
    nn.functional.cross_entropy(net(torch.tensor(X)), torch.tensor(Y)).backward()
    optimizer.step()
    with mm.Tracker(net, optimizer, data, likelihood="categorical", path=tmp_path / "run", test=data) as tracker:
        m = tracker.record()
    want = mm.memory_map(net, X, Y, likelihood="categorical", posterior=mm.FromOptimizer(optimizer, 30))
    np.testing.assert_allclose(m["leverage"], want["leverage"], rtol=1e-5)


def test_a_stream_is_read_in_batches():
    data = library()({"x": X.tolist(), "labels": Y.tolist(), "text": ["row"] * 30}).to_iterable_dataset()
    np.testing.assert_allclose(drawn(data)["leverage"], drawn(X, Y)["leverage"], rtol=1e-6)


@pytest.mark.slow
@remedy("of the network's forward: data.rename_column('…', …), or collate= with a function")
def test_columns_of_other_names_are_refused_and_the_remedy_works(said, data):
    other = data.rename_column("x", "inputs")
    with said:
        drawn(other)
    assert "data.rename_column('…', 'x')" in said.text
    want = drawn(X, Y)["leverage"]
    np.testing.assert_allclose(drawn(other.rename_column("inputs", "x"))["leverage"], want, rtol=1e-6)
    np.testing.assert_allclose(drawn(other, collate=lambda rows: named(rows, "inputs"))["leverage"], want, rtol=1e-6)


@remedy("has the splits …: pass one of them, data['train']")
def test_several_splits_are_refused_and_the_remedy_works(said, data):
    splits = DatasetDict(train=data, test=data)
    with said:
        drawn(splits)
    assert len(drawn(splits["train"])) == 30


@remedy("or pass a function that pads: for mappings collate=DataCollatorWithPadding(tokenizer)")
def test_ragged_rows_are_refused_and_the_remedy_works(said):
    rows = [{"x": [1.0] * (2 + k % 3), "labels": k % 3} for k in range(30)]

    def padded(rows):
        x = nn.utils.rnn.pad_sequence([torch.as_tensor(row["x"]) for row in rows], batch_first=True)
        x = nn.functional.pad(x, (0, 4 - x.shape[1]))
        return {"x": x, "labels": torch.tensor([row["labels"] for row in rows])}

    ragged = Dataset({name: [row[name] for row in rows] for name in ("x", "labels")})
    for data in (ragged, [{"x": torch.tensor(row["x"]), "labels": row["labels"]} for row in rows]):
        with said:
            drawn(data)
        assert len(drawn(data, collate=padded)) == 30
