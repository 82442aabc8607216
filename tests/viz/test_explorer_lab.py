"""The widget in a real JupyterLab: a real kernel, a real browser, the selection in both directions."""

import contextlib
import json
import os
import subprocess
import sys
import time
from importlib.util import find_spec

import pytest
from browser import chromium, new_page
from timeouts import TIMEOUT

import memorymaps as mm
from memorymaps.data.datasets import demo_model

NEEDED = {
    "jupyterlab": "no jupyterlab: pip install jupyterlab",
    "ipykernel": "no Python kernel: pip install ipykernel",
    "ipywidgets": "JupyterLab lacks its widget manager: pip install ipywidgets",
    "anywidget": 'no anywidget: pip install "memorymaps[notebook]"',
    "nbformat": "no nbformat: pip install nbformat",
}
# looked for and not imported: that takes three seconds, also where these tests are left out
pytestmark = [pytest.mark.skipif(find_spec(name) is None, reason=reason) for name, reason in NEEDED.items()]

SHOW = """from memorymaps import memory_map
from memorymaps.data.datasets import demo_model
model, X, y = demo_model()
explorer = memory_map(model, X, y, progress=False).explore(payload=X.reshape(-1, 8, 8), height=560)
explorer"""
READ = "print(sorted(explorer.selection))"
SET = "explorer.selection = [3, 1]"
# by JupyterLab's own command, when notebook and kernel are ready: keys are lost while the page is still being built
RUN = """async (k) => {
  const book = window.jupyterapp.shell.currentWidget;
  await book.context.ready;
  await book.sessionContext.ready;
  book.content.activeCellIndex = k;
  await window.jupyterapp.commands.execute("notebook:run-cell");
  return book.content.activeCell.model.outputs.toJSON();
}"""


def write_notebook(path):
    import nbformat

    cells = [nbformat.v4.new_code_cell(code) for code in (SHOW, READ, SET)]
    book = nbformat.v4.new_notebook(cells=cells)
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "python3", "language": "python"}
    nbformat.write(book, path)


@contextlib.contextmanager
def lab(folder):
    """A JupyterLab of its own that serves a folder; gives its address."""
    places = {f"JUPYTER_{kind}_DIR": str(folder / kind.lower()) for kind in ("CONFIG", "RUNTIME")}
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--port=0", "--ip=127.0.0.1",
        "--expose-app-in-browser", "--IdentityProvider.token=secret", f"--ServerApp.root_dir={folder}",
        "--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]  # fmt: skip
    with open(folder / "lab.log", "w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | places)
    try:
        yield address_of(server, folder)
    finally:
        server.terminate()
        try:
            server.wait(TIMEOUT)
        finally:
            server.kill()


def address_of(server, folder):
    """Where the server listens, from the file that it writes once it does: the port is a free one of its choice."""
    found, log = folder / "runtime" / f"jpserver-{server.pid}.json", folder / "lab.log"
    end = time.monotonic() + TIMEOUT
    while time.monotonic() < end:
        with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):  # not yet; half written
            return f"http://127.0.0.1:{json.loads(found.read_text())['port']}"
        assert server.poll() is None, log.read_text()
        time.sleep(0.1)
    raise TimeoutError(log.read_text())


@pytest.mark.browser
def test_the_widget_in_a_real_jupyterlab(tmp_path):
    write_notebook(tmp_path / "book.ipynb")
    m = mm.memory_map(*demo_model())
    with chromium() as browser, lab(tmp_path) as address:
        page = new_page(browser, viewport={"width": 1500, "height": 1000})
        errors = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{address}/lab/tree/book.ipynb?token=secret&reset")
        page.wait_for_function("() => window.jupyterapp?.shell.currentWidget?.sessionContext")
        run_cell(page, 0)
        page.wait_for_selector(".jp-OutputArea .mm-line")
        ids = [page.locator(".mm-line > span:not(.mm-nopic)").nth(6 * k).inner_text() for k in range(5)]
        assert ids == [str(value) for value in m.top(5)["id"].tolist()]
        page.get_by_role("tab", name="Concentration").click()
        page.get_by_role("button", name="Select the 18 largest by sensitivity").click()
        page.wait_for_function("() => document.querySelector('.mm-kpi b')?.textContent === '18'")
        wait_until_python_reads(page, sorted(m.top(18)["id"].tolist()))
        run_cell(page, 2)
        page.wait_for_function("() => document.querySelector('.mm-kpi b')?.textContent === '2'")
        assert page.locator(".mm canvas.mm-points").count() == 1
        assert errors == []
        page.context.close()


def run_cell(page, k):
    """Run a cell to its end; its outputs."""
    return page.evaluate(RUN, k)


def wait_until_python_reads(page, expected):
    """Run the cell that prints the selection until it is the expected one: the page sends it to an idle kernel only."""
    found, end = None, time.monotonic() + TIMEOUT
    while found != expected:
        assert time.monotonic() < end, f"the kernel's selection is {found}, expected {expected}"
        (output,) = run_cell(page, 1)
        found = json.loads(output["text"])
