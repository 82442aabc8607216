"""The explorer's Python side: what is packed, joined, refused, served."""

import base64
import contextlib
import dataclasses
import gzip
import http.client
import io
import json
import re
import threading
import warnings
from urllib.request import urlopen

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image
from sklearn.linear_model import LinearRegression
from timeouts import TIMEOUT

import memorymaps as mm
from memorymaps.viz.explorer.arrow_columns import MISSING
from memorymaps.viz.explorer.explorer import explore
from memorymaps.viz.explorer.html_page import content_security_policy, page_script, single_file_html
from memorymaps.viz.explorer.options import ExplorerOptions, options_from_keywords
from memorymaps.viz.explorer.packing import pack, pack_lazily
from memorymaps.viz.explorer.payloads import PayloadError
from memorymaps.viz.explorer.server import Server

rng = np.random.default_rng(11)


def regression_map(n=60, ids=None):
    X = np.random.default_rng(3).normal(size=(n, 3))
    y = X[:, 0] + np.random.default_rng(4).normal(size=n)
    return mm.memory_map(LinearRegression().fit(X, y), X, y, ids=ids)


def with_columns(m, **columns):
    table = m.table
    for name, values in columns.items():
        table = table.set_column(table.column_names.index(name), name, pa.array(values))
    return dataclasses.replace(m, table=table)


def packed(m, *, lazy=False, **options):
    return (pack_lazily if lazy else pack)(m, ExplorerOptions(**options))


def part(page, name):
    found = re.search(rf'<script type="[a-z/-]+" id="mm-{name}">([^<]*)</script>', page)
    return base64.b64decode(found.group(1))


def columns_of(page):
    return pa.ipc.open_stream(gzip.decompress(part(page, "table"))).read_all()


def picture(value, size=(8, 8)):
    return np.full((*size, 3), value, dtype=np.uint8)


# --- what is packed --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_page_holds_the_maps_columns(digits_map, tmp_path):
    page = digits_map.explore(tmp_path / "sub" / "map.html").read_text()
    table = columns_of(page)
    for name in ("leverage", "error", "sensitivity", "loss", "loo_loss"):
        np.testing.assert_array_equal(table[name], digits_map[name].astype(np.float32))
    np.testing.assert_array_equal(table["target"], digits_map["target"])
    np.testing.assert_array_equal(table["id"], digits_map["id"])
    assert [p.name for p in (tmp_path / "sub").iterdir()] == ["map.html"]


def test_the_same_map_gives_the_same_page(digits_map, tmp_path):
    pages = [digits_map.explore(tmp_path / name).read_bytes() for name in ("a.html", "b.html")]
    assert pages[0] == pages[1]


def test_the_page_names_no_address_and_only_its_own_script(digits_map, tmp_path):
    page = digits_map.explore(tmp_path / "map.html").read_text()
    assert "default-src &#x27;none&#x27;" in page
    assert "connect-src 'none'" in content_security_policy("'none'")
    assert not re.findall(r"\s(?:src|href)=", re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL))
    assert len(re.findall("<script>", page)) == 1
    assert "eval(" not in page_script()
    assert "new Function" not in page_script()


def test_trajectories_keep_positions_to_a_ten_thousandth(diabetes_map):
    steps = {f"step {k}": with_columns(diabetes_map, leverage=diabetes_map["leverage"] * 3**-k) for k in range(4)}
    made = packed(diabetes_map, trajectory=steps)
    code = np.zeros(442, dtype=np.uint16)
    for t, (name, m) in enumerate(steps.items()):
        code += np.asarray(made.table[f"leverage#{t}"])
        step = made.meta["steps"][t]
        values = 10 ** (step["low"][0] + (code - 1.0) / 65533 * (step["high"][0] - step["low"][0]))
        np.testing.assert_allclose(values, m["leverage"], rtol=2e-4)
        assert (step["name"], step["loss"]) == (name, pytest.approx(m["loss"].mean()))


def test_trajectories_mark_zero_and_undefined(diabetes_map):
    odd = with_columns(diabetes_map, error=np.r_[0.0, np.nan, diabetes_map["error"][2:]])
    codes = np.asarray(packed(diabetes_map, trajectory={"a": odd, "b": diabetes_map}).table["error#0"])
    assert (codes[0], codes[1], 0 < codes[2] < MISSING) == (0, MISSING, True)


def test_compared_maps_are_joined_by_id(diabetes_map):
    other = diabetes_map.select(np.r_[400:10:-1])
    made = packed(diabetes_map, compare={"other": other})
    values = np.asarray(made.table["leverage@1"])
    np.testing.assert_array_equal(values[11:401], diabetes_map["leverage"][11:401].astype(np.float32))
    assert np.isnan(values[:11]).all()
    assert made.meta["models"][1] == "other"


def test_further_columns_become_classes_numbers_and_texts(diabetes_map):
    frame = pd.DataFrame({"place": ["north", "south"] * 221, "height": rng.normal(size=442), "error": range(442)})
    frame["note"] = [f"note {k}" for k in range(442)]
    kinds = {c["name"]: c["kind"] for c in packed(diabetes_map, columns=frame).meta["columns"]}
    assert {"place": "class", "height": "number", "note": "text", "error (yours)": "number"}.items() <= kinds.items()


# --- payloads --------------------------------------------------------------------------------------------------------


def sheet_pixels(made, slot):
    meta = made.meta["pictures"]
    grid, width, height = meta["grid"], meta["width"], meta["height"]
    image = np.asarray(Image.open(io.BytesIO(made.sheet(int(slot) // grid**2))).convert("RGB")).astype(int)
    place = int(slot) % grid**2
    top, left = place // grid * height, place % grid * width
    return image[top : top + height, left : left + width]


def check_values(made, wanted):
    """Each row's picture is of its own grey, and the most sensitive come first."""
    slots = np.asarray(made.table["slot"])
    for row, value in enumerate(wanted):
        assert abs(sheet_pixels(made, slots[row]).mean() - value) < 6, row
    first = int(np.argmin(np.where(slots < 0, np.inf, slots)))
    assert first == int(np.argmax(np.asarray(made.table["sensitivity"])))


GREYS = np.arange(60) * 4


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        lambda v: np.stack([picture(k) for k in v]),
        lambda v: np.stack([picture(k)[..., 0] for k in v]),
        lambda v: np.stack([picture(k)[..., 0] / 255 for k in v]),
        lambda v: np.stack([np.moveaxis(picture(k), 2, 0) for k in v]),
        lambda v: [Image.fromarray(picture(k, (300, 200))) for k in v],
        lambda v: [(picture(k)[..., 0], 1) for k in v],
        lambda v: dict(enumerate(picture(k) for k in v)),
    ],
    ids=["rgb", "grey", "floats", "channels first", "PIL", "data set", "by id"],
)
def test_pictures_reach_their_examples(make):
    values = GREYS
    check_values(packed(regression_map(), payload=make(values)), values)


def test_torch_tensors_and_data_sets():
    torch = pytest.importorskip("torch")
    tensor = torch.tensor(np.stack([picture(k) for k in GREYS])).permute(0, 3, 1, 2) / 255
    data = torch.utils.data.TensorDataset(tensor, torch.zeros(60))
    for payload in (tensor, data):
        check_values(packed(regression_map(), payload=payload), GREYS)


def test_missing_files_are_warned_of_and_have_no_slot(tmp_path):
    for k in range(60):
        Image.fromarray(picture(GREYS[k])).save(tmp_path / f"{k}.png")
    (tmp_path / "7.png").unlink()
    (tmp_path / "9.png").write_text("not a picture")
    with pytest.warns(UserWarning, match=r"2 of 60 pictures cannot be read \(the first is row 7\)"):
        made = packed(regression_map(), payload=[str(tmp_path / f"{k}.png") for k in range(60)])
    slots = np.asarray(made.table["slot"])
    assert (np.flatnonzero(slots < 0).tolist(), made.meta["pictures"]["included"]) == ([7, 9], 58)


def test_a_part_of_a_map_takes_its_part_of_the_training_sets_payload():
    part_of_map = regression_map().filter(np.arange(60) % 7 == 3)
    check_values(packed(part_of_map, payload=np.stack([picture(k) for k in GREYS])), GREYS[3::7])


@pytest.mark.slow
def test_small_budgets_leave_out_the_least_sensitive():
    noise = rng.integers(0, 255, (4000, 16, 16, 3), dtype=np.uint8)
    made = packed(regression_map(4000), payload=noise, max_mb=0.7)
    included = made.meta["pictures"]["included"]
    assert 0 < included < 4000
    assert 0.5e6 < len(single_file_html(made)) < 0.7e6
    slots, sensitivity = np.asarray(made.table["slot"]), np.asarray(made.table["sensitivity"])
    assert sensitivity[slots < included].min() >= sensitivity[slots >= included].max()


def test_texts_and_rows(diabetes_map):
    texts = [f"text {k}" for k in range(442)]
    made = packed(diabetes_map, payload=texts)
    assert json.loads(made.text_chunk(0)) == texts
    rows = pd.DataFrame({"id": np.arange(442)[::-1], "height": np.arange(442)[::-1] * 2.0})
    made = packed(diabetes_map, payload=rows)
    np.testing.assert_array_equal(made.table["height"], np.arange(442) * 2.0)


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (np.zeros((59, 8, 8)), r"payload has 59 examples, the map 60"),
        ({0: "a"}, r"no row for 59 of 60 ids of the map, for instance \[1, 2, 3\]"),
        (pd.DataFrame({"id": range(1, 61), "a": 0}), r"no row for 1 of 60 ids"),
        (pd.DataFrame({"id": [0] * 60, "a": 0}), r"the id 0 more than once"),
        (np.zeros((60, 64)), r"Reshape flat pictures: X.reshape"),
        (np.zeros((60, 8, 8, 7)), r"a picture has shape \(8, 8, 7\)"),
        ("a text", r"payload is a str"),
        (17, r"payload is a int"),
        (["missing/a.png"] * 60, r"none of the first 20 pictures can be read"),
    ],
)
def test_payloads_that_do_not_fit_are_refused(payload, words):
    with pytest.raises(PayloadError, match=words):
        packed(regression_map(), payload=payload)


def test_options_that_make_no_sense_are_refused(diabetes_map, cancer_map):
    with pytest.raises(TypeError, match="no option 'colour': expected some of payload, columns"):
        options_from_keywords({"colour": "target"})
    with pytest.raises(KeyError, match="cannot colour by 'nothing'"):
        packed(diabetes_map, color="nothing")
    with pytest.raises(ValueError, match="no examples"):
        packed(diabetes_map.top(0))
    with pytest.raises(ValueError, match="shares no id"):
        packed(diabetes_map, compare=regression_map(10, ids=[f"x{k}" for k in range(10)]))
    with pytest.raises(ValueError, match="a trajectory of one map"):
        packed(diabetes_map, trajectory={"a": diabetes_map})
    with pytest.raises(ValueError, match="step 'b' lacks 441"):
        packed(diabetes_map, trajectory={"a": diabetes_map, "b": diabetes_map.top(1)})


def test_ids_beyond_32_bits_and_lone_surrogates_survive():
    large = packed(regression_map(60, ids=[2**40 + k for k in range(60)]))
    assert large.table["id"].to_pylist()[:2] == [str(2**40), str(2**40 + 1)]
    assert large.meta["integers"] is True
    assert packed(regression_map(), payload=["\ud800", *"x" * 59]).texts[:2] == ["?", "x"]
    texts = np.array(["\ud800", *"x" * 59])
    page = packed(
        regression_map(), columns={"\udc80": np.arange(60.0), "text": texts}, compare={"\udc80": regression_map()}
    )
    assert {"?", "text"} <= {column["name"] for column in page.meta["columns"]}


# --- server ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server():
    payload = np.stack([picture(k) for k in GREYS])
    with Server(packed(regression_map(), payload=payload, lazy=True)) as running:
        yield running


def ask(server, path, method="GET", **headers):
    link = http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # refused, and closed, before all was sent
        link.request(method, path, headers=headers)
    answer = link.getresponse()
    found = answer.status, answer.read(), dict(answer.getheaders())
    link.close()
    return found


def test_the_server_gives_the_page_and_its_parts(server):
    status, page, headers = ask(server, f"/{server.token}/")
    assert (status, page[:15]) == (200, b"<!doctype html>")
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    _, arrow, _ = ask(server, f"/{server.token}/table.arrow")
    assert pa.ipc.open_stream(arrow).read_all().num_rows == 60
    assert json.loads(ask(server, f"/{server.token}/meta")[1])["n"] == 60
    assert ask(server, f"/{server.token}/sheet/0")[1][:4] == b"RIFF"


@pytest.mark.parametrize(
    "path",
    ["/", "/wrong/", "/wrong/meta", "/{t}x/meta", "/{t}/sheet/1", "/{t}/sheet/-1", "/{t}/texts/0",
     "/{t}/../../etc/passwd", "/{t}/%2e%2e/%2e%2e/etc/passwd", "/{t}/sheet/../../page.py", "/{t}//meta"],
)  # fmt: skip
def test_other_paths_are_not_found(path, server):
    path = path.format(t=server.token).encode("utf-8").decode("latin-1")
    assert ask(server, path)[0] == 404


def test_foreign_pages_and_names_are_refused(server):
    path = f"/{server.token}/meta"
    assert ask(server, path, Host="evil.example")[0] == 403
    assert ask(server, path, Host=f"evil.example:{server.port}")[0] == 403
    assert ask(server, path, Origin="https://evil.example")[0] == 403
    assert ask(server, path, Origin="null")[0] == 403
    assert ask(server, path, Origin=f"http://127.0.0.1:{server.port}")[0] == 200


def test_oversize_and_other_requests_are_refused(server):
    assert ask(server, f"/{server.token}/{'x' * 5000}")[0] == 414
    assert ask(server, "/" + "x" * 100_000)[0] == 414
    assert ask(server, f"/{server.token}/", method="POST")[0] == 501
    assert ask(server, f"/{server.token}/", **{"X-Long": "x" * 100_000})[0] == 431


def test_parallel_clients_are_all_served(server):
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(ask(server, f"/{server.token}/meta")[0])) for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [200] * 16


@pytest.mark.slow
def test_the_server_stops_cleanly(diabetes_map):
    with Server(packed(diabetes_map, lazy=True)) as running:
        assert ask(running, f"/{running.token}/meta")[0] == 200
    with pytest.raises(OSError):  # refused; or not found, where the port is another program's by now
        urlopen(running.url, timeout=TIMEOUT)


# --- notebook --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_widgets_selection_goes_both_ways(diabetes_map):
    pytest.importorskip("anywidget")
    widget = explore(diabetes_map, payload=[f"text {k}" for k in range(442)])
    widget.selection = [5, 3]
    assert (widget._rows, widget.selected["id"].tolist()) == ([3, 5], [5, 3])
    widget._rows = [7, 8]
    assert (widget.selection, [type(value) for value in widget.selection]) == ([7, 8], [int, int])
    with pytest.raises(KeyError, match=r"1 id\(s\) are not in this map: \[4711\]"):
        widget.selection = [4711]
    sent = []
    widget.send = lambda message, buffers: sent.append((message, buffers))
    for want in ("texts/0", "texts/x", "../secret", None):
        widget._send_part(widget, {"want": want}, [])
    assert [message for message, _ in sent] == [{"part": "texts/0"}]
    assert json.loads(sent[0][1][0])[441] == "text 441"


@pytest.mark.slow
def test_a_real_kernel_runs_a_notebook_with_the_explorer(tmp_path):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("anywidget")
    code = """
from memorymaps import memory_map
from memorymaps.data.datasets import demo_model
model, X, y = demo_model()
explorer = memory_map(model, X, y).explore(payload=X.reshape(-1, 8, 8))
"""
    # a cell of its own for each output that is looked at: the first shows a progress bar where a pass takes a second
    cells = [code, "explorer.selection = [3, 1]\nprint(sorted(explorer.selected['id'].tolist()))", "explorer"]
    book = nbformat.v4.new_notebook(cells=list(map(nbformat.v4.new_code_cell, cells)))
    kernel = {"name": "python3", "display_name": "python3", "language": "python"}
    book.metadata["kernelspec"] = kernel
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Jupyter's own
        nbclient.NotebookClient(
            book, timeout=TIMEOUT, startup_timeout=TIMEOUT, iopub_timeout=TIMEOUT, raise_on_iopub_timeout=True,
            resources={"metadata": {"path": str(tmp_path)}},
        ).execute()  # fmt: skip
    (printed,), (shown,) = (cell.outputs for cell in book.cells[1:])
    assert printed["text"] == "[1, 3]\n"
    assert "application/vnd.jupyter.widget-view+json" in shown["data"]
