"""Every Python block of every page runs, in order."""

import pathlib
import re

import matplotlib.pyplot as plt
import pytest
from extras import skip_without_extras

import memorymaps as mm
from memorymaps.analysis.measures import REGISTERED

pytestmark = pytest.mark.slow
ROOT = pathlib.Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page):
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def registrations(monkeypatch):
    """What pages register, undone after each: measures, and adapters made by functions of a page."""
    made, pages = [], [page.stem for page in PAGES]
    for dispatch in (mm.posterior, mm.training_data):
        monkeypatch.setattr(dispatch, "register", _recording(dispatch, pages, made))
    yield
    for dispatch, kind in made:
        dispatch.unregister(kind)
    for name in list(REGISTERED):
        mm.measures.unregister(name)


def _recording(dispatch, pages, made):
    register = dispatch.register

    def recorded(kind):
        def add(function):
            if function.__module__ in pages:
                made.append((dispatch, kind))
            return register(kind)(function)

        return add

    return recorded


@pytest.mark.usefixtures("registrations")
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.stem)
def test_the_code_on_the_page_is_true(page, tmp_path, monkeypatch):
    skip_without_extras("\n".join(blocks(page)))
    monkeypatch.chdir(tmp_path)
    scope = {"__name__": page.stem}
    for code in blocks(page):
        exec(compile(code, str(page), "exec"), scope)
    plt.close("all")
