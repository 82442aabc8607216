"""The public names are those that docs/project/api.md lists, and all of them can be had."""

import dataclasses
import importlib
import inspect
import pathlib
import re

import pytest

import memorymaps as mm

API = pathlib.Path(__file__).parents[1] / "docs" / "project" / "api.md"
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
    assert module.__all__ == sorted(module.__all__, key=lambda name: (not name.isupper(), not name[0].isupper(), name))
    if namespace != "nets":
        assert all(getattr(module, name) is not None for name in module.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = module.nothing


def documented():
    """Paths of all public objects that docs/project/api.md lists, and of the functions of the module that it lists."""
    paths = re.findall(r"^::: ([\w.]+)$", API.read_text(encoding="utf-8"), re.MULTILINE)
    functions = inspect.getmembers(mm.measures, inspect.isfunction)
    return [*paths, *(f"{value.__module__}.{name}" for name, value in functions if not name.startswith("_"))]


def imported():
    """What pages and examples import from the package, as `module.name`."""
    root = API.parents[2]
    pages = (root / "docs").rglob("*.md")
    for page in (root / "README.md", root / "CONTRIBUTING.md", *pages, *root.glob("examples/*.py")):
        for module, names in re.findall(
            r"^ *from (memorymaps[\w.]*) import (.+)$", page.read_text("utf-8"), re.MULTILINE
        ):
            yield from ((page.name, f"{module}.{name.strip()}") for name in names.partition("#")[0].split(","))


def test_pages_and_examples_import_public_names_only():
    spaces = {space: getattr(mm, space).__all__ for space in ("models", "nets", "viz", "training")}  # modules
    public = {f"memorymaps.{name}" for name in mm.__all__} | set(documented())
    public |= {f"memorymaps.{space}.{name}" for space, names in spaces.items() for name in names}
    found = list(imported())
    assert len(found) > 20
    assert [(page, path) for page, path in found if path not in public] == []


def named(path):
    """The object of that path; a skip where a library is missing."""
    module, _, name = path.rpartition(".")
    try:
        return (
            importlib.import_module(path)
            if path == mm.measures.__name__
            else getattr(importlib.import_module(module), name)
        )
    except ModuleNotFoundError as error:
        pytest.skip(f"{error.name} is not installed")


def faults(thing):
    """What a docstring lacks of the house form: a sentence of its own first, which starts and ends as one."""
    own = vars(thing).get("__doc__") if inspect.isclass(thing) else thing.__doc__
    first = " ".join(inspect.cleandoc(own or "").partition("\n\n")[0].split())
    if not first or first.startswith(f"{getattr(thing, '__name__', '')}("):  # what a dataclass writes itself
        return ["no docstring of its own"]
    sentence = re.split(r"(?<=[.:;]) ", first)[0]
    wrong = {
        "ends without full stop or colon": first[-1] not in ".:",
        "starts in lower case": first[0].islower(),
        "first sentence of more than 200 characters": len(sentence) > 200,
    }
    return [what for what, is_so in wrong.items() if is_so]


@pytest.mark.parametrize("path", documented())
def test_every_public_name_has_a_docstring_in_the_house_form(path):
    assert faults(named(path)) == []


def test_docstrings_of_another_form_are_found():
    @dataclasses.dataclass
    class Written:
        x: int

    class Inherited(mm.Description):
        pass

    def bare():
        pass

    def lower():
        """returns a number"""

    assert faults(Written) == faults(Inherited) == faults(bare) == ["no docstring of its own"]
    assert faults(lower) == ["ends without full stop or colon", "starts in lower case"]
