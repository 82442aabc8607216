"""The data of the papers' figures (benchmarks/papers/data.py): from a folder, a library, or a message that says how."""

import importlib.util
import pathlib
import sys
import types

import numpy as np
import pytest

FILE = pathlib.Path(__file__).parents[2] / "benchmarks" / "papers" / "data.py"
ARRAYS = {
    "x_train": np.zeros((3, 4, 4), np.uint8),
    "y_train": np.array([0, 1, 1]),
    "x_test": np.zeros((2, 4, 4), np.uint8),
    "y_test": np.array([1, 0]),
    "classes": np.array(["zero", "one"]),
}


@pytest.fixture
def data():
    spec = importlib.util.spec_from_file_location("papers_data", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Split:
    """A data set of torchvision, as far as it is read."""

    classes = ("zero", "one")

    def __init__(self, folder, train, download):
        if not download:
            raise AssertionError("expected to be allowed to download")
        self.data, self.targets = ARRAYS["x_train" if train else "x_test"], ARRAYS["y_train" if train else "y_test"]


class Unreachable:
    def __init__(self, folder, train, download):
        raise RuntimeError("no network")


def torchvision(monkeypatch, kind):
    package = types.ModuleType("torchvision")
    package.__spec__ = importlib.util.spec_from_loader("torchvision", None)
    package.datasets = types.SimpleNamespace(MNIST=kind)
    monkeypatch.setitem(sys.modules, "torchvision", package)


def test_folder(data, tmp_path, monkeypatch):
    monkeypatch.setenv("MEMORYMAPS_DATA", str(tmp_path))
    np.savez(tmp_path / "mnist.npz", **ARRAYS)
    found = data.images("mnist")
    assert all(np.array_equal(found[key], ARRAYS[key]) for key in ARRAYS)
    (tmp_path / "tabular").mkdir()
    (tmp_path / "tabular" / "stackloss.csv").write_text("case,x,y\nday 1,2.0,3.0\n")
    assert data.table("stackloss").loc["day 1", "y"] == 3.0


def test_library_equals_folder(data, monkeypatch):
    monkeypatch.delenv("MEMORYMAPS_DATA", raising=False)
    torchvision(monkeypatch, Split)
    found = data.images("mnist")
    assert set(found) == set(ARRAYS)
    assert all(np.array_equal(found[key], ARRAYS[key]) for key in ARRAYS)


def test_missing_from_the_folder_and_the_remedy(data, tmp_path, monkeypatch):
    monkeypatch.setenv("MEMORYMAPS_DATA", str(tmp_path))
    with pytest.raises(data.DataNotFoundError, match=r"has no mnist\.npz: put it there, or unset MEMORYMAPS_DATA"):
        data.images("mnist")
    with pytest.raises(data.DataNotFoundError, match=r"has no tabular/duncan\.csv"):
        data.table("duncan")
    monkeypatch.delenv("MEMORYMAPS_DATA")  # the remedy
    torchvision(monkeypatch, Split)
    assert len(data.images("mnist")["y_train"]) == 3


def test_neither_folder_nor_library(data, monkeypatch):
    monkeypatch.delenv("MEMORYMAPS_DATA", raising=False)
    monkeypatch.setattr(data, "find_spec", lambda name: None)
    with pytest.raises(data.DataNotFoundError, match=r"type export MEMORYMAPS_DATA=.*or pip install torchvision"):
        data.images("mnist")


def test_no_network(data, monkeypatch):
    monkeypatch.delenv("MEMORYMAPS_DATA", raising=False)
    torchvision(monkeypatch, Unreachable)
    with pytest.raises(data.DataNotFoundError, match=r"could not download MNIST .*no network.*export MEMORYMAPS_DATA"):
        data.images("mnist")


def test_unknown_name(data):
    with pytest.raises(data.DataNotFoundError, match="expected one of mnist, fmnist, cifar10"):
        data.images("svhn")
