"""In a real browser: hostile class names, writing from right to left, pictures that are missing."""

import dataclasses

import numpy as np
import pyarrow as pa
import pytest
from hostile import CORPUS, literal
from PIL import Image
from sklearn.linear_model import LinearRegression

import memorymaps as mm

pytestmark = pytest.mark.browser


def test_every_hostile_string_is_a_class_once():
    assert 96 < len(dict.fromkeys(map(literal, CORPUS))) <= 108


def small_map(n, ids=None):
    X = np.random.default_rng(3).normal(size=(n, 3))
    y = X[:, 0] + np.random.default_rng(4).normal(size=n)
    return mm.memory_map(LinearRegression().fit(X, y), X, y, ids=ids)


def with_classes(m, classes):
    """The map, as if it were of these classes in turn."""
    table = m.table
    labels = pa.array([classes[k % len(classes)] for k in range(len(m))])
    for name in ("target", "prediction", "loo_prediction"):
        table = table.set_column(table.column_names.index(name), name, labels)
    description = dataclasses.replace(m.provenance.description, classes=tuple(classes))
    return dataclasses.replace(
        m, table=table, provenance=dataclasses.replace(m.provenance, description=description), origin=None
    )


@pytest.mark.parametrize("part", range(0, 108, 12))
def test_hostile_class_names_are_shown_and_never_run(part, tmp_path, opened):
    """A dozen at a time: so few are chips, legend, card, table of classes and menu at once."""
    classes = list(dict.fromkeys(map(literal, CORPUS)))[part : part + 12]
    m = with_classes(small_map(4 * len(classes)), [name or "(nothing)" for name in classes])
    page = opened(m.explore(tmp_path / "map.html", color="target"))
    page.run("s.focus.value = 0; s.hover.value = 1; s.filters.value = { ...s.filters.value, correct: 'right' }")
    assert page.page.locator(".mm-chip").count() == len(classes)
    shown = page.page.locator(".mm-chip span").evaluate_all("(all) => all.map((one) => one.textContent)")
    assert shown == [name or "(nothing)" for name in classes]
    page.page.get_by_role("tab", name="Classes").click()
    names = page.page.locator(".mm-groups tbody th").evaluate_all("(all) => all.map((one) => one.textContent)")
    assert sorted(names) == sorted(shown)
    page.page.locator(".mm-groups tbody th button").last.click()
    assert len(page.listed()) == 4
    assert page.page.locator("#mm-root script, iframe, img, object, base, link, form").count() == 0


@pytest.mark.parametrize(
    ("text", "way"), [("שלום עולם, זה מבחן", "rtl"), ("مرحبا بالعالم", "rtl"), ("日本語の例文", "ltr")]
)
def test_text_runs_the_way_its_letters_do(text, way, tmp_path, opened):
    m = small_map(30, ids=[f"{text} {k}" for k in range(30)])
    page = opened(m.explore(tmp_path / "map.html", payload=[f"{text}: {k}" for k in range(30)]))
    page.run("s.focus.value = 7")
    page.page.wait_for_selector(".mm-focus .mm-text")
    for place, words in ((".mm-focus .mm-card-id", f"{text} 7"), (".mm-focus .mm-text", f"{text}: 7")):
        assert page.page.locator(place).inner_text() == words
        assert page.page.locator(place).evaluate("(one) => getComputedStyle(one).direction") == way
    page.page.keyboard.press("/")
    page.page.keyboard.insert_text(f"{text} 7")
    page.page.wait_for_function("() => window.memorymaps.store.count.value === 1")


def test_missing_pictures_are_marked(tmp_path, opened):
    for k in range(30):
        if k != 7:
            Image.fromarray(np.full((8, 8, 3), 8 * k, dtype=np.uint8)).save(tmp_path / f"{k}.png")
    with pytest.warns(UserWarning, match="1 of 30 pictures cannot be read"):
        path = small_map(30).explore(tmp_path / "map.html", payload=[tmp_path / f"{k}.png" for k in range(30)])
    page = opened(path)
    page.run("s.focus.value = 7")
    page.page.wait_for_selector(".mm-focus .mm-nopic")
    assert page.page.locator(".mm-focus .mm-nopic").get_attribute("title") == "no picture of this example in this file"
    page.run("s.focus.value = 8")
    page.page.wait_for_selector(".mm-focus canvas.mm-pic")
