"""Optional packages that an environment may lack."""

import re
from importlib.util import find_spec

import pytest

from memorymaps._imports import _EXTRAS


def missing_extra(code):
    """The first optional package that `code` needs and that is not installed; None if there is none."""
    needed = re.findall(r"^\s*(?:import|from) (\w+)", code, re.MULTILINE)
    needed += ["torch"] if "sklearn.neural_network" in code else []  # perceptrons are mapped as torch modules
    return next((name for name in needed if name in _EXTRAS and find_spec(name) is None), None)


def skip_without_extras(code):
    """Skip the test if `code` needs an optional package that is not installed; the reason names the package."""
    if missing := missing_extra(code):
        pytest.skip(f"{missing} is not installed")
