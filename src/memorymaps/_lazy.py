"""Public names of a package that are imported on first use (PEP 562), so that importing the package costs nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from memorymaps._extras import load


def lazy_names(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Any]:
    """`__getattr__` and `__dir__` of a package whose public names live in the modules `homes[name]`.

    A home with a colon, `module:`, stands for the module itself. A missing optional library is an `ImportError` that
    names the `pip` line.

    Examples
    --------
    >>> get, names = lazy_names("memorymaps", {"load": "memorymaps.maps.memory_map"})
    >>> get("load").__name__, names()
    ('load', ['load'])
    """

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home = homes[name]
        module = load(home.removesuffix(":"))
        return module if home.endswith(":") else getattr(module, name)

    return get, lambda: sorted(homes)
