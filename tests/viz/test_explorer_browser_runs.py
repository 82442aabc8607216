"""In a real browser: tracked runs, several maps on a server, classes, colours of change, pictures to take away."""

import dataclasses
import json
import pathlib
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

import memorymaps as mm
from memorymaps.maps.trajectory import LOO_TRUST, SCALARS, Trajectory, step_folder
from memorymaps.training.tracker import _write_step
from memorymaps.viz.explorer.options import ExplorerOptions
from memorymaps.viz.explorer.packing import pack_lazily
from memorymaps.viz.explorer.server import Server

pytestmark = pytest.mark.browser
SVG = "{http://www.w3.org/2000/svg}"
NAMES = ["<b>", "b&amp;", '"c']


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 3)) + np.repeat(np.eye(3) * 1.5, 30, axis=0)
    return X, np.repeat(NAMES, 30)


def map_of(data, C=1.0):
    return mm.memory_map(LogisticRegression(C=C, tol=1e-8).fit(*data), *data)


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    for step in range(12):
        m = map_of(data, 0.01 * 1.6**step)
        loo = m.leave_one_out()
        losses = {"loss": loo.loss, "loo_loss": loo.loo_loss, "test_loss": 0.25 + step, "seconds": 0.0}
        _write_step(folder, 100 * step + 100, m, losses | {"effective": float(m["leverage"].sum())})
    return Trajectory.load(folder)


def test_the_losses_stand_beside_the_slider(run, tmp_path, opened):
    page = opened(run.explore(tmp_path / "run.html"))
    page.page.locator("input[type=range]").fill("3")
    page.settle()
    words = page.page.locator(".mm-when").inner_text()
    losses = run.losses().loc[400]
    assert words.startswith("step 400")
    for name, value in (("loss", losses["loss"]), ("leave-one-out", losses["loo_loss"]), ("test", 3.25)):
        assert float(re.search(rf"^{name} (\S+)$", words, re.MULTILINE).group(1)) == pytest.approx(value, rel=5e-3)
    assert "predictions: step 1,200" in words
    named = [text for text in page.page.locator(".mm-steps span").all_inner_texts() if text]
    assert (named[0], named[-1], len(named)) == ("step 100", "step 1,200", 6)


def test_the_verdict_stands_beside_a_left_out_loss_that_cannot_be_trusted(data, tmp_path, opened):
    for step in (1, 2):
        losses = {"loss": 0.5, "loo_loss": 0.6, "test_loss": 0.7, "effective": 3.0, "seconds": 0.0}
        _write_step(tmp_path / "run", step, map_of(data), losses)
    path = step_folder(tmp_path / "run", 1) / SCALARS
    path.write_text(json.dumps(json.loads(path.read_text()) | {LOO_TRUST: "not to be used"}))
    page = opened(Trajectory.load(tmp_path / "run").explore(tmp_path / "run.html"))
    for at, words in ((0, "leave-one-out 0.6 (not to be used)"), (1, "leave-one-out 0.6")):
        page.page.locator("input[type=range]").fill(str(at))
        page.settle()
        assert words in page.page.locator(".mm-when").inner_text().splitlines()


def test_colour_by_change_over_time_is_the_recorded_ratio(run, tmp_path, opened):
    page = opened(run.explore(tmp_path / "run.html"))
    page.page.get_by_label("Colour", exact=True).select_option("drift")
    page.page.locator("input[type=range]").fill("5")
    page.settle()
    first, now = (run.at(step)["leverage"] * run.at(step)["error"] for step in (100, 600))
    found = np.asarray(page.run("return [...s.trajectory.drift(s.time.value)]"))
    np.testing.assert_allclose(found, np.log10(now / first), atol=3e-4)
    assert page.page.locator(".mm-legend").inner_text().strip().startswith("÷")
    again = opened(page.address())
    assert again.run("return [s.color.value, s.time.value]") == ["drift", 5]


def test_line_card_ranks_and_table_follow_the_step(run, tmp_path, opened):
    page = opened(run.explore(tmp_path / "run.html"))
    page.page.locator("input[type=range]").fill("2")
    page.settle()
    m = run.at(300)
    product = m["leverage"] * m["error"]  # three outputs: an indication of the sensitivity, called what it is
    ids = m["id"].tolist()
    by_score = [ids[k] for k in np.argsort(-product)]
    page.run("s.top.value = 9")
    page.settle()
    above = page.run("const c = s.scores(0).cutOfTop(9); return [...s.scores(0).values].map((v) => v >= c)")
    assert sorted(np.asarray(ids)[above].tolist()) == sorted(by_score[:9])
    assert [int(row.get_attribute("data-example")) for row in page.page.locator(".mm-line").all()[:5]] == by_score[:5]
    assert "leverage × error" in page.page.locator(".mm-head").inner_text()
    page.page.locator(".mm-line").nth(2).click()
    page.settle()
    card = page.page.locator(".mm-focus").inner_text()
    assert "3 of 90 by leverage × error" in card
    assert "at the last step predicted" in card
    shown = page.run("return [s.cell('leverage', s.focus.value), s.cell('error', s.focus.value)].map(Number)")
    place = ids.index(by_score[2])
    np.testing.assert_allclose(shown, [m["leverage"][place], m["error"][place]], rtol=6e-3)
    page.page.locator("input[type=range]").fill("11")
    page.settle()
    last = run.at(1200)
    assert page.run("return s.rank.value[s.focus.value]") == list(np.argsort(-last["sensitivity"])).index(place)
    assert "by sensitivity" in page.page.locator(".mm-focus").inner_text()


def test_each_map_has_its_own_line_and_card(data, tmp_path, opened):
    m, weak = map_of(data), map_of(data, 0.001)
    page = opened(m.explore(tmp_path / "map.html", compare={"weak": weak}))
    page.run("s.compare.value = 'side'; s.top.value = 9")
    page.settle()
    for k, shown in enumerate((m, weak)):
        product = shown["leverage"] * shown["error"]
        above = page.run(
            "const c = s.scores(a).cutOfTop(s.top.value); return [...s.scores(a).values].map((v) => v >= c)", k
        )
        assert set(np.flatnonzero(above)) == set(np.argsort(-product)[:9])
    most = int(weak["sensitivity"].argmax())
    page.run("s.hover.value = a", most)
    page.settle()
    first, second = (card.inner_text() for card in page.page.locator(".mm-card").all())
    assert "1 of 90 by sensitivity" in second
    assert f"{list(np.argsort(-m['sensitivity'])).index(most) + 1} of 90 by sensitivity" in first
    assert "weak" in second
    for name in ("leverage", "error", "sensitivity"):
        found = float(re.search(rf"{name}\n(\S+)", second).group(1))
        assert found == pytest.approx(weak[name][most], rel=6e-3)


def test_lines_of_one_output_are_those_of_the_sensitivity(tmp_path, opened):
    rng = np.random.default_rng(3)
    X, y = rng.normal(size=(70, 3)), rng.normal(size=70)
    m = mm.memory_map(LinearRegression().fit(X, y), X, y)
    page = opened(m.explore(tmp_path / "line.html"))
    found = np.asarray(page.run("return [...s.scores(0).values]"))
    np.testing.assert_allclose(found, m["sensitivity"], rtol=1e-5)
    assert page.run("return s.meta.trust.map((v) => v.level)") == ["exact"] * 5
    page.run("s.focus.value = 0")
    page.settle()
    assert "sensitivity exact" in page.page.locator(".mm-focus").inner_text()
    ids = ["-1", "+1", "=1", "@1", "00041"]
    named = m.filter(np.arange(70) < 5)
    table = named.table.set_column(0, "id", [ids])
    other = opened(dataclasses.replace(named, table=table).explore(tmp_path / "ids.html"))
    with other.page.expect_download() as caught:
        other.page.get_by_role("button", name="CSV").click()
    rows = pathlib.Path(caught.value.path()).read_text(encoding="utf-8").splitlines()[1:]
    assert sorted(row.split(",")[0] for row in rows) == sorted(ids)


def test_colour_by_change_between_maps(data, tmp_path, opened):
    m, weak = map_of(data), map_of(data, 0.01)
    page = opened(m.explore(tmp_path / "map.html", compare={"weak": weak}))
    page.page.get_by_label("Colour", exact=True).select_option("change")
    page.settle()
    codes = np.asarray(page.run("return [...v.discs()].map((d) => d[3])"))
    ratio = weak["sensitivity"] / m["sensitivity"]
    drawn = m["sensitivity"].argsort()  # the most sensitive last
    ends = [codes[np.flatnonzero(drawn == k)[0]] for k in (int(ratio.argmin()), int(ratio.argmax()))]
    red = [[int(v) for v in re.findall(r"\d+", color)] for color in ends]
    assert red[0][2] > red[0][0]  # less: blue
    assert red[1][0] > red[1][2] or ratio.max() < 1  # more: orange


def test_the_link_restores_the_comparison(data, tmp_path, opened):
    page = opened(map_of(data).explore(tmp_path / "map.html", compare={"weak": map_of(data, 0.01)}))
    page.page.get_by_role("button", name="side by side").click()
    again = opened(page.address())
    assert again.page.locator(".mm-pane").count() == 2


def test_changes_are_offered_where_there_are_any(data, tmp_path, opened):
    page = opened(map_of(data).explore(tmp_path / "map.html"))
    offered = page.page.get_by_label("Colour", exact=True).locator("option").all_inner_texts()
    assert not [name for name in offered if "change" in name]


def test_the_chooser_opens_the_other_map(data, run, opened):
    maps = {"<i>weak": map_of(data, 0.01), "run": run}
    packed = {name: pack_lazily(one, ExplorerOptions(title=f"title of {name}")) for name, one in maps.items()}
    with Server(packed) as server:
        page = opened(server.url)
        chooser = page.page.get_by_label("Map", exact=True)
        assert chooser.locator("option").all_inner_texts() == list(maps)
        assert page.page.locator(".mm-time").count() == 0
        for k, slider in ((1, 1), (0, 0)):
            with page.page.expect_navigation():
                page.page.get_by_label("Map", exact=True).select_option(str(k))
            page.ready()
            assert page.page.locator("h1").inner_text() == f"title of {list(maps)[k]}"
            assert page.page.locator(".mm-time").count() == slider
    with Server(packed["run"]) as server:
        assert opened(server.url).page.get_by_label("Map", exact=True).count() == 0


def test_the_class_table_equals_python_and_filters(data, tmp_path, opened):
    m = map_of(data)
    page = opened(m.explore(tmp_path / "map.html", leave_out="target"))
    page.page.get_by_role("tab", name="Classes").click()
    assert page.page.locator(".mm-groups").count() == 2
    effects = m.leave_out("target")
    left_out = page.page.locator(".mm-groups").nth(1)
    for k, name in enumerate(effects["group"]):
        row = left_out.locator("tr", has=page.page.get_by_text(name, exact=True))
        cells = row.locator("td").all_inner_texts()
        assert int(cells[0]) == 30
        assert float(cells[2]) == pytest.approx(effects["leave_out_loss"][k], rel=5e-3)
        assert float(cells[4]) == pytest.approx(effects["rest_leave_out_loss"][k], rel=5e-3)
    page.page.locator(".mm-groups").first.get_by_role("button", name=NAMES[1], exact=True).click()
    page.settle()
    assert sorted(map(int, page.listed())) == list(range(30, 60))
    header = page.page.locator(".mm-groups").first.get_by_role("button", name="accuracy")
    header.click()
    values = [
        row.locator("td").nth(3).inner_text() for row in page.page.locator(".mm-groups tbody").first.locator("tr").all()
    ]
    numbers = [float(value.removesuffix(" %")) for value in values]
    assert numbers == sorted(numbers, reverse=True)


# --- pictures to take away -------------------------------------------------------------------------------------------


def saved(page, kind="SVG"):
    return ET.fromstring(page.download(kind))


def test_svg_holds_every_point_where_it_is(data, tmp_path, opened):
    m = map_of(data)
    page = opened(m.explore(tmp_path / "map.html"))
    picture = saved(page)
    spots = np.asarray(page.run("return Array.from({length: s.n}, (_, i) => [v.px(i), v.py(i)])"))
    expected = spots[m["sensitivity"].astype(np.float32).argsort(kind="stable")]  # the most sensitive are drawn last
    drawn = [(float(c.get("cx")), float(c.get("cy"))) for c in picture.iter(f"{SVG}circle")]
    np.testing.assert_allclose(drawn, expected, atol=0.0051)
    words = [text.text for text in picture.iter(f"{SVG}text")]
    assert "Bayesian leverage (effective parameters) →" in words
    assert str(m.top(1)["id"][0]) in words


def test_svg_writes_names_literally(tmp_path, opened):
    rng = np.random.default_rng(0)
    X, ids = rng.normal(size=(30, 2)), [f"{k}<script>window.hit=1</script>\x01&" for k in range(30)]
    y = X[:, 0] + rng.normal(size=30)
    page = opened(mm.memory_map(LinearRegression().fit(X, y), X, y, ids=ids).explore(tmp_path / "map.html"))
    picture = saved(page)
    assert not list(picture.iter(f"{SVG}script"))
    words = [text.text for text in picture.iter(f"{SVG}text") if "<script>" in (text.text or "")]
    assert words
    assert all(re.fullmatch(r"\d+<script>window\.hit=1<?.*", text) for text in words)


def test_svg_of_two_maps_and_of_a_crowd(data, tmp_path, opened):
    page = opened(map_of(data).explore(tmp_path / "map.html", compare={"weak": map_of(data, 0.01)}))
    page.page.get_by_role("button", name="side by side").click()
    page.settle()
    picture = saved(page)
    assert [len(list(part.iter(f"{SVG}circle"))) for part in picture.findall(f"{SVG}svg")] == [90, 90]
    page.page.get_by_role("button", name="density").click()
    page.settle()
    picture = saved(page)
    assert len(list(picture.iter(f"{SVG}image"))) == 2
    assert not list(picture.iter(f"{SVG}circle"))


def test_outliers_are_named_where_there_are_no_pictures(data, tmp_path, opened):
    m = mm.memory_map(LogisticRegression(tol=1e-8).fit(*data), *data, ids=[f"no{k}" for k in range(90)])
    page = opened(m.explore(tmp_path / "map.html"))
    box = page.page.get_by_label("label outliers")
    assert box.is_checked()
    ids = {f"no{k}" for k in range(90)}
    named = {text.text for text in saved(page).iter(f"{SVG}text")} & ids
    box.uncheck()
    page.settle()
    assert len(named) >= 3
    assert not {text.text for text in saved(page).iter(f"{SVG}text")} & ids


def test_the_link_refuses_changes_that_are_not_there(data, tmp_path, opened):
    path = map_of(data).explore(tmp_path / "map.html")
    page = opened(f"{path.as_uri()}#{json.dumps({'color': 'drift'})}")
    assert page.run("return s.color.value") == "sensitivity"
