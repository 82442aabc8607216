"""Maps that are interrupted or killed and go on: the same to the last bit as one that was not."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("torch")

import torch
from remedies import remedy
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from torch import nn

import memorymaps as mm
from memorymaps.build.draw import memory_map
from memorymaps.files.batch_journal import BatchJournal, BatchJournalError, batch_name
from memorymaps.files.locks import InUseError
from memorymaps.nets.sampled.structure import Sampled
from memorymaps.posteriors.gate import Gate

SAMPLED = Sampled(rows=60)


def network(scale=1.0):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    with torch.no_grad():
        net[2].bias.mul_(scale)
    return net


def data(n=90):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n, 6, generator=generator), torch.arange(n) % 3


def batches(n=90, size=20):
    x, y = data(n)
    return mm.LoaderExamples([(x[part], y[part]) for part in torch.arange(n).split(size)])


def draw(structure=SAMPLED, net=None, examples=None, prior=1.0, **options):
    recipe = mm.Laplace(structure, prior=prior, probes=0)
    return memory_map(net or network(), examples or batches(), likelihood="categorical", posterior=recipe, **options)


class Interrupted(Exception):
    pass


def interrupt_after(monkeypatch, batches):
    """The gate, which sees every batch that is computed, stops the run after some; returns how many it saw."""
    check, seen = Gate.check_batch, []

    def checked(self, batch, *rest):
        if len(seen) == batches:
            raise Interrupted
        seen.append(len(batch))
        return check(self, batch, *rest)

    monkeypatch.setattr(Gate, "check_batch", checked)
    return seen


def interrupt(monkeypatch, batches, run):
    with monkeypatch.context() as patch:
        interrupt_after(patch, batches)
        with pytest.raises(Interrupted):
            run()


def left(path):
    return sorted(file.name for file in path.parent.glob(f".{path.name}.batches/*.parquet"))


@pytest.mark.slow
@pytest.mark.parametrize("structure", [SAMPLED, "full", "ekfac"])
def test_a_map_that_was_interrupted_goes_on_and_is_the_same_to_the_bit(structure, tmp_path, monkeypatch):
    path, whole = tmp_path / "map.parquet", draw(structure)
    interrupt(monkeypatch, 3, lambda: draw(structure, path=path))
    assert left(path) == [batch_name(0, 20), batch_name(20, 40), batch_name(40, 60)]
    assert not path.exists()
    seen = interrupt_after(monkeypatch, 100)
    resumed = draw(structure, path=path)
    assert seen == [20, 10]  # only what was not finished
    assert resumed.table.equals(whole.table)
    assert mm.load(path).provenance.description == whole.provenance.description
    assert [file.name for file in tmp_path.iterdir()] == ["map.parquet"]


@pytest.mark.slow
def test_models_without_torch_and_with_text_ids_weights_and_labels(tmp_path, monkeypatch):
    x, y = load_digits(n_class=3, return_X_y=True)
    model = LogisticRegression(max_iter=5000).fit(x[:200], np.array(["a", "b", "c"])[y[:200]])
    given = {"ids": [f"é {k}" for k in range(200)], "sample_weight": np.ones(200)}
    whole = memory_map(model, x[:200], np.array(["a", "b", "c"])[y[:200]], **given)
    saved = memory_map(model, x[:200], np.array(["a", "b", "c"])[y[:200]], **given, path=tmp_path / "a.parquet")
    for column in ("leverage", "sensitivity", "deviation"):
        assert np.array_equal(whole[column], saved[column])
    assert np.array_equal(mm.load(tmp_path / "a.parquet")["target"], whole["target"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda: {"net": network(1.01)}, "model"),
        (lambda: {"prior": 2.0}, "posterior"),
        (lambda: {"structure": Sampled(rows=60, seed=1)}, "posterior"),
        (lambda: {"structure": "ekfac"}, "posterior"),
        (lambda: {"estimator": "first_order"}, "estimator"),
        (lambda: {"rows": np.arange(80)}, "data"),
        (lambda: {"examples": batches(70)}, "data"),
    ],
)
def test_another_model_recipe_or_data_is_refused_by_name_and_the_remedies_work(change, named, tmp_path, monkeypatch):
    path = tmp_path / "map.parquet"
    interrupt(monkeypatch, 2, lambda: draw(path=path))
    with pytest.raises(BatchJournalError, match=named) as refused:
        draw(**change(), path=path)
    assert "delete that folder, or choose another path=" in str(refused.value)
    assert len(draw(**change(), path=tmp_path / "another.parquet"))
    assert len(draw(path=path)) == 90  # the same again


def test_other_inputs_in_a_finished_batch_are_refused(tmp_path, monkeypatch):
    path, x, y = tmp_path / "map.parquet", *data()
    parts = torch.arange(90).split(20)
    interrupt(monkeypatch, 2, lambda: draw(path=path))
    x = x.clone()
    x[25, 0] += 1e-3
    with pytest.raises(BatchJournalError, match="rows 20 to 40 of other inputs"):
        draw(path=path, examples=mm.LoaderExamples([(x[part], y[part]) for part in parts]))


@pytest.mark.slow
def test_damaged_batches_and_headers_are_named(tmp_path, monkeypatch):
    path = tmp_path / "map.parquet"
    interrupt(monkeypatch, 2, lambda: draw(path=path))
    folder = tmp_path / ".map.parquet.batches"
    file = folder / batch_name(20, 40)
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(BatchJournalError, match=r"20-0*40\.parquet is damaged .*delete it, and run again"):
        draw(path=path)
    file.unlink()
    assert len(draw(path=path)) == 90
    folder.mkdir()
    (folder / "header.json").write_text("{")
    with pytest.raises(BatchJournalError, match=r"header\.json is damaged"):
        draw(path=path)


@pytest.mark.parametrize("fault", ["name", "no digest", "digest", "no rows"])
def test_each_kind_of_damage_to_a_batch_is_named(tmp_path, fault):
    batch = pa.RecordBatch.from_pydict({"leverage": [1.0, 2.0]})
    with BatchJournal.resume(tmp_path / "m.parquet", {}) as journal:
        journal.add(slice(0, 2), "digest", batch)
        assert journal.read(slice(0, 2), "digest").equals(batch)
        file = journal.folder / batch_name(0, 2)
        table = pq.read_table(file)
        if fault == "name":
            file.write_bytes(file.read_bytes().replace(b"leverage", b"lever\xe1ge"))
        elif fault == "no rows":
            pq.write_table(table.slice(0, 0), file)
        else:
            notes = {name: b"\xff" for name in table.schema.metadata if fault == "digest"}
            pq.write_table(table.replace_schema_metadata(notes), file)
        with pytest.raises(BatchJournalError, match=r"0-0*2\.parquet is damaged .*delete it, and run again"):
            journal.read(slice(0, 2), "digest")


@pytest.mark.slow
@remedy("has batches with other columns: delete it, and run again")
def test_batches_with_other_columns(said, tmp_path, monkeypatch):
    path = tmp_path / "map.parquet"
    interrupt(monkeypatch, 2, lambda: draw(path=path))
    file = tmp_path / ".map.parquet.batches" / batch_name(20, 40)
    table = pq.read_table(file)
    pq.write_table(table.append_column("other", table["leverage"]), file, write_page_checksum=True)
    with said:
        draw(path=path)
    shutil.rmtree(file.parent)
    assert len(draw(path=path)) == 90


def test_control_characters_in_a_header_are_shown_not_sent_to_the_terminal(tmp_path):
    header = tmp_path / ".map.batches" / "header.json"
    header.parent.mkdir()
    for content in ('{"se\\u001b[2Jed": 0}', '{"\x1b[2J": 0}'):
        header.write_text(content)
        with pytest.raises(BatchJournalError) as caught:
            BatchJournal.resume(tmp_path / "map", {"seed": 0})
        assert "\x1b" not in str(caught.value)


def test_two_runs_do_not_write_the_same_batches(tmp_path):
    with BatchJournal.resume(tmp_path / "map", {"seed": 0}), pytest.raises(InUseError):
        BatchJournal.resume(tmp_path / "map", {"seed": 0})


SCRIPT = """
import sys, time
sys.path[:0] = {paths!r}
from memorymaps.posteriors.gate import Gate
import test_interrupted_maps as here
check = Gate.check_batch
def slowly(self, *given):
    time.sleep(0.3)
    return check(self, *given)
Gate.check_batch = slowly
here.draw(path={path!r})
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX's")
def test_finished_batches_survive_a_kill(tmp_path):
    path, whole = tmp_path / "map.parquet", draw()
    script = SCRIPT.format(paths=sys.path, path=str(path))
    child = subprocess.Popen([sys.executable, "-c", script])
    deadline = time.monotonic() + 300
    while len(left(path)) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()
    finished = left(path)
    assert len(finished) >= 2
    assert json.loads((tmp_path / ".map.parquet.batches" / "header.json").read_text())["posterior"]
    times = {name: (tmp_path / ".map.parquet.batches" / name).stat().st_mtime_ns for name in finished}
    resumed = draw(path=path)
    assert len(times) < 5  # it was killed on the way
    for column in ("id", "leverage", "sensitivity", "loo_loss", "leverage_se", "deviation", "warning"):
        assert np.array_equal(resumed[column], whole[column])
