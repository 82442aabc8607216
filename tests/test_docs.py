"""Every Python block of every page runs, in order."""

import pathlib
import re

import matplotlib.pyplot as plt
import pytest
from extras import skip_without_extras

pytestmark = pytest.mark.slow
ROOT = pathlib.Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page):
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.stem)
def test_the_code_on_the_page_is_true(page, tmp_path, monkeypatch):
    skip_without_extras("\n".join(blocks(page)))
    monkeypatch.chdir(tmp_path)
    scope = {"__name__": page.stem}
    for code in blocks(page):
        exec(compile(code, str(page), "exec"), scope)
    plt.close("all")
