"""Data frames, series and pictures join to a map by its ids; remedies that messages name are run."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.linear_model import LinearRegression

import memorymaps as mm
from memorymaps.viz.explorer.payload_ids import PayloadError
from memorymaps.viz.explorer.payloads import join_payload

RNG = np.random.default_rng(2)
N = 12
FRAME = pd.DataFrame({"x": RNG.normal(size=N), "name": [f"n{k}" for k in range(N)]})
Y = RNG.normal(size=N)


def drawn(frame, y=Y):
    x = frame[["x"]]
    return mm.memory_map(LinearRegression().fit(x, y), x, y)


def names(m, payload):
    found = join_payload(m, payload)
    return found.frame["name"].tolist() if hasattr(found, "frame") else found.values


def test_a_frame_joins_by_its_index_where_that_holds_the_ids():
    named = FRAME.set_axis([f"house {k}" for k in range(N)])
    m = drawn(named)
    for payload in (named, named.sort_values("x"), pd.concat([named, named.head(1).set_axis(["other"])])):
        assert names(m, payload) == FRAME["name"].tolist()
    assert names(m, named["name"].sort_values(ascending=False)) == FRAME["name"].tolist()
    part = m.filter(m["id"] != "house 3")
    assert names(part, named.sort_values("x")) == [n for n in FRAME["name"] if n != "n3"]
    numbered = FRAME.set_axis(np.arange(N) * 7 + 5)
    assert names(drawn(numbered), numbered.sort_values("x")) == FRAME["name"].tolist()


def test_a_frame_with_another_index_joins_by_position():
    m = drawn(FRAME)
    assert names(m, FRAME) == FRAME["name"].tolist()
    assert names(m, FRAME.set_axis(np.arange(N) + 5)) == FRAME["name"].tolist()
    assert names(m, FRAME["name"].set_axis(np.arange(N) + 5)) == FRAME["name"].tolist()
    assert names(m, FRAME.set_axis(["a"] * N)) == FRAME["name"].tolist()


@pytest.mark.parametrize("kind", ["frame", "series"])
def test_row_numbers_in_another_order_are_asked_about(kind):
    """Either the frame was shuffled before the fit on its values, or it is sorted otherwise now."""
    m, other = drawn(FRAME), FRAME.sort_values("x")
    payload = other if kind == "frame" else other["name"]
    with pytest.raises(PayloadError, match="in another order: say which holds") as caught:
        join_payload(m, payload)
    by_index, by_position = (words.partition("payload=")[2] for words in str(caught.value).split("; by position"))
    assert names(m, eval(by_index, {"payload": payload, "dict": dict})) == FRAME["name"].tolist()  # the remedies
    assert names(m, eval(by_position, {"payload": payload})) == other["name"].tolist()


def test_ids_of_a_payload_join_by_value():
    m = drawn(FRAME.set_axis(np.arange(N) * 3))
    texts = {f"{3 * k}": f"text {k}" for k in range(N)}
    assert join_payload(m, texts).values == list(texts.values())
    with pytest.raises(PayloadError, match=f"no row for 1 of {N} ids of the map, for instance \\[33\\]"):
        join_payload(m, {k: v for k, v in texts.items() if k != "33"})
    with pytest.raises(PayloadError, match="the id 0 more than once"):
        join_payload(m, pd.DataFrame({"id": [0, *np.arange(N) * 3], "name": "a"}))
    written = drawn(FRAME.set_axis([f"{k:05d}" for k in range(N)]))
    with pytest.raises(PayloadError, match="no row for 12"):
        join_payload(written, pd.DataFrame({"id": np.arange(N), "name": "a"}))


def picture(**options):
    out = io.BytesIO()
    Image.fromarray(RNG.integers(0, 255, (20, 40, 3), dtype=np.uint8)).save(out, **options)
    return out.getvalue()


def test_encoded_pictures_and_upright_ones(tmp_path):
    m, turned = drawn(FRAME), Image.Exif()
    turned[0x0112] = 6
    (tmp_path / "r.jpg").write_bytes(picture(format="JPEG", exif=turned))
    path = str(tmp_path / "r.jpg")
    for payload, shape in (
        ([path] * N, (40, 20, 3)),
        (pd.Series([path] * N, index=range(5, 5 + N)), (40, 20, 3)),
        ([{"bytes": picture(format="PNG"), "path": None}] * N, (20, 40, 3)),
        ([{"bytes": None, "path": path}] * N, (40, 20, 3)),
    ):
        assert join_payload(m, payload).read(0).shape == shape
    assert join_payload(m, [path] * (N - 1) + [{"bytes": None, "path": None}]).read(N - 1) is None
