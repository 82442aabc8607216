"""Optional packages that an environment may lack."""

import re

import pytest

from memorymaps._extras import _EXTRAS


def skip_without_extras(code):
    """Skip the test if `code` imports an optional package that is not installed; the reason names the package."""
    for package in re.findall(r"^\s*(?:import|from) (\w+)", code, re.MULTILINE):
        if package in _EXTRAS:
            pytest.importorskip(package)
