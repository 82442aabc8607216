"""Imports on first use: optional libraries, with the `pip` command in the error, and lazy public names (PEP 562)."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

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
    """Import an optional package, or a module that needs one; if missing, raise an error with the `pip` command.

    Raises
    ------
    ImportError
        The optional package is not installed; the message has the `pip` command.

    Examples
    --------
    >>> require("sklearn.linear_model").Ridge.__name__
    'Ridge'
    """
    package = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing != package and missing not in _EXTRAS:
            raise
        extra = _EXTRAS.get(missing)
        line = f'pip install "memorymaps[{extra}]"' if extra else f"pip install {missing}"
        raise ImportError(f"this needs the package {missing!r}, which is not installed: {line}") from error


def lazy_names(package: str, modules: Mapping[str, str]) -> tuple[Callable[[str], Any], Any]:
    """`__getattr__` and `__dir__` of a package whose public name `name` is defined in the module `modules[name]`.

    A value that ends with a colon, `module:`, stands for the module itself. If an optional library is missing, access
    raises an `ImportError` with the `pip` command.

    Examples
    --------
    >>> get, names = lazy_names("memorymaps", {"load": "memorymaps.maps.memory_map"})
    >>> get("load").__name__, names()
    ('load', ['load'])
    """

    def get(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        path = modules[name]
        module = require(path.removesuffix(":"))
        return module if path.endswith(":") else getattr(module, name)

    return get, lambda: sorted(modules)
