"""`memorymaps track`: prints and writes what the run holds."""

from __future__ import annotations

import pandas as pd
import pytest

pytest.importorskip("torch")

from runs import trained

from memorymaps.cli.commands import main


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("track"))[0].trajectory()


def test_info_prints_losses_and_concentration(run, capsys):
    assert main(["track", "info", str(run.run)]) == 0
    text = capsys.readouterr().out
    assert "3 maps of 30 examples" in text
    assert "Adam, diagonal" in text
    assert f"{run.losses()['loo_loss'].iloc[-1]:.4g}" in text
    assert "top 5%" in text


@pytest.mark.slow
def test_plot_writes_four_pictures(run, tmp_path, capsys):
    assert main(["track", "plot", str(run.run), "--out", str(tmp_path)]) == 0
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"generalisation.png", "evolution.png", "paths.png", "multiples.png"}
    assert len(capsys.readouterr().out.split()) == 4


@pytest.mark.slow
def test_export_writes_tables_and_films(run, tmp_path):
    for name in ("run.parquet", "run.csv", "run.gif"):
        assert main(["track", "export", str(run.run), str(tmp_path / name)]) == 0
    table = pd.read_parquet(tmp_path / "run.parquet")
    assert table.groupby("step").size().to_dict() == {4: 30, 8: 30, 12: 30}
    assert table[table["step"] == 12]["leverage"].to_numpy() == pytest.approx(run.at(12)["leverage"], rel=1e-15)
    assert len(pd.read_csv(tmp_path / "run.csv")) == 90


def test_what_is_not_a_run_is_an_error(tmp_path, capsys):
    assert main(["track", "info", str(tmp_path)]) == 1
    assert "no recorded steps" in capsys.readouterr().err
