"""Real data that a checkout may or may not have: `MEMORYMAPS_DATA`, or a `shared/data` folder beside the checkout."""

import os
import pathlib

import pandas as pd
import pytest


def table(name):
    """A table of the data folder; skips the test where the folder is absent."""
    beside = pathlib.Path(__file__).parents[3] / "shared" / "data"
    folder = pathlib.Path(os.environ.get("MEMORYMAPS_DATA") or beside) / "tabular"
    if not folder.is_dir():
        pytest.skip("needs the data folder: set MEMORYMAPS_DATA")
    return pd.read_csv(folder / f"{name}.csv")
