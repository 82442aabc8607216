"""The explorer beside Bokeh and Plotly: size of the page, time until it is drawn, frames while moving, memory.

    MEMORYMAPS_DATA=… python benchmarks/explorer/parts.py [--limit 300] [--only fashion|million]

`fmnist.npz` is looked for in the folder named by `MEMORYMAPS_DATA`; the million points are made up. Needs Chromium;
Bokeh and Plotly are measured where they are installed; one that does not load, zoom and pan within `--limit` seconds is
reported as not finished. No GPU is used: figures are for software drawing.
"""

import argparse
import importlib.util
import json
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
from playwright.sync_api import sync_playwright
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression, LogisticRegression

import memorymaps as mm
from memorymaps.viz.explorer.options import ExplorerOptions
from memorymaps.viz.explorer.packing import pack_lazily
from memorymaps.viz.explorer.server import Server

FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
FRAMES = """() => { window.frames_ = 0; const tick = () => { window.frames_++; requestAnimationFrame(tick); };
  requestAnimationFrame(tick); }"""
RUNS = 3


def fashion():
    """Fashion-MNIST's map under logistic regression on 50 principal components, and its pictures."""
    with np.load(pathlib.Path(os.environ["MEMORYMAPS_DATA"]) / "fmnist.npz") as data:
        images, labels = data["x_train"], data["y_train"]
    X = PCA(50, random_state=0).fit_transform(images.reshape(len(images), -1) / 255.0)
    return mm.memory_map(LogisticRegression(C=1.0, tol=1e-2).fit(X, labels), X, labels), images


def million():
    """A million made-up points."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1_000_000, 4)) * np.exp(rng.normal(size=(1_000_000, 1)))
    y = X[:, 0] + rng.standard_t(3, size=len(X))
    return mm.memory_map(LinearRegression().fit(X, y), X, y)


def rate(page, move, steps):
    """Frames a second while `move(k)` is done for every step."""
    page.evaluate("() => { window.frames_ = 0; }")
    began = time.perf_counter()
    for k in range(steps):
        move(k)
    return page.evaluate("() => window.frames_") / (time.perf_counter() - began)


def look(playwright, url, ready, target):
    """Seconds until drawn; frames a second of zoom, pan and hover; megabytes of heap."""
    browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), headless=True, args=FLAGS)
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(url, timeout=120_000)
    page.wait_for_function(ready, timeout=120_000)
    seconds = page.evaluate("() => (window.memorymaps?.ready ?? performance.now()) / 1000")
    page.wait_for_timeout(800)
    page.evaluate(FRAMES)
    box = page.locator(target).first.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    zoom = rate(page, lambda k: (page.mouse.wheel(0, -60 if k % 20 < 10 else 60), page.wait_for_timeout(16)), 40)
    page.mouse.down()
    pan = rate(page, lambda k: (page.mouse.move(x + 3 * (k % 20), y + 2 * (k % 20)), page.wait_for_timeout(16)), 60)
    page.mouse.up()
    hover = rate(page, lambda k: (page.mouse.move(x - 4 * k, y + k), page.wait_for_timeout(16)), 40)
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    heap = session.send("Runtime.getHeapUsage")
    browser.close()
    return seconds, zoom, pan, hover, (heap["usedSize"] + heap.get("backingStorageSize", 0)) / 1e6


def bokeh_page(m, path):
    """Bokeh's scatter of the same points (no pictures)."""
    from bokeh.plotting import figure, output_file, save

    plot = figure(output_backend="webgl", x_axis_type="log", y_axis_type="log", active_scroll="wheel_zoom",
                  sizing_mode="stretch_both")  # fmt: skip
    plot.scatter(m["leverage"], m["error"], size=2)
    output_file(path, mode="inline")
    save(plot)


def plotly_page(m, path):
    """Plotly's scattergl of the same points (no pictures)."""
    import plotly.graph_objects as go

    marks = go.Scattergl(x=m["leverage"], y=m["error"], mode="markers", marker={"size": 2})
    made = go.Figure(marks).update_xaxes(type="log").update_yaxes(type="log").update_layout(dragmode="pan")
    made.write_html(path, include_plotlyjs=True, config={"scrollZoom": True})


PEERS = {
    "bokeh": (bokeh_page, "() => window.Bokeh?.documents?.[0]?.is_idle", "body"),
    "plotly": (plotly_page, "() => document.querySelector('.gl-canvas, .main-svg .cartesianlayer')", ".nsewdrag"),
}


def limited(url, ready, target, seconds):
    """`look` in a process of its own; None where it takes longer than `seconds`."""
    command = [sys.executable, __file__, "--look", json.dumps([url, ready, target])]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        said, _ = child.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)  # the browser ends with the driver it listens to
        child.communicate()
        return None
    return json.loads(said)


def look_once(url, ready, target):
    """What a process of `limited` does."""
    with sync_playwright() as playwright:
        print(json.dumps(look(playwright, url, ready, target)))


def report(playwright, name, url, size, ready="() => window.memorymaps", target=".mm-top", runs=RUNS):
    """Print one row of the table: medians."""
    row(name, size, [look(playwright, url, ready, target) for _ in range(runs)])


def row(name, size, measured):
    seconds, zoom, pan, hover, heap = (statistics.median(column) for column in zip(*measured, strict=True))
    print(f"| {name} | {size} | {seconds:.2f} | {zoom:.0f} | {pan:.0f} | {hover:.0f} | {heap:.0f} |", flush=True)


def peers(name, m, folder, limit):
    for peer, (write, ready, target) in PEERS.items():
        if importlib.util.find_spec(peer) is None:
            print(f"| {peer}, {name} | not installed |", flush=True)
            continue
        path = folder / f"{peer}.html"
        write(m, path)
        size = f"{path.stat().st_size / 1e6:.1f}"
        found = limited(path.as_uri(), ready, target, limit)
        if found is None:
            print(f"| {peer}, {name} | {size} | not finished after {limit:g} s |", flush=True)
        else:
            row(f"{peer}, {name}", size, [found])


def measure_fashion(playwright, folder, limit):
    m, images = fashion()
    began = time.perf_counter()
    path = m.explore(folder / "fashion.html", payload=images, title="Fashion-MNIST")
    written = time.perf_counter() - began
    size = f"{path.stat().st_size / 1e6:.2f}"
    report(playwright, "explorer, Fashion-MNIST 60,000, pictures, one file", path.as_uri(), size)
    peers("60,000, no pictures", m, folder, limit)
    print(f"(Writing the file of 60,000 with its pictures took {written:.1f} s.)", flush=True)


def measure_million(playwright, folder, limit):
    m = million()
    with Server(pack_lazily(m, ExplorerOptions())) as server:
        report(playwright, "explorer, 1,000,000, server", server.url, "–")
    peers("1,000,000", m, folder, limit)


CASES = {"fashion": measure_fashion, "million": measure_million}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=float, default=300, help="seconds for each of the peers (default: 300)")
    parser.add_argument("--only", choices=CASES, help="one of the two cases")
    parser.add_argument("--look", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.look:
        return look_once(*args.look)
    folder = pathlib.Path(tempfile.mkdtemp())
    print("| page | MB | ready, s | zoom, fps | pan, fps | hover, fps | heap, MB |\n|---|---|---|---|---|---|---|")
    with sync_playwright() as playwright:
        for name in [args.only] if args.only else CASES:
            CASES[name](playwright, folder, args.limit)


if __name__ == "__main__":
    main()
