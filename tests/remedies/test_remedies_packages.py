"""The lines to type for missing packages name what installs them: extras and distributions, by their metadata."""

import importlib
import re
from importlib import metadata

import pytest
from remedies import remedy

from memorymaps import _imports


@pytest.fixture
def without(monkeypatch):
    """`without(package)` hides a package."""

    def hide(package):
        whole = importlib.import_module

        def import_module(name, *rest):
            if name.partition(".")[0] == package:
                raise ModuleNotFoundError(f"No module named {package!r}", name=package)
            return whole(name, *rest)

        monkeypatch.setattr(importlib, "import_module", import_module)

    return hide


def installed_by(package):
    found = metadata.packages_distributions().get(package)
    if not found:
        pytest.skip(f"{package} is not installed")
    return {re.sub(r"[-_.]+", "-", name).lower() for name in found}


def required_by(extra):
    """Names of the distributions that an extra of this package requires."""
    lines = [line for line in metadata.requires("memorymaps") if re.search(rf"extra == ['\"]{extra}['\"]", line)]
    return {re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", line)[0]).lower() for line in lines}


@remedy('pip install "memorymaps[…]"')
@pytest.mark.parametrize("package", _imports._EXTRAS)
def test_packages_of_an_extra(said, without, package):
    distributions = installed_by(package)
    without(package)
    with said:
        _imports.require(package)
    extra = re.search(r"memorymaps\[(\w+)\]", said.text)[1]
    assert extra in metadata.metadata("memorymaps").get_all("Provides-Extra")
    assert distributions & required_by(extra)


@remedy("pip install …", at="_imports.py")
@pytest.mark.parametrize("package", ["traitlets", "arviz_stats"])
def test_packages_of_no_extra(said, without, package):
    distributions = installed_by(package)
    without(package)
    with said:
        _imports.require(f"{package}.base")
    named = re.search(r"pip install (\S+)", said.text)[1]
    assert re.sub(r"[-_.]+", "-", named).lower() in distributions
