"""The widget in a real JupyterLab: a real kernel, a real browser, the selection in both directions."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time

import pytest
from browser import chromium

import memorymaps as mm
from memorymaps.data.datasets import demo_model

pytest.importorskip("jupyterlab", reason="no jupyterlab: pip install jupyterlab")
pytest.importorskip("ipykernel", reason="no Python kernel: pip install ipykernel")
pytest.importorskip("ipywidgets", reason="JupyterLab lacks its widget manager: pip install ipywidgets")
pytest.importorskip("anywidget", reason='no anywidget: pip install "memorymaps[notebook]"')
nbformat = pytest.importorskip("nbformat")

SHOW = """from memorymaps import memory_map
from memorymaps.data.datasets import demo_model
model, X, y = demo_model()
explorer = memory_map(model, X, y, progress=False).explore(payload=X.reshape(-1, 8, 8), height=560)
explorer"""
READ = "print('selected', sorted(explorer.selection))"
SET = "explorer.selection = [3, 1]"


def write_notebook(path):
    cells = [nbformat.v4.new_code_cell(code) for code in (SHOW, READ, SET)]
    book = nbformat.v4.new_notebook(cells=cells)
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "python3", "language": "python"}
    nbformat.write(book, path)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextlib.contextmanager
def lab(folder):
    """A JupyterLab of its own that serves a folder; gives its address."""
    port = free_port()
    places = {f"JUPYTER_{kind}_DIR": str(folder / kind.lower()) for kind in ("CONFIG", "RUNTIME")}
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}", "--ip=127.0.0.1",
        "--IdentityProvider.token=secret", f"--ServerApp.root_dir={folder}", "--ServerApp.port_retries=0",
        "--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]  # fmt: skip
    with open(folder / "lab.log", "w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | places)
    try:
        wait_for(port, server, folder / "lab.log")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(timeout=30)


def wait_for(port, server, log):
    for _ in range(300):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        assert server.poll() is None, log.read_text()
        time.sleep(0.2)
    raise TimeoutError(log.read_text())


def test_the_widget_in_a_real_jupyterlab(tmp_path):
    write_notebook(tmp_path / "book.ipynb")
    m = mm.memory_map(*demo_model())
    with chromium() as browser, lab(tmp_path) as address:
        page = browser.new_page(viewport={"width": 1500, "height": 1000})
        errors = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{address}/lab/tree/book.ipynb?token=secret&reset")
        page.locator(".jp-CodeCell .cm-content").first.click(timeout=90_000)
        page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]", timeout=90_000)
        page.keyboard.press("Shift+Enter")
        page.wait_for_selector(".jp-OutputArea .mm-line", timeout=90_000)
        ids = [page.locator(".mm-line > span:not(.mm-nopic)").nth(6 * k).inner_text() for k in range(5)]
        assert ids == [str(value) for value in m.top(5)["id"].tolist()]
        page.get_by_role("tab", name="Concentration").click()
        page.get_by_role("button", name="Select the 18 most sensitive").click()
        page.wait_for_function("() => document.querySelector('.mm-kpi b')?.textContent === '18'")
        run_cell(page, 1)
        page.get_by_text("selected [").last.wait_for(timeout=30_000)
        said = page.locator(".jp-OutputArea-output", has_text="selected [").inner_text()
        assert json.loads(said.partition(" ")[2]) == sorted(m.top(18)["id"].tolist())
        run_cell(page, 2)
        page.wait_for_function("() => document.querySelector('.mm-kpi b')?.textContent === '2'")
        assert page.locator(".mm canvas.mm-points").count() == 1
        assert errors == []
        page.close()


def run_cell(page, k):
    page.locator(".jp-CodeCell .jp-InputArea .cm-content").nth(k).click()
    page.keyboard.press("Shift+Enter")
