"""The explorer on tracked runs, several maps, classes: what the page gets is what Python recorded."""

import json
from urllib.request import urlopen

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.linear_model import LogisticRegression

import memorymaps as mm
from memorymaps.cli.commands import main
from memorymaps.maps.trajectory import LOO_TRUST, SCALARS, Trajectory, step_folder
from memorymaps.training.tracker import _write_step
from memorymaps.viz.explorer.explorer import explore
from memorymaps.viz.explorer.options import ExplorerOptions
from memorymaps.viz.explorer.packing import pack, pack_lazily
from memorymaps.viz.explorer.server import Server


@pytest.fixture(scope="module")
def three_classes():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 3)) + np.repeat(np.eye(3) * 1.5, 30, axis=0)
    return X, np.repeat(["a", "b", "c"], 30)


def map_of(data, C=1.0):
    return mm.memory_map(LogisticRegression(C=C, tol=1e-8).fit(*data), *data)


@pytest.fixture(scope="module")
def run(three_classes, tmp_path_factory):
    """A run as a tracker writes it: three maps, with a test loss."""
    folder = tmp_path_factory.mktemp("run")
    for step, C in ((10, 0.01), (20, 0.1), (30, 1.0)):
        m = map_of(three_classes, C)
        loo = m.leave_one_out()
        losses = {"loss": loo.loss, "loo_loss": loo.loo_loss, "test_loss": step / 7, "seconds": 0.1}
        _write_step(folder, step, m, losses | {"effective": float(m["leverage"].sum())})
    return folder


def positions(made, axis, side):
    code = np.zeros(made.table.num_rows, dtype=np.uint16)
    for t, step in enumerate(made.meta["steps"]):
        code += np.asarray(made.table[f"{axis}#{t}"])
        low, high = step["low"][side], step["high"][side]
        yield 10 ** (low + (code - 1.0) / 65533 * (high - low))


# --- trajectories ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_trajectory_is_its_last_map_with_a_slider(run):
    t = Trajectory.load(run)
    made = pack(t, ExplorerOptions())
    np.testing.assert_array_equal(made.table["leverage"], t.at(30)["leverage"].astype(np.float32))
    assert [step["name"] for step in made.meta["steps"]] == ["step 10", "step 20", "step 30"]
    for side, axis in enumerate(("leverage", "error")):
        for step, found in zip(t.steps, positions(made, axis, side), strict=True):
            np.testing.assert_allclose(found, t.at(step)[axis], rtol=2e-4)
    for name in ("loss", "loo_loss", "test_loss", "effective"):
        assert [step[name] for step in made.meta["steps"]] == pytest.approx(t.losses()[name].tolist(), rel=1e-12)


def test_runs_without_test_data_have_no_test_loss(three_classes, tmp_path):
    for step in (1, 2):
        losses = {"loss": 0.5, "loo_loss": 0.6, "test_loss": float("nan"), "effective": 3.0, "seconds": 0.0}
        _write_step(tmp_path, step, map_of(three_classes), losses)
    assert [step["test_loss"] for step in pack(Trajectory.load(tmp_path), ExplorerOptions()).meta["steps"]] == [
        None
    ] * 2


def record_verdict(folder, step, level):
    """Write the verdict `level` into a recorded step; `None`: a step as earlier versions recorded it."""
    path = step_folder(folder, step) / SCALARS
    scalars = {key: value for key, value in json.loads(path.read_text()).items() if key != LOO_TRUST}
    path.write_text(json.dumps(scalars if level is None else scalars | {LOO_TRUST: level}))


@pytest.mark.slow
def test_each_step_carries_the_verdict_on_its_left_out_loss(three_classes, tmp_path):
    recorded = {1: "not to be used", 2: "ranks only", 3: "estimated", 4: None}
    for step, level in recorded.items():
        losses = {"loss": 0.5, "loo_loss": 0.6, "test_loss": 0.7, "effective": 3.0, "seconds": 0.0}
        _write_step(tmp_path, step, map_of(three_classes), losses)
        record_verdict(tmp_path, step, level)
    made = pack(Trajectory.load(tmp_path), ExplorerOptions())
    assert [step["loo_trust"] for step in made.meta["steps"]] == list(recorded.values())


def test_a_tracked_run_has_the_verdicts_of_its_maps(run):
    expected = [str(Trajectory.load(run).at(step).trust["loo_loss"].level) for step in (10, 20, 30)]
    assert [step["loo_trust"] for step in pack(Trajectory.load(run), ExplorerOptions()).meta["steps"]] == expected


def test_maps_as_steps_carry_their_own_verdicts(three_classes):
    steps = {"weak": map_of(three_classes, 0.01), "strong": map_of(three_classes, 1.0)}
    made = pack(steps["strong"], ExplorerOptions(trajectory=steps))
    assert [step["loo_trust"] for step in made.meta["steps"]] == [
        str(m.trust["loo_loss"].level) for m in steps.values()
    ]


def test_a_run_that_has_only_begun_is_a_map(run, three_classes, tmp_path):
    losses = {"loss": 0.5, "loo_loss": 0.6, "test_loss": 0.7, "effective": 3.0, "seconds": 0.0}
    _write_step(tmp_path, 1, map_of(three_classes), losses)
    assert pack(Trajectory.load(tmp_path), ExplorerOptions()).meta["steps"] == []


def test_a_trajectory_explores_itself_in_every_delivery(run, tmp_path):
    t = Trajectory.load(run)
    assert t.explore(tmp_path / "a.html").read_bytes() == explore(t, tmp_path / "b.html").read_bytes()
    pytest.importorskip("anywidget")
    widget = t.explore()
    widget.selection = [3]
    assert widget.selected["leverage"][0] == t.at(30).select([3])["leverage"][0]
    assert len(json.loads(widget._meta)["steps"]) == 3
    with pytest.raises(TypeError, match="Trajectory to explore and trajectory= as well"):
        t.explore(tmp_path / "c.html", trajectory=t)


def test_the_command_takes_a_run(run, tmp_path, capsys):
    assert main(["export", str(run), str(tmp_path / "run.html")]) == 0
    assert "step 20" in (tmp_path / "run.html").read_text()
    saved = Trajectory.load(run).at(30).save(tmp_path / "map.parquet")
    assert main(["export", str(saved), str(tmp_path / "map.html"), "--trajectory", str(run)]) == 0
    assert "step 20" in (tmp_path / "map.html").read_text()
    assert main(["export", str(tmp_path / "nothing"), str(tmp_path / "x.html")]) == 1
    assert not (tmp_path / "x.html").exists()


def test_maps_of_a_newer_version_are_refused(run, tmp_path, capsys):
    path = Trajectory.load(run).at(30).save(tmp_path / "map.parquet")
    table = pq.read_table(path)
    notes = {
        key: value.replace(b'"schema": 1', b'"schema": 99').replace(b'"schema":1', b'"schema":99')
        for key, value in table.schema.metadata.items()
    }
    pq.write_table(table.replace_schema_metadata(notes), path)
    for command in (["export", str(path), str(tmp_path / "map.html")], ["explore", str(path)]):
        assert main(command) == 1
        assert "has map schema 99, this version reads up to" in capsys.readouterr().err
    assert not (tmp_path / "map.html").exists()


# --- several maps ----------------------------------------------------------------------------------------------------


def get(server, path):
    with urlopen(f"{server.url}{path}") as answer:
        return answer.read()


@pytest.mark.slow
def test_the_server_has_several_maps(run, three_classes):
    maps = {"weak <b>": map_of(three_classes, 0.01), "run": Trajectory.load(run)}
    packed = {name: pack_lazily(one, ExplorerOptions(title=name)) for name, one in maps.items()}
    with Server(packed) as server:
        for prefix, k in (("", 0), ("0/", 0), ("1/", 1)):
            name = list(maps)[k]
            assert json.loads(get(server, prefix + "maps")) == {"names": list(maps), "at": k}
            assert json.loads(get(server, prefix + "meta"))["title"] == name
            assert get(server, prefix + "table.arrow") == packed[name].arrow()
        for wrong in ("2/meta", "01x/meta", "-1/meta", "0/0/meta", "1", "1//meta"):
            with pytest.raises(OSError, match="404"):
                get(server, wrong)
    with pytest.raises(ValueError, match="no maps to serve"):
        Server({})


@pytest.mark.slow
def test_the_command_serves_several(run, tmp_path, monkeypatch, capsys):
    seen = {}

    def look(server):
        seen.update(json.loads(get(server, "1/maps")))
        raise KeyboardInterrupt

    monkeypatch.setattr(Server, "wait", look)
    saved = Trajectory.load(run).at(10).save(tmp_path / "map.parquet")
    assert main(["explore", str(run), str(saved), str(run)]) == 0
    assert seen == {"names": [str(run), str(saved)], "at": 1}
    assert main(["explore", str(run), str(tmp_path / "nothing.parquet")]) == 1
    assert "nothing.parquet" in capsys.readouterr().err


# --- classes ---------------------------------------------------------------------------------------------------------


def rows_of(groups):
    names = [column["name"] for column in groups["columns"]]
    return {row["name"]: dict(zip(names, row["values"], strict=True)) for row in groups["rows"]}


def test_classes_are_counted_from_the_columns(three_classes):
    m = map_of(three_classes)
    (classes,) = pack(m, ExplorerOptions()).meta["groups"]
    found = rows_of(classes)
    assert list(found) == sorted(found, key=lambda name: -found[name]["sensitivity"])
    for name in "abc":
        mask = m["target"] == name
        part = m.filter(mask)
        expected = {
            "size": 30,
            "sensitivity": part["sensitivity"].sum() / m["sensitivity"].sum(),
            "leverage": part["leverage"].sum(),
            "accuracy": np.mean(part["prediction"] == name),
            "left out": np.mean(part["loo_prediction"] == name),
            "loo loss": part["loo_loss"].mean(),
            "± loo loss": np.std(part["loo_loss"], ddof=1) / np.sqrt(30),
        }
        assert found[name] == pytest.approx(expected, rel=1e-12)


@pytest.mark.slow
def test_leaving_classes_out_equals_leave_out(three_classes):
    m = map_of(three_classes)
    effects = m.leave_out("target")
    by_name, given = (pack(m, ExplorerOptions(leave_out=wanted)).meta["groups"][1] for wanted in ("target", effects))
    assert rows_of(by_name) == rows_of(given)
    assert (by_name["by"], given["by"]) == ("target", None)
    for k, name in enumerate(effects["group"]):
        for column in ("leave_out_loss", "rest_leave_out_loss", "rest_sensitivity", "loss_change_se"):
            assert rows_of(given)[name][column.replace("_", " ")] == effects[column][k]


def test_groups_of_a_regression_and_of_nothing(diabetes_map):
    assert pack(diabetes_map, ExplorerOptions()).meta["groups"] == []
    halves = diabetes_map.leave_out(np.arange(442) % 2)
    (groups,) = pack(diabetes_map, ExplorerOptions(leave_out=halves)).meta["groups"]
    assert set(rows_of(groups)) == {"0", "1"}


def test_groups_that_cannot_be_removed_are_refused(three_classes, tmp_path):
    m = mm.load(map_of(three_classes).save(tmp_path / "map.parquet"))
    with pytest.raises(ValueError, match="a map read from disk has none"):
        pack(m, ExplorerOptions(leave_out="target"))
    with pytest.raises(TypeError, match=r"leave_out is a list: expected a column's name or m.leave_out\(…\)"):
        pack(m, ExplorerOptions(leave_out=["a"]))


def test_undefined_scores_leave_undefined_cells(three_classes):
    m = map_of(three_classes)
    table = m.table.set_column(m.table.column_names.index("loo_loss"), "loo_loss", [np.full(90, np.nan)])
    odd = type(m)(table, m.provenance)
    assert {row["loo loss"] for row in rows_of(pack(odd, ExplorerOptions()).meta["groups"][0]).values()} == {None}


def test_a_long_run_is_thinned_with_a_note(diabetes_map):
    maps = {f"{k}": diabetes_map for k in range(101)}
    packed = pack(diabetes_map, ExplorerOptions(trajectory=maps, max_steps=11))
    assert [step["name"] for step in packed.meta["steps"]] == [f"{10 * k}" for k in range(11)]
    assert "the slider has 11 of 101 recorded steps (max_steps)" in packed.meta["notes"]
    whole = pack(diabetes_map, ExplorerOptions(trajectory=maps, max_steps=101))
    assert len(whole.meta["steps"]) == 101
    assert not any("slider" in note for note in whole.meta["notes"])


def test_a_slider_needs_two_steps(diabetes_map):
    with pytest.raises(ValueError, match="max_steps is 1: expected at least 2"):
        pack(diabetes_map, ExplorerOptions(trajectory={"a": diabetes_map, "b": diabetes_map}, max_steps=1))
