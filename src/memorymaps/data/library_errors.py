"""What a model's own library says against examples it cannot read, with what to pass instead."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from memorymaps.data.examples import DataError

_LIBRARIES = ("sklearn", "lightgbm", "xgboost", "catboost", "_catboost")


@contextmanager
def explained_errors(model: Any) -> Iterator[None]:
    """Context: an error that a model library raises at the examples becomes a `DataError` that says what to pass.

    A model that is not fitted and errors of this package stay as they are.
    """
    try:
        yield
    except Exception as error:
        if type(error).__name__ == "NotFittedError" or not _is_by_library(error):
            raise
        said = str(error).strip().partition("\n")[0]
        raise DataError(
            f"{type(model).__name__} cannot read these examples: {said}. Pass X and y as they were passed to fit: the "
            "same columns, in their order, and finite numbers where the fit needs them"
        ) from error


def _is_by_library(error: Exception) -> bool:
    frames = traceback.extract_tb(error.__traceback__)
    places = {*Path(frames[-1].filename).parts, type(error).__module__.partition(".")[0]} if frames else set()
    shapes = "torch" in places and "shapes cannot be" in str(error)  # other errors of torch are the network's own
    return shapes or bool(places & set(_LIBRARIES))
