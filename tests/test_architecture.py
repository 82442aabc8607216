"""The structure of the package: cheap imports, one-way layers, small functions."""

import ast
import functools
import importlib.util
import pathlib
import subprocess
import sys

import pytest

import memorymaps

SOURCE = pathlib.Path(memorymaps.__file__).parent


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_importing_the_package_loads_nothing_heavy():
    loaded = run("import sys, memorymaps; print([m for m in sys.modules if '.' not in m])")
    for heavy in ("numpy", "pandas", "matplotlib", "sklearn", "statsmodels", "torch", "pyarrow"):
        assert f"'{heavy}'" not in loaded


TORCH = importlib.util.find_spec("torch") is not None
NETS = ("Custom", "FromOptimizer", "Laplace", "LoaderExamples", "prior_from")
HIDE = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in "{package}".split():
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Hidden())
"""


@pytest.mark.slow
@pytest.mark.parametrize("package", ["sklearn anywidget", "statsmodels polars", "torch"])  # pairs: unrelated ones
def test_the_core_does_not_need_the_extras(package):
    use = "import memorymaps as mm; [getattr(mm, name) for name in mm.__all__ if name not in {nets}]; print('ok')"
    use = use.format(nets=() if TORCH and package != "torch" else NETS)
    assert run(HIDE.format(package=package) + use) == "ok"


@pytest.mark.slow
def test_networks_without_torch_are_a_line_to_type():
    use = f"""
import memorymaps
for name in {NETS}:
    try: getattr(memorymaps, name)
    except ImportError as error: print(name, "memorymaps[torch]" in str(error) and 'pip install "' in str(error))
"""
    assert run(HIDE.format(package="torch") + use).splitlines() == [f"{name} True" for name in NETS]


@pytest.mark.slow
def test_a_perceptron_without_torch_is_a_line_to_type():
    use = """
import memorymaps
from sklearn.neural_network import MLPRegressor
X, y = [[0.0], [1.0]], [0.0, 1.0]
try: memorymaps.memory_map(MLPRegressor(hidden_layer_sizes=(2,), solver="lbfgs").fit(X, y), X, y)
except ImportError as error: print(error)
"""
    assert 'pip install "memorymaps[torch]"' in run(HIDE.format(package="torch") + use)


def test_a_missing_extra_is_a_line_to_type():
    use = "from memorymaps._imports import require\ntry: require('polars')\nexcept ImportError as error: print(error)"
    assert 'pip install "memorymaps[polars]"' in run(HIDE.format(package="polars") + use)


def test_public_names_are_few_and_exist():
    namespaces = {name for name, module in memorymaps._MODULES.items() if module.endswith(":")}
    assert len(set(memorymaps.__all__) - namespaces) <= 40
    names = memorymaps.__all__ if TORCH else set(memorymaps.__all__) - set(NETS)
    assert all(getattr(memorymaps, name) is not None for name in names)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = memorymaps.nothing


@functools.cache
def trees():
    """The path and syntax tree of each module."""
    return [(path, ast.parse(path.read_text(encoding="utf-8"))) for path in sorted(SOURCE.rglob("*.py"))]


def functions():
    for path, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                words = ast.get_docstring(node, clean=False)
                yield f"{path.name}:{node.name}", node.end_lineno - node.lineno - (words or "").count("\n")


@pytest.mark.slow
def test_functions_stay_small():
    sizes = list(functions())
    median = sorted(lines for _, lines in sizes)[len(sizes) // 2]
    assert median < 10
    assert [f"{name} has {lines} lines: expected at most 45, split it" for name, lines in sizes if lines > 45] == []


@pytest.mark.slow
def test_a_module_never_bears_the_name_of_a_function_it_defines():
    same = [path for path, tree in trees() for node in tree.body if getattr(node, "name", "") == path.stem]
    assert same == []


@pytest.mark.slow
def test_a_private_name_is_used_in_its_own_module_only():
    taken = [
        f"{path.relative_to(SOURCE)}: {alias.name}"
        for path, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("memorymaps.")
        for alias in node.names
        if alias.name.startswith("_") and not alias.name.startswith("__")
    ]
    assert taken == []


@pytest.mark.slow
def test_a_class_name_means_one_class():
    names = [node.name for _, tree in trees() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    public = [name for name in names if not name.startswith("_")]
    assert {name for name in public if public.count(name) > 1} == set()


MAX_FILES = 16


def crowded(top):
    """Folders in `top`, and itself, with too many files, as sentences that say what to do."""
    folders = [p for p in (top, *top.rglob("*")) if p.is_dir() and not {"__pycache__", "saved"} & set(p.parts)]
    counts = ((p, sum(q.is_file() for q in p.iterdir())) for p in folders)
    return [
        f"{p.relative_to(top.parent)} has {count} files: expected at most {MAX_FILES}. Move those of one idea into a "
        "folder of their own, or extend a file that has the idea already"
        for p, count in counts
        if count > MAX_FILES
    ]


def test_the_listing_is_a_table_of_contents():
    entries = [p.name for p in SOURCE.iterdir() if p.name != "__pycache__"]
    assert len(entries) <= MAX_FILES
    assert crowded(SOURCE) + crowded(pathlib.Path(__file__).parent) == []


def test_test_modules_have_names_of_their_own():
    """pytest imports them by their names alone: of two with one name it collects none."""
    names = [p.name for p in pathlib.Path(__file__).parent.rglob("test_*.py")]
    assert {name for name in names if names.count(name) > 1} == set()


def test_a_crowded_folder_is_named_with_what_to_do(tmp_path):
    full, fine = tmp_path / "top" / "full", tmp_path / "top" / "fine"
    for folder, count in ((full, 17), (fine, 16)):
        folder.mkdir(parents=True)
        for k in range(count):
            (folder / f"{k}.py").touch()
    (found,) = crowded(tmp_path / "top")
    assert found.startswith("top/full has 17 files: expected at most 16. Move")
