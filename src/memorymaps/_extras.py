"""The one place that turns a missing optional package into a line to type."""

from __future__ import annotations

import importlib
from types import ModuleType

# package to import → extra that installs it
_EXTRAS = {
    "sklearn": "sklearn",
    "statsmodels": "statsmodels",
    "polars": "polars",
    "torch": "torch",
    "anywidget": "notebook",
    "gpytorch": "gpytorch",
    "arviz": "arviz",
    "wandb": "wandb",
    "mlflow": "mlflow",
    "lightgbm": "trees",
    "xgboost": "trees",
    "catboost": "trees",
}


def require(module: str) -> ModuleType:
    """Import an optional package, or say what to type to have it.

    Raises
    ------
    ImportError
        The package is not installed; the message names the `pip` line.

    Examples
    --------
    >>> require("sklearn.linear_model").Ridge.__name__
    'Ridge'
    """
    package = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != package:
            raise
        extra = _EXTRAS.get(package)
        line = f'pip install "memorymaps[{extra}]"' if extra else f"pip install {package}"
        raise ImportError(f"this needs the package {package!r}, which is not installed: {line}") from error


def load(module: str) -> ModuleType:
    """Import a module of this package, or say what to type for the optional library that it lacks.

    Raises
    ------
    ImportError
        An optional library is not installed; the message names the `pip` line.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.partition(".")[0] in _EXTRAS:
            require(error.name)
        raise
