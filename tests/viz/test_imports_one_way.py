"""Modules of `memorymaps.viz` import each other in one direction, under TYPE_CHECKING and inside functions too."""

import ast
import pathlib
from graphlib import CycleError, TopologicalSorter

import pytest

import memorymaps

SOURCE = pathlib.Path(memorymaps.__file__).parent
CHAIN = ("options", "metadata", "packing", "html_page", "explorer")


def imports(path):
    """Names of all modules that a file may import, wherever in it the import stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def import_graph(folder, package):
    """`{module: modules of the same folder that it imports}`."""
    files = {
        ".".join((package, *path.relative_to(folder).with_suffix("").parts)): path for path in folder.rglob("*.py")
    }
    return {name: set(imports(path)) & set(files) - {name} for name, path in files.items()}


def test_no_module_of_viz_imports_itself_by_a_detour():
    graph = import_graph(SOURCE / "viz", "memorymaps.viz")
    assert sum(map(len, graph.values())) > 40
    tuple(TopologicalSorter(graph).static_order())  # raises CycleError and names the modules of a circle


def test_options_come_before_packing_and_packing_before_the_page():
    graph = import_graph(SOURCE / "viz", "memorymaps.viz")
    order = list(TopologicalSorter(graph).static_order())
    places = [order.index(f"memorymaps.viz.explorer.{name}") for name in CHAIN]
    assert places == sorted(places)
    assert not graph["memorymaps.viz.explorer.options"]


@pytest.mark.parametrize(
    "second", ["from p.a import A", "if TYPE_CHECKING:\n    from p import a", "def f():\n    import p.a"]
)
def test_a_circle_is_found(second, tmp_path):
    (tmp_path / "a.py").write_text("from p.b import B")
    (tmp_path / "b.py").write_text(second)
    with pytest.raises(CycleError, match=r"p\.a"):
        tuple(TopologicalSorter(import_graph(tmp_path, "p")).static_order())
