"""The explorer in a real browser: what a reader sees is what the map says, and nothing hostile runs."""

import base64
import dataclasses
import json
import pathlib

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from browser import Explorer, new_page
from hostile import CORPUS, HTML, QUOTES, literal
from matplotlib.path import Path as Polygon
from sklearn.datasets import load_digits
from sklearn.linear_model import LinearRegression, LogisticRegression

import memorymaps as mm
from memorymaps.viz.explorer.html_page import static_asset
from memorymaps.viz.explorer.metadata import VERSION
from memorymaps.viz.explorer.options import ExplorerOptions
from memorymaps.viz.explorer.packing import pack_lazily
from memorymaps.viz.explorer.server import Server

pytestmark = pytest.mark.browser
AXE = pathlib.Path(__file__).parents[2] / "frontend" / "node_modules" / "axe-core" / "axe.min.js"


def digits():
    X, y = load_digits(return_X_y=True)
    return X / 16, y


def digits_model(C):
    X, y = digits()
    return mm.memory_map(LogisticRegression(C=C, tol=1e-3, max_iter=500).fit(X, y), X, y)


@pytest.fixture(scope="module")
def digits_page(digits_map, tmp_path_factory):
    steps = {f"C = {C:g}": digits_model(C) for C in (1e-3, 1e-2, 0.1)} | {"end": digits_map}
    path = tmp_path_factory.mktemp("page") / "digits.html"
    X, _ = digits()
    return digits_map.explore(
        path, payload=X.reshape(-1, 8, 8), compare={"C = 0.01": steps["C = 0.01"]}, trajectory=steps
    )


def changed(m, **columns):
    table = m.table
    for name, values in columns.items():
        table = table.set_column(table.column_names.index(name), name, pa.array(values))
    return dataclasses.replace(m, table=table)


def small_map(n=60, ids=None):
    X = np.random.default_rng(3).normal(size=(n, 3))
    y = X[:, 0] + np.random.default_rng(4).normal(size=n)
    return mm.memory_map(LinearRegression().fit(X, y), X, y, ids=ids)


# --- what one sees ---------------------------------------------------------------------------------------------------


def test_hovering_shows_the_right_example(digits_page, digits_map, opened):
    page = opened(digits_page)
    for row in np.argsort(digits_map["leverage"])[:3].tolist():
        page.hover(row)
        page.page.wait_for_function("(id) => document.querySelector('.mm-card-id')?.textContent === id", arg=str(row))
        page.settle()  # the card's picture is cleared and asked for
        page.page.wait_for_function(
            """() => { const c = document.querySelector('.mm-card canvas');
            const { data } = c.getContext('2d').getImageData(0, 0, c.width, c.height);
            return data.some((v, k) => k % 4 < 3 && v > 0); }"""
        )
        pixels = page.page.evaluate(
            """() => { const c = document.querySelector('.mm-card canvas');
            return [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]
              .filter((_, i) => i % 4 === 0); }"""
        )
        shown = np.asarray(pixels, float).reshape(84, 84)[4::10, 4::10][:8, :8]
        assert np.corrcoef(shown.ravel(), digits()[0][row])[0, 1] > 0.8


def test_the_table_is_sorted_as_the_map_is(digits_page, digits_map, opened):
    page = opened(digits_page)
    assert page.listed()[:50] == list(map(str, digits_map.top(50)["id"].tolist()))
    page.page.locator("[data-sort=leverage]").click()
    assert page.listed()[:50] == list(map(str, digits_map.top(50, by="leverage")["id"].tolist()))
    page.page.locator("[data-sort=leverage]").click()
    assert page.listed()[-1] == str(digits_map.top(1, by="leverage")["id"][0])
    rows = page.page.locator(".mm-line").all_inner_texts()
    assert rows[0].split("\n")[0] == page.listed()[0]


def draw_lasso(page, corners):
    box = page.page.locator(".mm-top").first.bounding_box()
    spots = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in corners]
    page.page.keyboard.press("l")
    page.page.mouse.move(*spots[0])
    page.page.mouse.down()
    for spot in spots[1:]:
        page.page.mouse.move(*spot, steps=8)
    page.page.mouse.up()
    page.settle()


LASSO = [(0.5, 0.25), (0.85, 0.3), (0.8, 0.75), (0.62, 0.6), (0.45, 0.7)]


@pytest.mark.parametrize("log", [True, False])
def test_a_lasso_selects_what_python_selects(log, digits_page, digits_map, opened):
    page = opened(digits_page)
    if not log:
        page.page.get_by_role("button", name="log x").click()
        page.page.get_by_role("button", name="log y").click()
    page.page.locator(".mm-pane").first.focus()
    draw_lasso(page, LASSO)
    scale = np.log10 if log else np.asarray
    region = np.asarray(page.run("return s.region.value"))
    points = np.column_stack([digits_map[name].astype(np.float32) for name in ("leverage", "error")])
    expected = np.flatnonzero(Polygon(scale(region)).contains_points(scale(points))).tolist()
    assert len(expected) > 5
    assert page.selected() == expected
    assert sorted(map(int, page.listed())) == expected
    assert {int(t.get_attribute("data-example")) for t in page.page.locator(".mm-tile").all()} <= set(expected)


def test_exports_are_the_selection(digits_page, digits_map, opened):
    page = opened(digits_page)
    page.page.locator(".mm-pane").first.focus()
    draw_lasso(page, LASSO)
    rows = page.selected()
    assert sorted(json.loads(page.download("JSON"))["ids"]) == rows
    lines = page.download("CSV").splitlines()
    assert sorted(int(line.split(",")[0]) for line in lines[1:]) == rows
    page.page.evaluate("() => { navigator.clipboard.writeText = async (text) => { window.copied = text; }; }")
    page.page.get_by_role("button", name="Python", exact=True).click()
    page.settle()
    python = page.page.evaluate("() => window.copied")
    assert sorted(eval(python, {"m": digits_map})["id"].tolist()) == rows


def test_filters_equal_python(digits_page, digits_map, opened):
    page = opened(digits_page)
    wrong, three = digits_map["target"] != digits_map["prediction"], digits_map["target"] == 3
    flips = digits_map["prediction"] != digits_map["loo_prediction"]
    count = page.page.locator(".mm-count")
    page.page.get_by_role("button", name="wrong", exact=True).click()
    assert int(count.get_attribute("data-count")) == wrong.sum()
    page.page.locator(".mm-chip").nth(3).click()
    assert int(count.get_attribute("data-count")) == (wrong & three).sum()
    page.page.get_by_role("button", name="show all", exact=True).click()
    page.page.get_by_role("button", name="flips when left out").click()
    assert int(count.get_attribute("data-count")) == flips.sum()
    assert sorted(map(int, page.listed())) == np.flatnonzero(flips).tolist()


def test_searching_finds_ids(digits_page, opened):
    page = opened(digits_page)
    page.page.keyboard.press("/")
    page.page.keyboard.insert_text("=1274")  # at once: "=12" is an id, too
    page.page.wait_for_function("() => window.memorymaps.store.count.value === 1")
    assert page.listed() == ["1274"]


def test_axes_switch_and_the_points_follow(digits_page, digits_map, opened):
    page = opened(digits_page)
    page.page.get_by_role("button", name="log x").click()
    page.settle()
    found = np.asarray(page.run("return [...v.positions.x]"))
    np.testing.assert_allclose(found, digits_map["leverage"], rtol=1e-6)


def test_the_slider_sets_the_recorded_coordinates(digits_page, opened):
    page = opened(digits_page)
    first = digits_model(1e-3)
    page.page.locator("input[type=range]").fill("0")
    page.settle()
    found = [np.asarray(page.run(f"return [...v.positions.{axis}]")) for axis in "xy"]
    for axis, name in zip(found, ("leverage", "error"), strict=True):
        np.testing.assert_allclose(10**axis, first[name], rtol=3e-4)
    assert page.page.locator(".mm-when b").inner_text() == "C = 0.001"


def test_compared_maps_are_linked_by_id(digits_page, opened):
    page = opened(digits_page)
    page.page.get_by_role("button", name="side by side").click()
    page.settle()
    other = digits_model(1e-2)
    found = np.asarray(page.page.evaluate("() => [...window.memorymaps.views[1].positions.x]"))
    np.testing.assert_allclose(10**found, other["leverage"], rtol=1e-5)
    page.page.get_by_role("tab", name="Changes").click()
    assert page.page.locator(".mm-movers .mm-entry").count() == 40


def test_the_link_restores_the_view(digits_page, opened):
    page = opened(digits_page)
    page.page.get_by_role("button", name="wrong", exact=True).click()
    page.page.locator(".mm-pane").first.focus()
    draw_lasso(page, LASSO)
    page.page.keyboard.press("+")
    page.run("s.top.value = 7")
    page.page.get_by_role("button", name="Dark page").click()
    again = opened(page.address())
    seen = ("[...s.selection.value]", "s.filters.value", "s.frame.value", "s.log.value", "s.top.value")
    for what in (*seen, "s.theme.value"):
        assert again.run(f"return {what}") == page.run(f"return {what}"), what
    assert again.run("return [s.scores(0).countAbove(s.scores(0).cutOfTop(s.top.value)), s.theme.value]") == [7, "dark"]


def test_a_link_leaves_the_scheme_to_the_machine_that_opens_it(digits_page, opened):
    link = opened(digits_page, color_scheme="dark").address()
    assert opened(link, color_scheme="light").run("return s.theme.value") == "light"


def test_a_link_pasted_into_an_open_page_is_shown(digits_page, opened):
    first = opened(digits_page)
    first.page.get_by_role("button", name="wrong", exact=True).click()
    link = first.address()
    second = opened(digits_page)
    second.address()
    with second.page.expect_navigation(wait_until="load"):
        second.page.evaluate("(link) => { location.href = link }", link)
    second.page.wait_for_function("() => window.memorymaps?.store.filters.value.correct === 'wrong'")
    assert second.ready().run("return s.count.value") == first.run("return s.count.value")


def test_overlapping_points_are_fainter_than_isolated_ones(opened, tmp_path):
    X = np.zeros((3000, 1))
    X[:, 0] = np.r_[np.full(2999, 1.0), 3.0] + 1e-4 * np.arange(3000) / 3000
    y = X[:, 0] + np.r_[1e-3 * np.sin(np.arange(2999)), 0.1]
    m = mm.memory_map(LinearRegression(fit_intercept=False).fit(X, y), X, y)
    page = opened(m.explore(tmp_path / "m.html", columns={"kind": ["one"] * 3000}, color="kind"))
    discs = "return [...v.discs()].map(([x, y, , , strength]) => [x, y, strength])"
    x, y, strong = np.array(page.run(discs)).T
    there = page.run("return [v.px(2999), v.py(2999)]")
    assert strong[np.argmin(np.hypot(x - there[0], y - there[1]))] == pytest.approx(0.88)
    assert np.median(strong) < 0.5


@pytest.mark.parametrize("link", ["#garbage", "#%7B%22log%22:5%7D", '#{"selection":[1e9,-1,"x"],"focus":99999999}'])
def test_damaged_links_show_the_whole_map(link, digits_page, opened):
    page = opened(digits_page.as_uri() + link)
    assert page.run("return s.count.value") == 1797


def test_the_keyboard_moves_through_the_table(digits_page, digits_map, opened):
    page = opened(digits_page)
    page.page.locator(".mm-pane").first.focus()
    for _ in range(3):
        page.page.keyboard.press("ArrowDown")
    third = int(digits_map.top(3)["id"][2])
    assert page.run("return s.focus.value") == third
    assert f"Example {third}, rank 3 of" in page.page.locator(".mm-said").inner_text()
    page.page.keyboard.press("Enter")
    assert page.selected() == [third]
    page.page.keyboard.press("Escape")
    assert page.selected() == []


def test_dark_by_preference_and_by_button(digits_page, opened):
    page = opened(digits_page, color_scheme="dark")
    assert page.page.locator(".mm.dark").count() == 1
    page.page.get_by_role("button", name="Light page").click()
    assert page.page.locator(".mm.light").count() == 1


def test_the_same_state_gives_the_same_pixels(digits_page, opened):
    code = """() => { const c = document.querySelector('.mm-points'); const d = c.getContext('2d')
      .getImageData(0, 0, c.width, c.height).data; let h = 0; for (const v of d) h = (h * 31 + v) | 0; return h; }"""
    found = set()
    for _ in range(2):
        page = opened(digits_page)
        page.settle()
        found.add(page.page.evaluate(code))
    assert len(found) == 1


def test_no_network_requests(digits_page, opened):
    page = opened(digits_page)
    for name in ("Concentration", "Rankings", "Changes", "About", "Examples"):
        page.page.get_by_role("tab", name=name).click()
    assert {url.partition(":")[0] for url in page.requests} <= {"file", "blob"}


def test_foreign_script_in_the_page_is_stopped_by_the_policy(digits_page, browser):
    page = Explorer(browser, digits_page.as_uri()).ready()
    page.page.evaluate("""() => { const d = document.createElement('div');
      d.innerHTML = '<img src=x onerror="window.hit=1">'; document.body.append(d); }""")
    page.page.wait_for_function("() => window.violations.length > 0")
    assert page.page.evaluate("() => window.hit") is None
    assert "script-src-attr" in page.page.evaluate("() => window.violations")
    page.close()


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed: npm ci in frontend/")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessible(scheme, digits_page, browser):
    page = Explorer(browser, digits_page.as_uri(), color_scheme=scheme, bypass_csp=True).ready()
    page.page.add_script_tag(content=AXE.read_text())
    serious = []
    for name in ("Examples", "Concentration", "Rankings", "Changes", "About"):
        page.page.get_by_role("tab", name=name).click()
        found = page.page.evaluate("() => axe.run()")["violations"]
        serious += [
            (name, v["id"], [n["html"][:120] for n in v["nodes"][:2]])
            for v in found
            if v["impact"] in ("serious", "critical")
        ]
    page.close()
    assert serious == []


# --- hostile and awkward data ----------------------------------------------------------------------------------------


def test_the_corpus_is_large():
    assert len(set(CORPUS)) >= 100


def hostile_page(path):
    """The corpus as ids, labels, texts, class and column names, a title and names of maps and steps."""
    n = len(CORPUS)
    m = small_map(n, ids=[f"{k}:{text}." for k, text in enumerate(map(literal, CORPUS))])
    frame = pd.DataFrame({text: [f"{text}{k % 2}" for k in range(n)] for text in map(literal, [*HTML, *QUOTES[:12]])})
    frame["label"] = list(map(literal, CORPUS))
    title = "".join(HTML[:4])
    return m.explore(
        path, payload=CORPUS, columns=frame, title=title, compare={HTML[1]: m}, trajectory={HTML[2]: m, QUOTES[3]: m}
    )


def test_hostile_strings_are_shown_and_never_run(tmp_path, opened):
    page = opened(hostile_page(tmp_path / "map.html"))
    assert page.page.title() == "".join(HTML[:4])
    assert page.page.locator("h1").inner_text() == "".join(HTML[:4])
    for row, text in enumerate(CORPUS):
        page.run("s.focus.value = a", row)
        shown = page.page.evaluate(
            """async () => { for (let k = 0; k < 3; k++) await new Promise(requestAnimationFrame);
            return document.querySelector('.mm-focus .mm-card-id').textContent; }"""
        )
        assert shown == f"{row}:{literal(text)}."
    page.run("s.hover.value = 0; s.compare.value = 'side'; s.color.value = 'label'")
    for name in ("Concentration", "Rankings", "Changes", "About", "Examples"):
        page.page.get_by_role("tab", name=name).click()
        page.settle()
    assert (
        page.page.locator("script, iframe, img, object, base, link, form").count()
        == page.page.locator("body > script").count()
    )


def test_hostile_strings_survive_the_exports(tmp_path, opened):
    page = opened(hostile_page(tmp_path / "map.html"))
    expected = [f"{k}:{literal(text)}." for k, text in enumerate(CORPUS)]
    assert sorted(json.loads(page.download("JSON"))["ids"]) == sorted(expected)


def test_texts_are_shown_and_searched(tmp_path, opened, diabetes_map):
    texts = [f"example number {k}" + (" with a NEEDLE" if k == 400 else "") for k in range(442)]
    page = opened(diabetes_map.explore(tmp_path / "map.html", payload=texts))
    page.page.keyboard.press("/")
    page.page.keyboard.insert_text("needle")  # at once: "ne" finds it, too
    page.page.wait_for_function("() => window.memorymaps.store.count.value === 1")
    page.page.locator(".mm-line").first.click()
    page.page.wait_for_selector(".mm-focus .mm-text")
    assert page.page.locator(".mm-focus .mm-text").inner_text() == texts[400]


def test_panels_without_data_are_absent(tmp_path, opened, diabetes_map):
    page = opened(diabetes_map.explore(tmp_path / "map.html"))
    assert page.page.get_by_role("tab").all_inner_texts() == ["Examples", "Concentration", "Rankings", "About"]
    for absent in (".mm-time", ".mm-gallery", ".mm-chips", ".mm canvas.mm-pic"):
        assert page.page.locator(absent).count() == 0


def test_undefined_coordinates_are_listed_not_drawn(tmp_path, opened, diabetes_map):
    odd = changed(diabetes_map, leverage=np.r_[np.nan, np.inf, diabetes_map["leverage"][2:]])
    page = opened(odd.explore(tmp_path / "map.html"))
    assert (page.run("return s.undrawn"), len(page.listed())) == (2, 442)
    page.page.get_by_role("button", name="not drawn (2)").click()
    assert sorted(page.listed()) == ["0", "1"]


@pytest.mark.parametrize("case", ["one", "equal", "zero"])
def test_one_point_equal_points_and_zeros(case, tmp_path, opened, diabetes_map):
    names = ("leverage", "error", "sensitivity", "loss", "loo_loss")
    m = diabetes_map.select([5])
    if case != "one":
        m = changed(diabetes_map, **{name: np.full(442, 0.5 if case == "equal" else 0.0) for name in names})
    page = opened(m.explore(tmp_path / "map.html"))
    for name in ("Concentration", "About", "Examples"):
        page.page.get_by_role("tab", name=name).click()
    assert len(page.listed()) == len(m)
    assert page.run("return v.frame.domain.every(Number.isFinite)")


def test_a_thousand_classes_are_a_list(tmp_path, opened):
    m = small_map(2000)
    classes = tuple(f"kind {k}" for k in range(1000))
    labels = [classes[k % 1000] for k in range(2000)]
    m = changed(m, target=labels, prediction=labels, loo_prediction=labels)
    description = dataclasses.replace(m.provenance.description, classes=classes)
    m = dataclasses.replace(m, provenance=dataclasses.replace(m.provenance, description=description))
    page = opened(m.explore(tmp_path / "map.html", color="target"))
    page.page.get_by_label("Class", exact=True).select_option("7")
    assert sorted(page.listed()) == ["1007", "7"]


def test_a_page_of_a_newer_version_is_an_error(tmp_path, browser, diabetes_map):
    path = diabetes_map.explore(tmp_path / "map.html")
    path.write_text(path.read_text().replace(f'"version":{VERSION}', '"version":99'))
    page = Explorer(browser, path.as_uri())
    page.page.wait_for_selector(".mm-refused")
    assert f"holds data of version 99 and reads up to {VERSION}" in page.page.locator(".mm-refused").inner_text()
    page.close()


PICTURES = """() => {
  const all = [...document.querySelectorAll(".mm-gallery canvas.mm-pic")];
  const drawn = (c) => c.getContext("2d").getImageData(0, 0, c.width, c.height).data.some((v) => v > 0);
  return all.length > 0 && all.every(drawn);
}"""


def test_the_server_sends_only_displayed_parts(opened, digits_map):
    X, _ = digits()
    with Server(pack_lazily(digits_map, ExplorerOptions(payload=X.reshape(-1, 8, 8)))) as server:
        page = opened(server.url)
        page.page.wait_for_function(PICTURES)
        assert page.listed()[:3] == list(map(str, digits_map.top(3)["id"].tolist()))
        sheets = [url for url in page.requests if "/sheet/" in url]
        assert [url.rpartition("/")[2] for url in sheets] == ["0"]
        assert all(url.startswith((server.url, "blob:")) for url in page.requests)


# --- notebook --------------------------------------------------------------------------------------------------------

STUB = """async ([code, css, meta, table, sheet]) => {
  const bytes = (text) => new DataView(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
  const state = { _meta: meta, _table: bytes(table), _rows: [2], height: 600 };
  const runs = {};
  const tell = (event, ...what) => (runs[event] ?? []).forEach((run) => run(...what));
  window.model = {
    state, get: (k) => state[k], set: (k, v) => { state[k] = v; }, save_changes: () => {},
    on: (event, run) => { (runs[event] ??= []).push(run); }, off: (event, run) => {
      runs[event] = (runs[event] ?? []).filter((r) => r !== run); },
    send: (m) => { window.wanted = [...(window.wanted ?? []), m.want];
      tell("msg:custom", { part: m.want }, [bytes(sheet)]); },
    push: (rows) => { state._rows = rows; tell("change:_rows"); }, listeners: () => Object.values(runs).flat().length,
  };
  document.head.append(Object.assign(document.createElement("style"), { textContent: css }));
  const module = await import(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
  window.stop = await module.default.render({ model: window.model, el: document.body });
}"""


def test_the_widgets_page_talks_to_its_model(browser, digits_map):
    X, _ = digits()
    made = pack_lazily(digits_map, ExplorerOptions(payload=X.reshape(-1, 8, 8)))
    parts = [base64.b64encode(part).decode() for part in (made.compressed(), made.sheet(0))]
    page = new_page(browser, viewport={"width": 1200, "height": 700})
    page.evaluate(STUB, [static_asset("widget.js"), static_asset("explorer.css"), made.meta_json(), *parts])
    page.wait_for_selector(".mm-line")
    assert page.locator(".mm-src").inner_text() == "by Python"
    assert page.locator(".mm-kpi b").first.inner_text() == "1"
    page.wait_for_function("() => window.wanted?.includes('sheet/0')")
    page.evaluate("() => window.model.push([5, 6, 7])")
    page.wait_for_function("() => document.querySelector('.mm-kpi b').textContent === '3'")
    page.get_by_role("button", name="clear", exact=True).click()
    assert page.evaluate("() => window.model.state._rows") == []
    page.evaluate("() => window.stop()")
    assert page.evaluate("() => [document.querySelectorAll('.mm').length, window.model.listeners()]") == [0, 0]
    page.context.close()
