"""The public names are those that docs/api.md lists, and all of them can be had."""

import pathlib
import re

import pytest

import memorymaps as mm

API = pathlib.Path(__file__).parents[1] / "docs" / "api.md"
NAMESPACES = ("models", "nets", "viz", "likelihoods", "training")


def listed():
    """Names by the heading they stand under."""
    sections = re.split(r"^## ", API.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    names = re.compile(r"^::: [\w.]+\.(\w+)$|^- `(\w+)`", re.MULTILINE)
    return {text.partition("\n")[0]: [a or b for a, b in names.findall(text)] for text in sections}


def test_the_page_lists_every_headline_name():
    spaces = (*NAMESPACES, "measures")
    assert listed()["memorymaps"] == [name for name in mm.__all__ if name not in spaces]
    assert set(spaces) <= set(mm.__all__)


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_the_page_lists_every_name_of_a_namespace_and_it_exists(namespace):
    module = getattr(mm, namespace)
    assert listed()[f"memorymaps.{namespace}"] == module.__all__
    assert module.__all__ == sorted(module.__all__, key=lambda name: (not name[0].isupper(), name))
    if namespace != "nets":
        assert all(getattr(module, name) is not None for name in module.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = module.nothing
