"""Pictures of the explorer to look at: six kinds of maps, two sizes of screen, light and dark; 24 files.

    MEMORYMAPS_DATA=… python benchmarks/explorer/pictures.py out/pictures [digits fashion table texts compared run]

`fmnist.npz`, `tabular/california_housing.parquet` and `text/sms_spam.parquet` are looked for in the folder named by
`MEMORYMAPS_DATA`; kinds without data are said to be left out. Needs Chromium, and PyTorch for the run.
"""

import os
import pathlib
import shutil
import sys
import tempfile

import numpy as np
import pandas as pd
from playwright.sync_api import sync_playwright
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge

import memorymaps as mm
from memorymaps.data.datasets import demo_model

SIZES = [(1280, 800), (1920, 1080)]
LASSO = [(0.55, 0.2), (0.8, 0.25), (0.78, 0.5), (0.6, 0.55), (0.5, 0.4)]


def data(name):
    return pathlib.Path(os.environ["MEMORYMAPS_DATA"]) / name


def digits(path):
    model, X, y = demo_model()
    m = mm.memory_map(model, X, y)
    return m.explore(path, payload=X.reshape(-1, 8, 8), title="Digits", leave_out="target")


def fashion(path):
    with np.load(data("fmnist.npz")) as found:
        images, labels = found["x_train"], found["classes"][found["y_train"]]
    X = PCA(50, random_state=0).fit_transform(images.reshape(len(images), -1) / 255.0)
    m = mm.memory_map(LogisticRegression(tol=1e-2).fit(X, labels), X, labels)
    return m.explore(path, payload=images, title="Fashion-MNIST")


def table(path):
    frame = pd.read_parquet(data("tabular/california_housing.parquet"))
    target = frame.pop("MedHouseVal") if "MedHouseVal" in frame else frame.pop(frame.columns[-1])
    numbers = frame.select_dtypes("number")
    X = ((numbers - numbers.mean()) / numbers.std()).to_numpy()
    m = mm.memory_map(Ridge(alpha=1.0).fit(X, target), X, target.to_numpy())
    return m.explore(path, payload=frame, title="House prices")


def texts(path):
    frame = pd.read_parquet(data("text/sms_spam.parquet"))
    words, labels = (frame[name].tolist() for name in ("text", "label"))
    X = TruncatedSVD(60, random_state=0).fit_transform(TfidfVectorizer(min_df=3).fit_transform(words))
    labels = np.where(np.asarray(labels) == 1, "spam", "message")
    m = mm.memory_map(LogisticRegression(C=10).fit(X, labels), X, labels)
    return m.explore(path, payload=words, title="Messages", color="target", leave_out="target")


def compared(path):
    model, X, y = demo_model()
    m, weak = mm.memory_map(model, X, y), mm.memory_map(LogisticRegression(C=0.01, max_iter=1000).fit(X, y), X, y)
    return m.explore(path, payload=X.reshape(-1, 8, 8), title="Two models", compare={"C = 0.01": weak}, color="target")


def run(path):
    """A small network in training, recorded by a tracker."""
    import torch

    from memorymaps.training.tracker import Tracker

    torch.manual_seed(0)
    _, X, y = demo_model()
    x, t = torch.tensor(X, dtype=torch.float32), torch.tensor(y)
    order = torch.randperm(len(x))
    train, test = order[:1200], order[1200:]
    net = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.Tanh(), torch.nn.Linear(32, 10))
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=1e-2)
    recipe = mm.Laplace("kfac", prior=1.0)
    options = {"likelihood": "categorical", "path": path.with_suffix(""), "posterior": recipe, "every": "log"}
    with Tracker(net, optimizer, x[train], t[train], test=(x[test], t[test]), **options) as tracker:
        for _ in range(500):
            rows = train[torch.randint(len(train), (64,))]
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(x[rows]), t[rows]).backward()
            optimizer.step()
            tracker.step()
    pictures = X[train.numpy()].reshape(-1, 8, 8)
    return tracker.trajectory().explore(path, payload=pictures, title="A network in training")


# what a reader has done before the picture is taken
STORY = {
    "digits": ["lasso", "hover"],
    "fashion": ["hover"],
    "table": ["focus"],
    "texts": ["focus", "groups"],
    "compared": ["side", "movers"],
    "run": ["trail"],
}
DEEDS = {
    "focus": "s.focus.value = s.orderBy('sensitivity', true)[0]",
    "groups": "s.tab.value = 'groups'",
    "side": "s.compare.value = 'side'",
    "movers": "s.tab.value = 'movers'",
    "trail": "s.select([...s.orderBy('sensitivity', true).slice(0, 12)], 'the 12 most sensitive'); s.time.value = 4; "
    "s.color.value = 'drift'",
}


def act(page, deed):
    if deed in DEEDS:
        page.evaluate(f"() => {{ const s = window.memorymaps.store; {DEEDS[deed]}; }}")
        return
    box = page.locator(".mm-top").first.bounding_box()
    if deed == "lasso":
        spots = [(box["x"] + a * box["width"], box["y"] + b * box["height"]) for a, b in LASSO]
        page.keyboard.press("l")
        page.mouse.move(*spots[0])
        page.mouse.down()
        for spot in spots[1:]:
            page.mouse.move(*spot, steps=6)
        page.mouse.up()
    else:
        spot = "() => { const { store, views } = window.memorymaps; const i = store.orderBy('sensitivity', true)[2]; "
        x, y = page.evaluate(spot + "return [views[0].px(i), views[0].py(i)]; }")
        page.mouse.move(box["x"] + x, box["y"] + y)


def photograph(browser, url, name, folder):
    for width, height in SIZES:
        for scheme in ("light", "dark"):
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
            page.goto(url)
            page.wait_for_function("() => window.memorymaps", timeout=60_000)
            for deed in STORY[name]:
                act(page, deed)
            page.wait_for_timeout(900)
            page.screenshot(path=folder / f"{name}_{width}_{scheme}.png")
            page.close()


def main(folder, names):
    folder.mkdir(parents=True, exist_ok=True)
    pages = pathlib.Path(tempfile.mkdtemp())
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        for name in names:
            path = globals()[name](pages / f"{name}.html")
            photograph(browser, path.as_uri(), name, folder)
            print(f"{name}: {path.stat().st_size / 1e6:.2f} MB, 4 pictures in {folder}", flush=True)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "out/pictures"), sys.argv[2:] or list(STORY))
