"""Pictures say what the map says: their points, names, axes and colours, also for awkward data."""

import dataclasses
import itertools
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pyarrow as pa
import pytest
from matplotlib import pyplot as plt
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import memorymaps as mm
from memorymaps.viz.displays.half_normal import HalfNormalDisplay
from memorymaps.viz.displays.leave_out import GroupDisplay, LeaveOutDisplay
from memorymaps.viz.displays.map import MapDisplay
from memorymaps.viz.displays.sensitivity import SensitivityDisplay
from memorymaps.viz.displays.style import escape_label

OF_MAPS = (MapDisplay, SensitivityDisplay, LeaveOutDisplay, HalfNormalDisplay)
HOSTILE = [
    "$x^2$",
    "<script>alert(1)</script>",
    "two\nlines",
    "nul\0l",
    "x" * 10_000,
    "costs 5$",
    "שלום עולם",
    "_a",
    "",
]


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def digits_map():
    """The demo's map after a loose fit: pictures need no optimum."""
    X, y = load_digits(return_X_y=True)
    return mm.memory_map(LogisticRegression(tol=1e-2, max_iter=500).fit(X / 16, y), X / 16, y)


def linear_map(n=40, dummies=0):
    """A linear regression's map; the first `dummies` rows have a column of their own, so leverage one."""
    rng = np.random.default_rng(7)
    X = np.column_stack([rng.normal(size=(n, 2)), np.eye(n, dummies)])
    y = X[:, 0] + rng.normal(size=n)
    return mm.memory_map(LinearRegression().fit(X, y), X, y)


def with_columns(m, **columns):
    table = m.table
    for name, values in columns.items():
        table = table.set_column(table.column_names.index(name), name, pa.array(values))
    return dataclasses.replace(m, table=table)


def hostile_map():
    return with_columns(linear_map(20), id=[*HOSTILE, *map(str, range(len(HOSTILE), 20))])


def names_on(ax, ids):
    """Which ids are written at points."""
    written = {text.get_text() for text in ax.texts}
    return {value for value in ids if escape_label(value) in written}


def words(texts):
    return [text.get_text() for text in texts]


def line_with(ax, marker):
    (line,) = [line for line in ax.lines if line.get_marker() == marker]
    return line


# --- numbers ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("display", OF_MAPS)
def test_frame_equals_the_maps_columns(display, diabetes_map):
    drawn = display.from_map(diabetes_map)
    frame, same = drawn.frame(), diabetes_map.select(drawn.frame()["id"])
    assert (len(frame), frame is drawn.frame()) == (442, False)
    for name in set(frame) & set(same):
        np.testing.assert_array_equal(frame[name], same[name])


def test_drawn_points_and_colours_are_the_maps(diabetes_map):
    m = diabetes_map.top(442, by="target").select(diabetes_map.top(442, by="prediction")["id"][::-1])
    drawn = MapDisplay.from_map(m, color="prediction")
    (cloud,) = [found for found in drawn.ax_.collections if len(found.get_offsets()) == 442]
    np.testing.assert_array_equal(cloud.get_offsets(), np.column_stack([m["leverage"], m["error"]]))
    np.testing.assert_array_equal(cloud.get_array(), m["prediction"])
    assert drawn.figure_.axes[-1].get_ylabel() == "prediction"


@pytest.mark.slow
@pytest.mark.parametrize("k", [0, 1, 10])
def test_labelled_are_the_most_sensitive(k, diabetes_map):
    drawn, top = MapDisplay.from_map(diabetes_map, label=k), set(diabetes_map.top(k)["id"].tolist())
    assert set(drawn.frame().query("labelled")["id"]) == names_on(drawn.ax_, range(442)) == top


@pytest.mark.slow
def test_leave_out_names_the_largest_rises(diabetes_map):
    ax = LeaveOutDisplay.from_map(diabetes_map, label=5).ax_
    rise = diabetes_map["loo_loss"] - diabetes_map["loss"]
    assert names_on(ax, range(442)) == set(np.argsort(rise)[-5:].tolist())
    np.testing.assert_array_equal(line_with(ax, "o").get_ydata(), diabetes_map["loo_loss"])


@pytest.mark.slow
def test_sensitivities_fall_and_their_share_rises_to_all(digits_map):
    left, right = (ax.lines[0].get_ydata() for ax in SensitivityDisplay.from_map(digits_map).figure_.axes)
    falling = np.sort(digits_map["sensitivity"])[::-1]
    np.testing.assert_array_equal(left, falling)
    np.testing.assert_allclose(right, 100 * np.cumsum(falling) / falling.sum())


def test_groups_are_drawn_largest_rise_first_and_cut_at_thirty(diabetes_map):
    result = diabetes_map.leave_out(np.arange(442) // 11)
    drawn = LeaveOutDisplay.from_leave_out(result)
    order = np.argsort(result["loss"] - result["leave_out_loss"])[:30]
    assert words(drawn.ax_.get_yticklabels()) == [f"{result['group'][k]} ({result['size'][k]})" for k in order]
    np.testing.assert_array_equal(line_with(drawn.ax_, "s").get_xdata(), result["leave_out_loss"][order])
    assert drawn.ax_.get_title(loc="left") == "30 of 41 groups, largest increase first"
    extents = [text.get_window_extent() for text in drawn.ax_.get_yticklabels()]
    assert not any(a.overlaps(b) for a, b in itertools.pairwise(extents))


# --- axes ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_axes_are_logarithmic_only_where_the_data_spans_decades(diabetes_map, digits_map):
    wide = with_columns(diabetes_map, error=np.r_[np.zeros(12), np.geomspace(1e-6, 1, 430)])
    for display in (MapDisplay, LeaveOutDisplay):
        for m, scale in ((diabetes_map, "linear"), (digits_map, "log")):
            ax = display.from_map(m).ax_
            assert (ax.get_xscale(), ax.get_yscale(), "log scale" in ax.get_xlabel()) == (scale, scale, scale == "log")
    ax = MapDisplay.from_map(wide).ax_
    assert (ax.get_xscale(), ax.get_yscale()) == ("linear", "log")
    assert ax.get_ylabel().endswith("log scale; 12 at zero not drawn")


@pytest.mark.slow
@pytest.mark.parametrize("errors", [np.linspace(0, 1, 40), np.r_[0.0, np.geomspace(1e-6, 1, 39)]])
def test_examples_that_cannot_be_left_out_are_stars_inside(errors):
    ax = MapDisplay.from_map(with_columns(linear_map(dummies=3), error=errors)).ax_
    stars = line_with(ax, "*")
    np.testing.assert_allclose(stars.get_xdata(), [1, 1, 1])
    assert np.all(stars.get_ydata() >= ax.get_ylim()[0])
    assert words(ax.get_legend().get_texts()) == ["undefined sensitivity (3)"]
    assert names_on(ax, range(3)) == {0, 1, 2}


@pytest.mark.parametrize("display", [SensitivityDisplay, LeaveOutDisplay])
def test_titles_count_what_is_not_drawn(display):
    assert display.from_map(linear_map(dummies=3)).ax_.get_title(loc="left").endswith("40 examples (3 undefined)")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["diabetes_map", "digits_map"])
@pytest.mark.parametrize("display", [MapDisplay, LeaveOutDisplay])
def test_names_stay_inside_and_apart_in_the_finished_picture(name, display, request):
    drawn = display.from_map(request.getfixturevalue(name), label=12)
    drawn.figure_.draw_without_rendering()
    named = [text for text in drawn.ax_.texts if text.get_text() in set(map(str, range(1797)))]
    extents = [mpl.text.Text.get_window_extent(text) for text in named]
    assert len(extents) == 12
    assert not any(a.overlaps(b) for a, b in itertools.combinations(extents, 2))
    assert all(drawn.ax_.bbox.padded(2).contains(*corner) for box in extents for corner in (box.min, box.max))


@pytest.mark.slow
@pytest.mark.parametrize("display", [MapDisplay, LeaveOutDisplay])
def test_hostile_names_are_drawn_literally(display, tmp_path):
    drawn = display.from_map(hostile_map(), label=20)
    assert names_on(drawn.ax_, HOSTILE) == set(HOSTILE)
    assert {r"\$x^2\$", "two\ufffdlines", "nul\ufffdl", "x" * 27 + "…"} <= set(words(drawn.ax_.texts))
    drawn.figure_.savefig(tmp_path / "a.png")
    with mpl.rc_context({"svg.fonttype": "none"}):
        drawn.figure_.savefig(tmp_path / "a.svg")
    written = {(node.tag.rpartition("}")[2], node.text) for node in ElementTree.parse(tmp_path / "a.svg").iter()}
    assert {("text", "<script>alert(1)</script>"), ("text", "$x^2$"), ("text", "costs 5$")} <= written
    assert "script" not in {tag for tag, _ in written}


@pytest.mark.slow
def test_hostile_groups_and_classes_are_written_literally(tmp_path):
    groups = GroupDisplay.from_leave_out(hostile_map().leave_out({name: [name] for name in HOSTILE}))
    assert set(words(groups.ax_.get_yticklabels())) == {f"{escape_label(name)} (1)" for name in HOSTILE}
    m = with_columns(linear_map(len(HOSTILE) * 2), target=HOSTILE * 2)
    classes = MapDisplay.from_map(m, color="target")
    legend = words(classes.ax_.get_legend().get_texts())
    assert {text.lstrip("\u200b") for text in legend} == set(map(escape_label, HOSTILE))
    for drawn in (groups, classes):
        drawn.figure_.savefig(tmp_path / "a.pdf")


@pytest.mark.slow
def test_classes_have_a_marker_each_in_their_order(digits_map):
    ax = MapDisplay.from_map(digits_map, label=0).ax_
    assert words(ax.get_legend().get_texts()) == list("0123456789")
    lines = [line for line in ax.lines if line.get_label() in "0123456789"]
    assert [len(line.get_xdata()) for line in lines] == np.bincount(digits_map["target"]).tolist()
    assert len({line.get_marker() for line in lines}) == len({line.get_color() for line in lines}) == 10


def test_colours_that_make_no_sense_are_refused_before_drawing(diabetes_map, digits_map):
    with pytest.raises(KeyError, match=r"no column 'colour'.*'leverage'"):
        MapDisplay.from_map(diabetes_map, color="colour")
    with pytest.raises(ValueError, match="cannot colour by 'mean': it has 10 values per example"):
        MapDisplay.from_map(digits_map, color="mean")
    with pytest.raises(ValueError, match="cannot colour by 'target': 1000 different values"):
        MapDisplay.from_map(with_columns(digits_map, target=[f"c{k % 1000}" for k in range(1797)]), color="target")
    assert plt.get_fignums() == []


@pytest.mark.slow
def test_a_thousand_classes_fall_back_to_sensitivity(digits_map):
    description = dataclasses.replace(digits_map.provenance.description, classes=tuple(range(1000)))
    many = dataclasses.replace(
        digits_map, provenance=dataclasses.replace(digits_map.provenance, description=description)
    )
    assert MapDisplay.from_map(many).figure_.axes[-1].get_ylabel() == "sensitivity"


# --- figures and files -----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("display", OF_MAPS)
def test_drawing_uses_the_given_axes_and_leaves_settings_alone(display, diabetes_map):
    fig, (first, second) = plt.subplots(1, 2)
    with mpl.rc_context({"font.size": 13, "axes.titlesize": 17}):  # not what an earlier drawing may have left
        before = dict(mpl.rcParams)
        drawn = display.from_map(diabetes_map, ax=second)
        assert dict(mpl.rcParams) == before
    assert (drawn.ax_, drawn.figure_, plt.get_fignums()) == (second, fig, [fig.number])
    assert (first.has_data(), second.has_data()) == (False, True)
    assert drawn.plot().figure_ is not fig


def test_figure_before_plot_is_an_error_with_advice(diabetes_map):
    with pytest.raises(AttributeError, match=r"MapDisplay has not been drawn: call plot\(\)"):
        _ = MapDisplay(diabetes_map.to_pandas(), "title").figure_


@pytest.mark.slow
@pytest.mark.parametrize(("ending", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_every_display_can_be_written(ending, start, diabetes_map, tmp_path):
    groups = GroupDisplay.from_leave_out(diabetes_map.leave_out({"a": [1, 2], "b": [3]}))
    for drawn in (groups, *(display.from_map(diabetes_map) for display in OF_MAPS)):
        drawn.figure_.savefig(tmp_path / "picture", format=ending)
        assert (tmp_path / "picture").read_bytes().startswith(start)


@pytest.mark.slow
@pytest.mark.parametrize("display", OF_MAPS)
def test_sixty_thousand_points_are_a_small_file(display, tmp_path):
    m, path = linear_map(60_000), tmp_path / "a.pdf"
    drawn = display.from_map(m)
    drawn.figure_.savefig(path)
    assert path.stat().st_size < 1_000_000
    if display is MapDisplay:
        cells, tail = drawn.ax_.collections
        assert (cells.get_rasterized(), tail.get_rasterized(), len(tail.get_offsets()) < 6_000) == (True, True, True)
        assert names_on(drawn.ax_, range(60_000)) == set(m.top(10)["id"].tolist())


@pytest.mark.slow
@pytest.mark.parametrize("display", OF_MAPS)
def test_one_point_equal_points_zeros_and_stars_only(display, diabetes_map):
    numbers, starred = ("leverage", "error", "sensitivity", "loss", "loo_loss"), linear_map(dummies=3)
    equal, zero = ({name: np.full(442, value) for name in numbers} for value in (0.5, 0.0))
    flat = [with_columns(diabetes_map, **columns) for columns in (equal, zero, {"sensitivity": np.zeros(442)})]
    for m in (diabetes_map.select([5]), *flat, starred.select([0, 1, 2])):
        drawn = display.from_map(m)
        drawn.figure_.draw_without_rendering()
        assert len(drawn.frame()) == len(m) or display is SensitivityDisplay
        assert np.all(np.isfinite([*drawn.ax_.get_xlim(), *drawn.ax_.get_ylim()]))


def test_nothing_is_shared_where_all_sensitivities_are_zero(diabetes_map):
    drawn = SensitivityDisplay.from_map(with_columns(diabetes_map, sensitivity=np.zeros(442)))
    assert drawn.frame()["share"].eq(0).all()
    assert words(drawn.figure_.axes[1].texts) == ["0% of the sensitivity\nin 5% of the examples"]


@pytest.mark.parametrize("display", OF_MAPS)
def test_empty_maps_are_refused(display, diabetes_map):
    with pytest.raises(ValueError, match="no examples: nothing to draw"):
        display.from_map(diabetes_map.top(0))


@pytest.mark.slow
def test_an_axis_that_would_hide_the_bulk_is_linear():
    X, y = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    m = mm.memory_map(SVC(C=1.0).fit(X, y), X, y)
    assert m["leverage"][m["leverage"] > 0].min() < 1e-20  # far from the margin
    ax = mm.MapDisplay.from_map(m).ax_
    assert (ax.get_xscale(), ax.get_yscale()) == ("linear", "linear")
    plt.close("all")


@pytest.mark.slow
def test_a_few_leverages_that_are_as_good_as_zero_do_not_stretch_the_axis():
    X, y = load_digits(return_X_y=True)
    m = mm.memory_map(LogisticRegression(max_iter=2000).fit(X / 16, y), X / 16, y)
    leverage = np.where(np.arange(len(m)) < 20, 1e-80, m["leverage"])
    column = m.table.column_names.index("leverage")
    m = dataclasses.replace(m, table=m.table.set_column(column, "leverage", pa.array(leverage)))
    ax = mm.MapDisplay.from_map(m).ax_
    low, high = ax.get_xlim()
    assert ax.get_xscale() == "log"
    assert high / low < 1e7
    assert "20 at zero not drawn" in ax.get_xlabel()
    plt.close("all")


@pytest.mark.parametrize("kind", OF_MAPS[:2])
@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_figure_that_cannot_be_drawn_is_closed_and_axes_that_were_given_stay(digits_map, kind, error, monkeypatch):
    def stopped(*_):
        raise error

    plt.close("all")  # what other tests left open
    given = plt.subplots()[1]
    display = kind.from_map(digits_map)
    plt.close(display.figure_)
    monkeypatch.setattr(kind, "_draw", stopped)
    for ax in (None, given):
        with pytest.raises(error):
            display.plot(ax)
        assert plt.get_fignums() == [given.figure.number]
