"""One line in each framework, with the framework itself: what is recorded is the map of what was trained."""

from __future__ import annotations

import os
import sys
import warnings

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from networks import case
from timeouts import TIMEOUT
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import memorymaps as mm
from memorymaps.maps.trajectory import Trajectory

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # imports; the frameworks' own


def package(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name)


def the_same(m, net, optimizer, data, target=None, n=30):
    options = {"likelihood": "categorical", "posterior": mm.FromOptimizer(optimizer, n=n)}
    now = mm.memory_map(net, data, target, progress=False, **options)
    np.testing.assert_allclose(m["leverage"], now["leverage"], rtol=1e-6)
    np.testing.assert_allclose(m["loss"], now["loss"], rtol=1e-6)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_lightning(tmp_path, accumulate):
    lightning = package("lightning.pytorch")
    from memorymaps.training.callbacks.lightning import LightningCallback

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = case("mlp", 30)[0]

        def forward(self, x):
            return self.net(x)

        def training_step(self, batch, _):
            return nn.functional.cross_entropy(self(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), lr=0.05, weight_decay=0.01)

    _, x, y = case("mlp", 30)
    loader = DataLoader(TensorDataset(x, y), 10, shuffle=True)
    callback = LightningCallback(loader, likelihood="categorical", path=tmp_path / "run", every=2)
    trainer = lightning.Trainer(
        max_epochs=4, callbacks=[callback], logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, accelerator="cpu", default_root_dir=tmp_path, accumulate_grad_batches=accumulate,
    )  # fmt: skip
    module = Module()
    trainer.fit(module, loader)
    t = callback.tracker.trajectory()
    assert t.steps == list(range(2, trainer.global_step + 1, 2))
    assert trainer.global_step == {1: 12, 2: 8}[accumulate]
    the_same(t.at(t.steps[-1]), module, trainer.optimizers[0], x, y)
    assert module.training  # put back as it was


@pytest.mark.parametrize("lora", [False, True])
def test_hugging_face(tmp_path, lora):
    transformers = package("transformers")
    from memorymaps.training.callbacks.huggingface import HuggingFaceCallback

    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=12, num_labels=2,
        max_position_embeddings=8,
    )  # fmt: skip
    model = transformers.BertForSequenceClassification(config)
    model.bert.embeddings.position_embeddings.requires_grad_(False)  # looked up once for all examples of a batch
    if lora:
        peft = package("peft")
        model = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["query", "value"], task_type="SEQ_CLS"))
    tokens = torch.randint(0, 20, (12, 6))
    rows = [
        {"input_ids": t, "attention_mask": torch.ones(6, dtype=torch.long), "labels": int(t[0] > 9)} for t in tokens
    ]
    callback = HuggingFaceCallback(Rows(rows), likelihood="categorical", path=tmp_path / "run", every=3, prior=1.0)
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path), per_device_train_batch_size=4, num_train_epochs=2, report_to=[], use_cpu=True,
        save_strategy="no", disable_tqdm=True, weight_decay=0.01, logging_strategy="no",
    )  # fmt: skip
    transformers.Trainer(model=model, args=arguments, train_dataset=Rows(rows), callbacks=[callback]).train()
    t = callback.tracker.trajectory()
    assert t.steps == [3, 6]
    lines = t.at(6).provenance.description.coverage
    assert any("lora" in line for line in lines) == lora
    assert np.all(t.at(6)["leverage"] > 0)


class Rows(torch.utils.data.Dataset):
    """A list as a data set."""

    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, k):
        return self.rows[k]


def test_skorch(tmp_path):
    skorch = package("skorch")
    from memorymaps.training.callbacks.skorch import SkorchCallback

    net, x, y = case("mlp", 30)
    callback = SkorchCallback(likelihood="categorical", path=tmp_path / "run", every=3)
    model = skorch.NeuralNetClassifier(
        net, criterion=nn.CrossEntropyLoss, optimizer=torch.optim.Adam, lr=0.05, max_epochs=3, batch_size=10,
        train_split=None, callbacks=[("maps", callback)], verbose=0, optimizer__weight_decay=0.01,
    )  # fmt: skip
    model.fit(x, y)
    t = Trajectory.load(tmp_path / "run")
    assert t.steps == [3, 6, 9]
    the_same(t.at(9), model.module_, model.optimizer_, x, y)


# --- loggers --------------------------------------------------------------------------------------------------------


def recorded(tmp_path, log):
    from runs import trained

    return trained(tmp_path, log=log)[0].trajectory()


def test_tensorboard(tmp_path):
    package("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    from memorymaps.training.callbacks.tensorboard import TensorBoard

    with SummaryWriter(str(tmp_path / "logs")) as writer:
        t = recorded(tmp_path, TensorBoard(writer))
    seen = EventAccumulator(str(tmp_path / "logs")).Reload()
    values = [(event.step, event.value) for event in seen.Scalars("memorymaps/loo_loss")]
    assert values == [(s, pytest.approx(v, rel=1e-6)) for s, v in t.losses()["loo_loss"].items()]
    assert "memorymaps/test_loss" not in seen.Tags()["scalars"]  # there was no test data
    assert [image.step for image in seen.Images("memorymaps/map")] == [4, 8, 12]


def test_mlflow(tmp_path, monkeypatch):
    mlflow = package("mlflow")
    from memorymaps.training.callbacks.mlflow import MLflow

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    client = mlflow.MlflowClient(tracking_uri=(tmp_path / "store").as_uri())
    run = client.create_run(client.create_experiment("maps")).info.run_id
    t = recorded(tmp_path, MLflow(run, client))
    history = {metric.step: metric.value for metric in client.get_metric_history(run, "memorymaps/loo_loss")}
    assert history == pytest.approx(t.losses()["loo_loss"].to_dict())
    assert len(client.list_artifacts(run, "memorymaps")) == 3


@pytest.mark.skipif(sys.platform == "win32", reason="wandb's service")
def test_wandb_offline(tmp_path, monkeypatch):
    wandb = package("wandb")
    from memorymaps.training.callbacks.wandb import WandB

    monkeypatch.setenv("WANDB_SILENT", "true")
    logged = []
    settings = wandb.Settings(x_service_wait=TIMEOUT, init_timeout=TIMEOUT, summary_timeout=TIMEOUT)
    with wandb.init(mode="offline", project="maps", dir=str(tmp_path), settings=settings) as run:
        send = run.log
        monkeypatch.setattr(run, "log", lambda values: (logged.append(values), send(values)))
        t = recorded(tmp_path, WandB(run))
        assert dict(run.summary)["memorymaps/step"] == 12
    assert [each["memorymaps/loo_loss"] for each in logged] == t.losses()["loo_loss"].tolist()
    pictures = [name for _, _, names in os.walk(tmp_path) for name in names if name.endswith(".png")]
    assert len(pictures) == 3
