"""The house stays the house: light imports, one-way layers, small functions."""

import ast
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


NETS = ("Custom", "FromOptimizer", "Laplace", "LoaderExamples", "prior_from")
HIDE = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "{package}":
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Hidden())
"""


@pytest.mark.parametrize("package", ["sklearn", "statsmodels", "torch", "polars", "anywidget"])
def test_the_core_does_not_need_the_extras(package):
    use = "import memorymaps as mm; [getattr(mm, name) for name in mm.__all__ if name not in {nets}]; print('ok')"
    use = use.format(nets=NETS if package == "torch" else ())
    assert run(HIDE.format(package=package) + use) == "ok"


@pytest.mark.parametrize("name", NETS)
def test_networks_without_torch_are_a_line_to_type(name):
    use = f"import memorymaps\ntry: memorymaps.{name}\nexcept ImportError as error: print(error)"
    assert 'pip install "memorymaps[torch]"' in run(HIDE.format(package="torch") + use)


def test_a_missing_extra_is_a_line_to_type():
    use = "from memorymaps._extras import require\ntry: require('polars')\nexcept ImportError as error: print(error)"
    assert 'pip install "memorymaps[polars]"' in run(HIDE.format(package="polars") + use)


def test_public_names_are_few_and_exist():
    assert len(memorymaps.__all__) <= 25
    assert all(getattr(memorymaps, name) is not None for name in memorymaps.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = memorymaps.nothing


def functions():
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                words = ast.get_docstring(node, clean=False)
                yield f"{path.name}:{node.name}", node.end_lineno - node.lineno - (words or "").count("\n")


def test_functions_stay_small():
    sizes = dict(functions())
    assert sorted(sizes.values())[len(sizes) // 2] < 10
    assert max(sizes.values()) <= 45, max(sizes, key=sizes.get)


def test_a_public_function_and_a_module_never_share_a_name():
    modules = {path.stem for path in SOURCE.rglob("*.py")}
    assert not modules & set(memorymaps.__all__)
