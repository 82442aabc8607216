"""Every framework's own loop, on a tiny network: the maps are those of `tracker.step()` in a plain loop."""

from __future__ import annotations

import warnings

import matplotlib
import numpy as np
import pytest
import torch
from networks import case
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import memorymaps as mm
from memorymaps.tracking import Tracker
from memorymaps.trajectories import Trajectory

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the frameworks' own
        yield


def data(n=24):
    net, x, y = case("mlp", n)
    return net.float(), x.float(), y


def options(tmp_path, **more):
    return {"likelihood": "categorical", "path": tmp_path / "run", "every": 2} | more


def checked(tmp_path, net, optimizer, x, y, last):
    """The last record is the map of the network as training left it."""
    run = Trajectory.load(tmp_path / "run")
    expected = mm.memory_map(net, x, y, likelihood="categorical", posterior=mm.FromOptimizer(optimizer, n=len(x)))
    np.testing.assert_allclose(run.at(last)["sensitivity"], expected["sensitivity"], rtol=1e-5)
    return run


def test_lightning_counts_optimiser_steps(tmp_path):
    lightning = pytest.importorskip("lightning")
    from memorymaps.callbacks.lightning import MemoryMaps

    class Classifier(lightning.LightningModule):
        def __init__(self, net):
            super().__init__()
            self.net = net

        def forward(self, x):
            return self.net(x)

        def training_step(self, batch, _):
            return nn.functional.cross_entropy(self(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), lr=0.01, weight_decay=0.01)

    net, x, y = data()
    module, examples = Classifier(net), TensorDataset(x, y)
    callback = MemoryMaps(examples, **options(tmp_path))
    trainer = lightning.Trainer(
        max_epochs=4, accumulate_grad_batches=2, callbacks=[callback], logger=False, accelerator="cpu",
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, DataLoader(examples, batch_size=6, shuffle=True))
    assert trainer.global_step == 8
    assert checked(tmp_path, module, trainer.optimizers[0], x, y, last=8).steps == [2, 4, 6, 8]


def bert():
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=40, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, num_labels=3,
        max_position_embeddings=16,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.BertForSequenceClassification(config)
    tokens = torch.randint(0, 40, (16, 7))
    rows = [{"input_ids": t, "attention_mask": torch.ones_like(t), "labels": torch.tensor(k % 3)}
            for k, t in enumerate(tokens)]  # fmt: skip
    return transformers, model, rows


@pytest.mark.parametrize("lora", [False, True])
def test_hugging_face_inputs_are_mappings(tmp_path, lora):
    transformers, model, rows = bert()
    if lora:
        peft = pytest.importorskip("peft")
        model = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["query", "value"], task_type="SEQ_CLS"))
    from memorymaps.callbacks.huggingface import MemoryMaps

    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path / "hf"), num_train_epochs=2, per_device_train_batch_size=4, report_to=[],
        gradient_accumulation_steps=2, weight_decay=0.01, use_cpu=True, save_strategy="no", disable_tqdm=True,
        logging_strategy="no",
    )  # fmt: skip
    # without LoRA some tokens are never seen, and nothing in Adam's state holds them
    recipe = None if lora else mm.Laplace("diag", prior=1.0)
    callback = MemoryMaps(DataLoader(rows, batch_size=8), **options(tmp_path, posterior=recipe))
    trainer = transformers.Trainer(model=model, args=arguments, train_dataset=rows, callbacks=[callback])
    trainer.train()
    run = Trajectory.load(tmp_path / "run")
    assert run.steps == [2, 4]
    covered = run.at(4).provenance.description.coverage
    fixed = [line for line in covered if "lora" not in line and "query.base_layer" in line]
    assert bool(fixed) == lora
    recipe = recipe or mm.FromOptimizer(trainer.optimizer.optimizer, n=16)
    m = mm.memory_map(model, DataLoader(rows, batch_size=8), likelihood="categorical", posterior=recipe)
    np.testing.assert_allclose(run.at(4)["sensitivity"], m["sensitivity"], rtol=1e-4)


def test_skorch(tmp_path):
    skorch = pytest.importorskip("skorch")
    from memorymaps.callbacks.skorch import MemoryMaps

    net, x, y = data()
    callback = MemoryMaps(x, y, **options(tmp_path))
    model = skorch.NeuralNetClassifier(
        net, criterion=nn.CrossEntropyLoss, optimizer=torch.optim.Adam, optimizer__weight_decay=0.01, lr=0.01,
        max_epochs=3, batch_size=6, callbacks=[callback], train_split=None, verbose=0,
    )  # fmt: skip
    model.fit(x.numpy(), y.numpy())
    assert checked(tmp_path, model.module_, model.optimizer_, x, y, last=12).steps == [2, 4, 6, 8, 10, 12]


# --- dashboards ----------------------------------------------------------------------------------------------------


def recorded(tmp_path, log):
    net, x, y = data()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01, weight_decay=0.01)
    tracker = Tracker(net, optimizer, x, y, **options(tmp_path, loggers=[log]))
    for _ in range(4):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
        tracker.step()
    return tracker.trajectory().losses()


def test_tensorboard_holds_the_scalars_and_the_picture(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    from memorymaps.callbacks.tensorboard import log

    with SummaryWriter(str(tmp_path / "board")) as writer:
        losses = recorded(tmp_path, log(writer))
    events = EventAccumulator(str(tmp_path / "board")).Reload()
    found = events.Scalars("memorymaps/loo_loss")
    assert [event.step for event in found] == [2, 4]
    np.testing.assert_allclose([event.value for event in found], losses["loo_loss"], rtol=1e-6)
    assert len(events.Images("memorymaps/map")) == 2


def test_weights_and_biases_offline(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    from memorymaps.callbacks.wandb import log

    monkeypatch.setenv("WANDB_SILENT", "true")
    with wandb.init(mode="offline", dir=str(tmp_path), project="test") as run:
        losses = recorded(tmp_path, log(run))
        summary = dict(run.summary)
    assert summary["memorymaps/step"] == 4
    assert summary["memorymaps/loo_loss"] == pytest.approx(losses["loo_loss"].iloc[-1])
    assert list(tmp_path.rglob("media/images/**/*.png"))


def test_mlflow_holds_the_scalars_and_the_picture(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    from memorymaps.callbacks.mlflow import log

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    client = mlflow.MlflowClient(tracking_uri=(tmp_path / "mlruns").as_uri())
    run = client.create_run(client.create_experiment("test"))
    losses = recorded(tmp_path, log(client, run.info.run_id))
    found = client.get_metric_history(run.info.run_id, "memorymaps/loo_loss")
    assert [metric.step for metric in found] == [2, 4]
    np.testing.assert_allclose([metric.value for metric in found], losses["loo_loss"])
    assert [f.path for f in client.list_artifacts(run.info.run_id, "memorymaps")][-1].endswith("map_000000004.png")
