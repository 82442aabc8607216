"""MNIST, Fashion-MNIST, CIFAR-10, classic tables: from the folder `MEMORYMAPS_DATA`, else downloaded by a library.

The folder contains `mnist.npz`, `fmnist.npz`, `cifar10.npz` (arrays `x_train`, `y_train`, `x_test`, `y_test`,
`classes`; images uint8, channels last) and `tabular/<name>.csv`. Without it images come from torchvision (into
`DOWNLOADS`), tables from the collection Rdatasets by statsmodels: both need a network the first time.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

FOLDER = "MEMORYMAPS_DATA"
DOWNLOADS = Path("~/.cache/memorymaps").expanduser()
IMAGES = {"mnist": "MNIST", "fmnist": "FashionMNIST", "cifar10": "CIFAR10"}
# name of the file: name and package in Rdatasets
TABLES = {
    "stackloss": ("stackloss", "datasets"),
    "life_cycle_savings": ("LifeCycleSavings", "datasets"),
    "longley": ("longley", "datasets"),
    "stars_cyg": ("starsCYG", "robustbase"),
    "duncan": ("Duncan", "carData"),
    "delivery_time": ("delivery", "robustbase"),
}
Arrays = dict[str, npt.NDArray[np.generic]]


class DataNotFoundError(FileNotFoundError):
    """A data set that is neither in the folder nor to be had from a library."""


def images(name: str) -> Arrays:
    """Arrays `x_train [n, h, w(, 3)]` uint8, `y_train [n]`, `x_test`, `y_test`, `classes [10]` of a set of images.

    Raises
    ------
    DataNotFoundError
        Not in the folder `MEMORYMAPS_DATA`; without that folder: torchvision is missing, or could not download.
    """
    if name not in IMAGES:
        raise DataNotFoundError(f"no images {name!r}: expected one of {', '.join(IMAGES)}")
    if folder := os.environ.get(FOLDER):
        with np.load(_file(Path(folder), f"{name}.npz")) as file:
            return {key: file[key] for key in ("x_train", "y_train", "x_test", "y_test", "classes")}
    if find_spec("torchvision") is None:
        raise DataNotFoundError(
            f"{FOLDER} is not set and torchvision is not installed: type export {FOLDER}=<folder with {name}.npz>, "
            "or pip install torchvision and let it download"
        )
    return _from_torchvision(IMAGES[name], DOWNLOADS)


def _file(folder: Path, name: str) -> Path:
    if not (folder / name).is_file():
        raise DataNotFoundError(
            f"{FOLDER} = {folder} has no {name}: put it there, or unset {FOLDER} to download the data by a library"
        )
    return folder / name


def _from_torchvision(kind: str, folder: Path) -> Arrays:
    from torchvision import datasets

    found: Arrays = {}
    for part, train in (("train", True), ("test", False)):
        try:
            split = getattr(datasets, kind)(folder, train=train, download=True)
        except (OSError, RuntimeError) as error:
            raise DataNotFoundError(
                f"torchvision could not download {kind} into {folder} ({error}): without a network type "
                f"export {FOLDER}=<folder with the .npz files>"
            ) from error
        found |= {f"x_{part}": np.asarray(split.data), f"y_{part}": np.asarray(split.targets)}
    return found | {"classes": np.asarray(split.classes)}


def table(name: str) -> pd.DataFrame:
    """A classic table, its case names as index.

    Raises
    ------
    DataNotFoundError
        Not in the folder `MEMORYMAPS_DATA`; without that folder: statsmodels could not download it.
    """
    if folder := os.environ.get(FOLDER):
        return pd.read_csv(_file(Path(folder), f"tabular/{name}.csv"), index_col="case")
    from statsmodels.datasets import get_rdataset

    try:
        return pd.DataFrame(get_rdataset(*TABLES[name], cache=True).data)
    except OSError as error:
        raise DataNotFoundError(
            f"statsmodels could not download {name} from Rdatasets ({error}): without a network type "
            f"export {FOLDER}=<folder with tabular/{name}.csv>"
        ) from error
