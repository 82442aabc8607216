"""What messages of pictures, the explorer and its server say to type, typed."""

import numpy as np
import pandas as pd
import pytest
from matplotlib import animation
from PIL import Image
from remedies import remedy
from scipy import stats
from sklearn.linear_model import LogisticRegression, Ridge

import memorymaps as mm
from memorymaps.viz.displays import trajectory
from memorymaps.viz.explorer.options import ExplorerOptions
from memorymaps.viz.explorer.packing import pack, pack_lazily
from memorymaps.viz.explorer.server import Server

RNG = np.random.default_rng(0)
N = 40
X = RNG.normal(size=(N, 3))
Y = X @ [1.0, -0.5, 0.2] + 0.3 * RNG.normal(size=N)
BITS = (Y + RNG.normal(size=N) > 0).astype(int)
M = mm.memory_map(LogisticRegression(tol=1e-10).fit(X, BITS), X, BITS)
OTHER = mm.memory_map(LogisticRegression(C=0.1, tol=1e-10).fit(X, BITS), X, BITS)
NAMES = [f"row {i}" for i in range(N)]
NAMED = mm.memory_map(Ridge().fit(X, Y), X, Y, ids=NAMES)


@pytest.fixture
def drawn(tmp_path):
    """`drawn(m, …)` writes the page of a map, and returns its size."""

    def draw(m=M, **options):
        path = tmp_path / "page.html"
        m.explore(path, **options)
        return path.stat().st_size

    return draw


@remedy("has not been drawn: call plot()")
@pytest.mark.slow
def test_displays_without_axes(said):
    display = mm.MapDisplay.from_map(M)
    display.ax_ = None
    with said:
        _ = display.figure_
    display.plot()
    assert display.figure_ is display.ax_.figure


@remedy("an .mp4 animation needs the program ffmpeg, which is not installed: write a .gif or .html")
def test_animations_without_ffmpeg(said, monkeypatch):
    from pathlib import Path

    monkeypatch.setattr(animation.FFMpegWriter, "isAvailable", classmethod(lambda cls: False))
    with said:
        trajectory._movie_writer(Path("run.mp4"), 5)
    assert isinstance(trajectory._movie_writer(Path("run.gif"), 5), animation.PillowWriter)
    assert trajectory._movie_writer(Path("run.html"), 5) is None


@remedy("expected a column's name or m.leave_out(…)")
def test_groups_of_the_page(said, drawn):
    with said:
        drawn(leave_out=[0, 1])
    assert drawn(leave_out="target") > 0
    assert drawn(leave_out=M.leave_out({"a": [0, 1]})) > 0


@remedy("compare has … maps: expected one, {name: map}")
def test_several_maps_to_compare(said, drawn):
    with said:
        drawn(compare={"a": OTHER, "b": OTHER})
    assert drawn(compare={"a": OTHER}) > 0


@remedy("a trajectory of one map: expected at least two, {step: map}")
def test_a_trajectory_of_one_map(said, drawn):
    with said:
        drawn(trajectory={0: M})
    assert drawn(trajectory={0: M, 1: OTHER}) > 0


@remedy("payload has no row for … of … ids of the map")
@remedy("pass one of these numbers of examples in the order of training, or a mapping {id: example}")
@remedy("say which holds. By the index: payload=…; by position: payload=payload.reset_index(drop=True)")
def test_payloads_that_lack_examples(said, drawn):
    table = pd.DataFrame({"id": NAMES, "text": NAMES})
    with said:
        drawn(NAMED, payload=table[:-1])
    assert drawn(NAMED, payload=table) > 0
    assert drawn(NAMED, payload=NAMES) > 0
    with said:
        drawn(NAMED, payload=NAMES[:-1])
    assert drawn(NAMED, payload=dict(zip(NAMES, NAMES, strict=True))) > 0
    payload = pd.DataFrame({"text": NAMES}).iloc[::-1]
    with said:
        drawn(payload=payload)
    assert "payload.rename_axis('id').reset_index()" in said.text
    assert drawn(payload=payload.rename_axis("id").reset_index()) > 0
    assert drawn(payload=payload.reset_index(drop=True)) > 0


@remedy("texts, or a data frame. Reshape flat pictures: X.reshape(-1, 28, 28)")
def test_flat_pictures(said, drawn):
    flat = RNG.uniform(size=(N, 784))
    with said:
        drawn(payload=flat)
    assert drawn(payload=flat.reshape(-1, 28, 28)) > 0
    assert drawn(payload=NAMES) > 0
    assert drawn(payload=pd.DataFrame(X)) > 0


@remedy("with Server(…) as server: server.wait()")
def test_a_server_that_was_not_started(said, monkeypatch):
    packed = pack_lazily(M, ExplorerOptions())
    server = Server(packed)
    with said:
        server.wait()
    server._http.server_close()
    with Server(packed) as server:
        monkeypatch.setattr(server._thread, "is_alive", lambda: False, raising=False)
        server.wait()
        assert server.part("nothing") is None


@remedy("long step: one Newton step may differ from the refit; read sizes as ranks")
def test_the_pages_words_for_long_steps(said):
    said.reads(str(pack(M, ExplorerOptions()).meta["warnings"]))
    truth = mm.refit(M, top=N)
    assert stats.spearmanr(M["sensitivity"], truth["sensitivity"])[0] > 0.9


@remedy("the compared map shares no id with this one: pass memory_map(…, ids=…) the same names in both")
@remedy("of the map's … ids: pass maps of the same examples")
@remedy("more than once: pass one row for each")
def test_pages_of_other_examples(said, tmp_path):
    path, other = tmp_path / "page.html", mm.memory_map(Ridge().fit(X, Y), X, Y, ids=np.arange(N) + 100)
    with said:
        M.explore(path, compare=other)
    with said:
        M.explore(path, trajectory={0: M, 1: other})
    NAMED.explore(path, compare=NAMED)
    NAMED.explore(path, trajectory={0: NAMED, 1: NAMED})
    with said:
        NAMED.explore(path, payload=pd.DataFrame({"id": [*NAMES, "row 3"], "a": 0}))
    NAMED.explore(path, payload=pd.DataFrame({"id": NAMES, "a": 0}))
    assert path.stat().st_size > 0


@remedy("pass paths of files that exist, or the pictures as arrays")
def test_pictures_that_cannot_be_read(said, tmp_path):
    page, pictures = tmp_path / "page.html", RNG.integers(0, 255, (N, 8, 8)).astype("uint8")
    with said:
        M.explore(page, payload=[str(tmp_path / f"missing{i}.png") for i in range(N)])
    paths = [tmp_path / f"{i}.png" for i in range(N)]
    for path, picture in zip(paths, pictures, strict=True):
        Image.fromarray(picture).save(path)
    M.explore(page, payload=list(map(str, paths)))
    M.explore(page, payload=pictures)
    assert page.stat().st_size > 0
