"""What cannot be recorded is reported once, at the start where that is possible; trainings go on."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from networks import case
from remedies import remedy
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import memorymaps as mm
from memorymaps.maps.trajectory import Trajectory
from memorymaps.nets.optimizers.state_precision import OptimizerStateError
from memorymaps.training.callbacks.recording import RecordingWarning, SafeRecorder
from memorymaps.training.tracker import Tracker

pytestmark = pytest.mark.filterwarnings("ignore")


def package(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name)


def reported(run):
    """The reports of a training that runs to its end."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        run()
    return [str(each.message) for each in found if issubclass(each.category, RecordingWarning)]


def tracker(folder, kind=torch.optim.Adam, y=None, **options):
    net, x, labels = case("mlp", 30)
    optimizer = kind(net.parameters(), lr=0.01)
    options = {"likelihood": "categorical", "path": folder / "run", "every": 1, "prior": 1.0} | options
    return Tracker(net, optimizer, x, labels if y is None else y, **options)


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.SGD, torch.optim.RMSprop, torch.optim.AdamW])
def test_a_check_before_the_first_step_passes_what_can_be_recorded(tmp_path, kind):
    with tracker(tmp_path, kind) as checked:
        checked.check()
    recipe = mm.Laplace("diag", prior=1.0)
    with tracker(tmp_path, torch.optim.Adadelta, posterior=recipe, prior=0.0) as checked:
        checked.check()


def test_a_check_refuses_optimisers_and_data_that_cannot_be_recorded(tmp_path):
    with tracker(tmp_path, torch.optim.Adadelta) as checked, pytest.raises(OptimizerStateError, match="Adadelta"):
        checked.check()
    with tracker(tmp_path, y=np.full(30, 9)) as checked, pytest.raises(ValueError, match="outside the support"):
        checked.check()


def test_a_check_refuses_recipes_that_are_none(tmp_path):
    with tracker(tmp_path, posterior="kfac", prior=0.0) as checked, pytest.raises(TypeError, match="expected a recipe"):
        checked.check()


def test_a_check_reads_test_data(tmp_path):
    _, x, y = case("mlp", 30)
    for test in ((x[:, :2], y), (x, y + 9), ([1], [2])):
        with tracker(tmp_path, test=test) as checked, pytest.raises((ValueError, RuntimeError)):
            checked.check()
    with tracker(tmp_path, test=(x, y)) as checked:
        checked.check()


def test_each_kind_of_error_is_reported_once_and_an_interruption_is_not_caught(tmp_path):
    recorder = SafeRecorder()
    recorder.step()  # nothing is recorded before the start
    errors = iter([ValueError("row 3 is bad"), ValueError("row 14 is bad"), OSError("no space"), KeyboardInterrupt()])

    def log(*_):
        raise next(errors)

    recorder.start(lambda: tracker(tmp_path, torch.optim.SGD, log=log))
    found = reported(lambda: [recorder.step() for _ in range(3)])
    assert [words.partition(". ")[2] for words in found] == ["ValueError: row 3 is bad", "OSError: no space"]
    assert recorder.tracker.steps == 3
    with pytest.raises(KeyboardInterrupt):
        recorder.step()
    recorder.close()
    with tracker(tmp_path, start=4):  # the folder is free
        pass


def test_a_recorder_that_cannot_start_leaves_the_folder_free(tmp_path):
    recorder = SafeRecorder()
    found = reported(lambda: recorder.start(lambda: tracker(tmp_path, torch.optim.Adadelta)))
    assert len(found) == 1
    assert "Adadelta" in found[0]
    assert recorder.tracker is None
    assert reported(recorder.step) == []
    with tracker(tmp_path):
        pass


# --- frameworks ----------------------------------------------------------------------------------------------------


ROWS = [{"input_ids": [1 + k % 9] * (2 + k % 5), "label": k % 2, "text": f"row {k}"} for k in range(12)]


def padded(rows):
    assert all("text" not in row for row in rows)  # as the Trainer's, which leaves columns of the model only
    longest = max(len(row["input_ids"]) for row in rows)
    tokens = [row["input_ids"] + [0] * (longest - len(row["input_ids"])) for row in rows]
    mask = [[1] * len(row["input_ids"]) + [0] * (longest - len(row["input_ids"])) for row in rows]
    return {"input_ids": torch.tensor(tokens), "attention_mask": torch.tensor(mask),
            "labels": torch.tensor([row["label"] for row in rows])}  # fmt: skip


class Stream(torch.utils.data.IterableDataset):
    def __iter__(self):
        return iter(ROWS)


def hugging_face(folder, callback, optimizer="adamw_torch", rows=ROWS):
    transformers = package("transformers")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=12, num_labels=2,
        max_position_embeddings=8,
    )  # fmt: skip
    model = transformers.BertForSequenceClassification(config)
    model.bert.embeddings.position_embeddings.requires_grad_(False)
    arguments = transformers.TrainingArguments(
        output_dir=str(folder), per_device_train_batch_size=4, max_steps=6, report_to=[], use_cpu=True,
        save_strategy="no", disable_tqdm=True, logging_strategy="no", optim=optimizer,
    )  # fmt: skip
    trainer = transformers.Trainer(
        model=model, args=arguments, train_dataset=rows, data_collator=padded, callbacks=[callback]
    )
    trainer.train()
    assert trainer.state.global_step == 6


@pytest.mark.slow
@pytest.mark.parametrize("data", [None, ROWS])
def test_hugging_face_rows_of_lists_with_further_columns_are_padded_by_the_trainers_collator(tmp_path, data):
    package("transformers")
    from memorymaps.training.callbacks.huggingface import HuggingFaceCallback

    options = {"likelihood": "categorical", "path": tmp_path / "run", "every": 3, "prior": 1.0}
    callback = HuggingFaceCallback(data, **options)
    assert reported(lambda: hugging_face(tmp_path, callback)) == []
    assert callback.tracker.trajectory().steps == [3, 6]
    assert callback.tracker.trajectory().at(6)["target"].tolist() == [row["label"] for row in ROWS]


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["optimiser", "labels", "folder"])
def test_hugging_face_trainings_go_on(tmp_path, fault):
    package("transformers")
    from memorymaps.training.callbacks.huggingface import HuggingFaceCallback

    (tmp_path / "file").write_text("in the way")
    options = {"likelihood": "categorical", "path": tmp_path / ("file" if fault == "folder" else "run"), "every": 3}
    data = [row | {"label": 5} for row in ROWS] if fault == "labels" else None
    callback = HuggingFaceCallback(data, prior=1.0, **options)
    found = reported(lambda: hugging_face(tmp_path, callback, "adafactor" if fault == "optimiser" else "adamw_torch"))
    assert len(found) == 1
    assert "the training goes on" in found[0]


@remedy("which has no numbered examples: pass those to be mapped, HuggingFaceCallback(list(dataset), …)")
@pytest.mark.slow
def test_hugging_face_streams(tmp_path, said):
    package("transformers")
    from memorymaps.training.callbacks.huggingface import HuggingFaceCallback

    options = {"likelihood": "categorical", "path": tmp_path / "run", "every": 3, "prior": 1.0}
    (found,) = reported(lambda: hugging_face(tmp_path, HuggingFaceCallback(**options), rows=Stream()))
    said.reads(found)
    callback = HuggingFaceCallback(list(Stream()), **options)
    assert reported(lambda: hugging_face(tmp_path, callback, rows=Stream())) == []
    assert callback.tracker.trajectory().at(6)["target"].tolist() == [row["label"] for row in ROWS]


def lightning_module(optimizers=1):
    lightning = package("lightning.pytorch")

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = case("mlp", 30)[0]
            self.automatic_optimization = optimizers == 1

        def forward(self, x):
            return self.net(x)

        def training_step(self, batch, _):
            loss = nn.functional.cross_entropy(self(batch[0]), batch[1])
            if optimizers > 1:
                self.manual_backward(loss)
                for optimizer in self.optimizers():
                    optimizer.step()
            return loss

        def configure_optimizers(self):
            return [torch.optim.Adam(self.parameters(), lr=0.05) for _ in range(optimizers)]

    return Module()


def lightning_training(folder, callback, module):
    _, x, y = case("mlp", 30)
    trainer = package("lightning.pytorch").Trainer(
        max_epochs=2, callbacks=[callback], logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, accelerator="cpu", default_root_dir=folder,
    )  # fmt: skip
    trainer.fit(module, DataLoader(TensorDataset(x, y), 10, shuffle=True))
    assert trainer.current_epoch == 2
    return trainer


@pytest.mark.slow
def test_lightning_records_the_training_loader_by_default_and_the_first_process_only(tmp_path, monkeypatch):
    lightning = package("lightning.pytorch")
    from memorymaps.training.callbacks.lightning import LightningCallback

    options = {"likelihood": "categorical", "every": 3, "prior": 1.0}
    callback = LightningCallback(path=tmp_path / "run", **options)
    assert reported(lambda: lightning_training(tmp_path, callback, lightning_module())) == []
    assert Trajectory.load(tmp_path / "run").steps == [3, 6]
    monkeypatch.setattr(lightning.Trainer, "is_global_zero", property(lambda _: False))
    other = LightningCallback(path=tmp_path / "other", **options)
    lightning_training(tmp_path, other, lightning_module())
    assert other.tracker is None
    assert not (tmp_path / "other").exists()


@pytest.mark.slow
def test_lightning_trainings_go_on(tmp_path):
    package("lightning.pytorch")
    from memorymaps.training.callbacks.lightning import LightningCallback

    callback = LightningCallback(likelihood="categorical", path=tmp_path / "run", every=3)
    found = reported(lambda: lightning_training(tmp_path, callback, lightning_module(optimizers=2)))
    assert len(found) == 1
    assert "2 optimisers" in found[0]


@pytest.mark.slow
def test_skorch_trainings_go_on(tmp_path):
    skorch = package("skorch")
    from memorymaps.training.callbacks.skorch import SkorchCallback

    net, x, y = case("mlp", 30)
    callback = SkorchCallback(x, torch.full((30,), 9), likelihood="categorical", path=tmp_path / "run", every=3)
    model = skorch.NeuralNetClassifier(
        net, criterion=nn.CrossEntropyLoss, optimizer=torch.optim.Adam, max_epochs=2, batch_size=10, train_split=None,
        callbacks=[("maps", callback)], verbose=0,
    )  # fmt: skip
    found = reported(lambda: model.fit(x, y))
    assert len(found) == 1
    assert "outside the support" in found[0]
    assert len(model.history) == 2
