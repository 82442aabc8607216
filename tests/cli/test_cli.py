"""The command line, as a user types it."""

import functools
import shutil
import signal
import subprocess
import sys
import urllib.request

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes, load_iris
from sklearn.linear_model import LinearRegression
from timeouts import TIMEOUT

import memorymaps as mm
from memorymaps.cli.commands import main

rng = np.random.default_rng(6)


def table(tmp_path, file="t.csv", **columns):
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    frame = X[["age", "bmi", "bp"]].assign(y=y, **columns)
    path = tmp_path / file
    frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_csv(path, index=False)
    return path


def run(*arguments):
    return main([str(argument) for argument in arguments])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_map_writes_map_pictures_and_report(name, tmp_path, capsys):
    out = tmp_path / "out"
    assert run("map", table(tmp_path, name), "--target", "y", "--out", out) == 0
    assert sorted(p.name for p in out.iterdir()) == [
        "explorer.html", "leave_one_out.png", "map.parquet", "map.png", "report.md", "sensitivity.png",
    ]  # fmt: skip
    printed = capsys.readouterr()
    assert "Σ leverage = 4.00 effective parameters" in printed.out
    assert "fitting ols to 442 rows × 3 columns" in printed.err
    m = mm.load(out / "map.parquet")
    assert m["leverage"].sum() == pytest.approx(4)
    report = (out / "report.md").read_text()
    assert "![map](map.png)" in report
    assert "@article{cook1977detection" in report


@pytest.mark.slow
def test_labels_text_columns_and_ids(tmp_path):
    iris = load_iris(as_frame=True).frame
    iris["kind"] = np.array(["setosa", "versicolor", "virginica"])[iris.pop("target")]
    iris["place"] = rng.choice(["north", "south", "west"], 150)
    iris["name"] = [f"flower {k}" for k in range(150)]
    iris.to_csv(tmp_path / "iris.csv", index=False)
    assert run("map", tmp_path / "iris.csv", "--target", "kind", "--id", "name", "--out", tmp_path / "o") == 0
    m = mm.load(tmp_path / "o" / "map.parquet")
    assert m["id"][0] == "flower 0"
    assert set(m["target"].tolist()) == {"setosa", "versicolor", "virginica"}
    assert "place_west" in m.provenance.description.parameters


@pytest.mark.slow
@pytest.mark.parametrize("model", ["ols", "ridge", "lasso", "poisson", "gamma"])
def test_every_model_draws_a_map(model, tmp_path):
    assert run("map", table(tmp_path), "--target", "y", "--model", model, "--out", tmp_path / "o") == 0
    assert np.all(np.isfinite(mm.load(tmp_path / "o" / "map.parquet")["sensitivity"]))


@pytest.mark.slow
def test_other_processes_draw_the_same_map(tmp_path):
    paths = [tmp_path / name for name in ("here", "there")]
    for out, more in zip(paths, ([], ["--processes", 1]), strict=True):
        assert run("map", table(tmp_path), "--target", "y", "--out", out, *more) == 0
    here, there = (mm.load(out / "map.parquet") for out in paths)
    np.testing.assert_allclose(there["loo_loss"], here["loo_loss"], rtol=1e-10)


@pytest.fixture
def saved(tmp_path, cancer_map):
    return cancer_map.save(tmp_path / "m.parquet"), cancer_map


def test_top_lists_the_examples(saved, capsys):
    path, m = saved
    assert run("top", path, "-k", "7", "--by", "leverage", "--csv") == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert [int(line.split(",")[0]) for line in lines[1:]] == m.top(7, "leverage")["id"].tolist()


def test_info_prints_the_summary(saved, capsys):
    path, m = saved
    assert run("info", path) == 0
    assert capsys.readouterr().out.strip() == str(m.summary())
    assert run("info", path, "--cite") == 0
    assert capsys.readouterr().out.startswith("@article")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["png", "pdf", "svg"])
def test_plot_draws(kind, saved, tmp_path, capsys):
    out = tmp_path / "new" / f"m.{kind}"
    assert run("plot", saved[0], "--out", out, "--color", "target") == 0
    assert out.stat().st_size > 5000
    assert capsys.readouterr().out.strip() == str(out)


@pytest.mark.slow
def test_demo_runs_from_start_to_end(tmp_path, capsys):
    assert run("demo", "--out", tmp_path) == 0
    assert "1,797 examples, scikit-learn LogisticRegression" in capsys.readouterr().out
    assert len(mm.load(tmp_path / "map.parquet")) == 1797


def refused(capsys, words, *arguments):
    assert run(*arguments) == 1
    printed = capsys.readouterr()
    assert words in printed.err
    assert printed.err.splitlines()[-1].startswith("memorymaps: ")
    assert "Traceback" not in printed.err


def test_unusable_tables_are_refused(tmp_path, capsys):
    path, out = table(tmp_path), tmp_path / "o"
    refused(capsys, "no column 'z': expected some of age, bmi, bp, y", "map", path, "--target", "z", "--out", out)
    refused(capsys, "no file", "map", tmp_path / "no.csv", "--target", "y", "--out", out)
    refused(capsys, "not a table this command reads", "map", tmp_path / "no.xlsx", "--target", "y", "--out", out)
    (tmp_path / "e.csv").write_text("a,y\n")
    refused(capsys, "no rows", "map", tmp_path / "e.csv", "--target", "y", "--out", out)
    (tmp_path / "z.csv").write_text("")
    refused(capsys, "cannot be read", "map", tmp_path / "z.csv", "--target", "y", "--out", out)
    (tmp_path / "b.parquet").write_text("hello")
    refused(capsys, "cannot be read", "map", tmp_path / "b.parquet", "--target", "y", "--out", out)
    assert not out.exists()


def test_unusable_columns_are_refused(tmp_path, capsys):
    out = tmp_path / "o"
    holes = table(tmp_path, "h.csv", hole=[np.nan] + [1.0] * 441)
    refused(capsys, "missing values in column(s) ['hole']", "map", holes, "--target", "y", "--out", out)
    one = table(tmp_path, "c.csv", c="a")
    refused(capsys, "one class only, 'a'", "map", one, "--target", "c", "--out", out)
    refused(capsys, "not numeric", "map", one, "--target", "c", "--model", "ols", "--out", out)
    many = table(tmp_path, "m.csv", word=[f"w{k}" for k in range(442)])
    refused(capsys, "name the rows", "map", many, "--target", "y", "--out", out)
    twice = table(tmp_path, "i.csv", name="same")
    refused(capsys, "repeats", "map", twice, "--target", "y", "--id", "name", "--out", out)
    minus = table(tmp_path, "p.csv", count=-1.0)
    refused(capsys, "Poisson", "map", minus, "--target", "count", "--model", "poisson", "--out", out)


@pytest.mark.slow
def test_missing_rows_can_be_dropped(tmp_path):
    holes = table(tmp_path, "h.csv", hole=[np.nan, *rng.normal(size=441)])
    assert run("map", holes, "--target", "y", "--drop-missing", "--out", tmp_path / "o") == 0
    m = mm.load(tmp_path / "o" / "map.parquet")
    assert m["id"].tolist() == list(range(1, 442))


def test_damaged_maps_are_refused(tmp_path, capsys):
    (tmp_path / "m.parquet").write_text("hello")
    for command in (["info"], ["top"], ["plot", "--out", tmp_path / "x.png"]):
        refused(capsys, "not a readable Parquet file", command[0], tmp_path / "m.parquet", *command[1:])


def test_wrong_columns_are_refused(saved, tmp_path, capsys):
    refused(capsys, "no column 'levrage'", "top", saved[0], "--by", "levrage")
    refused(capsys, "levrage", "plot", saved[0], "--out", tmp_path / "x.png", "--color", "levrage")


def test_wrong_arguments_exit_with_two():
    whole = ["map", "t.csv", "--target", "y", "--model", "x", "--out", "o"]
    for arguments in ([], ["nothing"], ["map", "t.csv"], whole):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2


def test_the_installed_command_explains_itself():
    done = subprocess.run([sys.executable, "-m", "memorymaps", "--help"], capture_output=True, text=True, check=True)
    assert "memorymaps map houses.csv --target price" in done.stdout


@pytest.fixture(scope="module")
def mapped(tmp_path_factory):
    """A table and the folder of its map, which no test changes."""
    folder = tmp_path_factory.mktemp("mapped")
    source = table(folder)
    assert run("map", source, "--target", "y", "--out", folder / "o") == 0
    return source, folder / "o"


@pytest.mark.slow
def test_export_writes_one_page(mapped, tmp_path, capsys):
    source, folder = mapped
    page = tmp_path / "sub" / "map.html"
    assert run("export", folder, page, "--rows", source, "--title", "Diabetes & more", "--color", "leverage") == 0
    assert "<title>Diabetes &amp; more</title>" in page.read_text()
    assert f"{page}  (0." in capsys.readouterr().out
    np.save(tmp_path / "images.npy", np.zeros((442, 4, 4)))
    np.savez(tmp_path / "two.npz", a=np.zeros((442, 4, 4)), b=np.zeros(3))
    assert run("export", folder / "map.parquet", page, "--images", tmp_path / "images.npy") == 0
    assert run("export", folder, page, "--images", f"{tmp_path / 'two.npz'}:a", "--compare", folder) == 0
    assert run("export", folder, page, "--texts", f"{source}:age", "--trajectory", folder) == 1
    assert "expected at least two .parquet files" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--images", "two.npz"], "two.npz contains ['a', 'b']: choose one, as"),
        (["--images", "two.npz:c"], "has no array 'c'; it has ['a', 'b']"),
        (["--images", "two.npz:b"], "payload has 3 examples, the map 442"),
        (["--images", "no.npy"], "no file no.npy"),
        (["--images", "a.jpg"], "a.jpg is not a file this command reads: expected .npy, .npz"),
        (["--texts", "t.csv:nothing"], "has no column 'nothing': expected TABLE:COLUMN with one of ['age'"),
        (["--color", "nothing"], "cannot colour by 'nothing'"),
    ],
)
def test_what_cannot_be_exported_is_an_error(arguments, words, mapped, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.savez("two.npz", a=np.zeros((442, 4, 4)), b=np.zeros((3, 4, 4)))
    shutil.copy(mapped[0], tmp_path)
    assert run("export", mapped[1], "map.html", *arguments) == 1
    assert words in capsys.readouterr().err


@pytest.mark.slow
def test_explore_serves_until_interrupted(mapped):
    command = [sys.executable, "-m", "memorymaps", "explore", str(mapped[1])]
    # a suite that runs as a background job hands down an interrupt that is ignored
    reset = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=reset) as process:
        try:
            url = process.stdout.readline().strip()
            with urllib.request.urlopen(url) as answer:
                assert answer.status == 200
            process.send_signal(signal.SIGINT)
            assert process.wait(TIMEOUT) == 0
        finally:
            process.kill()


@pytest.mark.slow
def test_groups_are_left_out_together_and_written(tmp_path, capsys):
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    site = np.array(["north", "south", "west"])[np.arange(442) % 3]
    X[["bmi", "bp"]].assign(y=y, site=site).to_csv(tmp_path / "t.csv", index=False)
    out = tmp_path / "out"
    assert run("map", tmp_path / "t.csv", "--target", "y", "--groups", "site", "--out", out) == 0
    groups = pd.read_csv(out / "groups.csv")
    assert groups["group"].tolist() == ["north", "south", "west"]
    kept = X[["bmi", "bp"]][site != "south"]
    scaled = (X[["bmi", "bp"]] - X[["bmi", "bp"]].mean()) / X[["bmi", "bp"]].std(ddof=0)
    left = LinearRegression().fit(scaled[site != "south"], y[site != "south"])
    names = [name for name in groups if name.startswith("without ")]
    assert len(names) == 1 + kept.shape[1]
    np.testing.assert_allclose(groups.loc[1, names[1:]].astype(float), left.coef_, rtol=1e-8)
    assert (out / "groups.png").stat().st_size > 1000
    printed = capsys.readouterr().out
    assert "cooks_distance" in printed
    held = "held as in the fit: preprocessing, by ColumnTransformer; the noise scale is held at its value"
    assert f"{held}\n\ngroups    {out / 'groups.csv'}" in printed  # the file has columns only
    assert len(mm.load(out / "map.parquet")) == 442


def test_groups_of_an_unknown_column_are_refused(tmp_path, capsys):
    assert run("map", table(tmp_path), "--target", "y", "--groups", "site", "--out", tmp_path / "o") == 1
    assert "no column 'site': expected some of age, bmi, bp, y" in capsys.readouterr().err
