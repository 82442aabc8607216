"""What messages about data sets, loaders and callbacks of PyTorch say to type, typed."""

import importlib.util

import numpy as np
import pytest
from remedies import remedy

pytest.importorskip("torch")

import torch
from runs import trained
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset, WeightedRandomSampler

import memorymaps as mm
from memorymaps.maps.trajectory import Trajectory
from memorymaps.training.tracker import Tracker

N = 30
X = torch.randn(N, 4, generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(N) % 3
DATA = TensorDataset(X, LABELS)


def body():
    torch.manual_seed(0)
    return nn.Linear(4, 3)


def mapped(data, *target, net=None, **options):
    recipe = mm.Laplace("full", prior=1.0)
    return mm.memory_map(net or body(), data, *target, likelihood="categorical", posterior=recipe, **options)


def is_whole(m, n=N):
    assert len(m) == n
    assert m["leverage"].sum() > 1


# --- batches ----------------------------------------------------------------------------------------------------------


@remedy("for anything else pass LoaderExamples(loader, split=lambda batch: (inputs, target, ids_or_None))")
def test_batches_of_another_layout(said):
    loader = [{"pixels": x, "digit": y} for x, y in DataLoader(DATA, 10)]
    with said:
        mapped(loader)
    is_whole(mapped(X, LABELS))
    examples = mm.LoaderExamples(loader, split=lambda batch: (batch["pixels"], batch["digit"], None))
    np.testing.assert_allclose(mapped(examples)["leverage"], mapped(X, LABELS)["leverage"], rtol=1e-5)


class Graphs:
    """As PyTorch Geometric's batches: 2 nodes a graph, concatenated."""

    def __init__(self, x, y):
        self.x, self.y, self.num_graphs = x.reshape(-1, 2), y, len(y)


@remedy("Expected arrays with a row for each graph: pass padded ones, (to_dense_batch(x, batch)[0]")
def test_batches_of_graphs(said):
    with said:
        mapped([Graphs(X, LABELS)])
    padded = Graphs(X, LABELS).x.reshape(
        N, 2, 2
    )  # to_dense_batch(x, batch)[0]: torch_geometric is not among the tests'
    net = nn.Sequential(nn.Flatten(), body())
    is_whole(mapped(padded, LABELS, net=net))


@remedy("pass list(batches), or an object whose __iter__ starts again, such as the loader itself")
def test_generators(said):
    def batches():
        return ((x, y) for x, y in DataLoader(DATA, 10))

    with said:
        mapped(batches())
    is_whole(mapped(list(batches())))
    is_whole(mapped(DataLoader(DATA, 10)))


@remedy("the data are exhausted after one pass, and a map takes several: pass list(batches)")
def test_an_object_that_ends(said):
    class Once:
        def __init__(self):
            self.batches = iter(DataLoader(DATA, 10))

        def __iter__(self):
            return self.batches

    with said:
        mapped(mm.LoaderExamples(Once()))
    is_whole(mapped(mm.LoaderExamples(list(Once()))))


class Augmented(Dataset):
    """Noise in training; `train` as of transforms."""

    def __init__(self, train):
        self.train = train

    def __len__(self):
        return N

    def __getitem__(self, row):
        return X[row] + (0.1 * torch.randn(4) if self.train else 0), LABELS[row]


@remedy("Pass the dataset itself with its evaluation transform, or a loader with shuffle=False")
def test_batches_that_differ(said):
    class Shuffled:
        def __init__(self, shuffle):
            self.shuffle, self.generator = shuffle, torch.Generator().manual_seed(0)

        def __iter__(self):
            rows = torch.randperm(N, generator=self.generator) if self.shuffle else torch.arange(N)
            return iter([(X[rows], LABELS[rows])])

    with said:
        mapped(mm.LoaderExamples(Shuffled(True)))
    is_whole(mapped(Augmented(False)))
    is_whole(mapped(DataLoader(DATA, 10, shuffle=False)))
    is_whole(mapped(mm.LoaderExamples(Shuffled(False))))


@remedy("Use the evaluation transform, with which predictions are made")
def test_data_sets_that_augment(said):
    torch.manual_seed(0)
    with said:
        m = mapped(Augmented(True))
        m.leave_out({"a": [0]})
        mm.refit(m, top=2)
    is_whole(mapped(Augmented(False)))


@remedy("whose batches are made already: pass the data set, one example at a time, or leave them out")
def test_a_batch_size_of_batches(said):
    batches = list(DataLoader(DATA, 10))
    with said:
        mapped(batches, batch_size=5)
    is_whole(mapped(DATA, batch_size=5))
    is_whole(mapped(batches))


@remedy("may be a batch of numbers or a single example: pass LoaderExamples(batches)")
def test_one_number_an_example(said):
    x, y = X[:, 0], (X[:, 1] > 0).float()
    batches = [(x[:10], y[:10]), (x[10:], y[10:])]
    examples = list(zip(x, y, strict=True))

    class Column(nn.Linear):
        def forward(self, x):
            return super().forward(x[:, None])

    def draw(data):
        recipe = mm.Laplace("full", prior=1.0)
        torch.manual_seed(0)
        net = Column(1, 1)
        net.weight.data[:], net.bias.data[:] = 3.0, -1.0
        return mm.memory_map(net, data, likelihood="bernoulli", posterior=recipe)

    with said:
        draw(batches)
    a, b = draw(mm.LoaderExamples(batches)), draw(DataLoader(examples, batch_size=256))
    assert len(a) == N
    np.testing.assert_allclose(a["leverage"], b["leverage"], rtol=1e-5)


@remedy("a map has every training example once. Pass the dataset itself, or DataLoader(Subset(dataset, indices))")
def test_weighted_samplers(said):
    weight = torch.rand(N, generator=torch.Generator().manual_seed(0)) + 0.5
    with said:
        mapped(DataLoader(DATA, 10, sampler=WeightedRandomSampler(weight, N)))
    is_whole(mapped(DATA))
    is_whole(mapped(DataLoader(Subset(DATA, range(20)), 10)), 20)
    is_whole(mapped(DATA, sample_weight=weight.numpy()))


# --- runs -------------------------------------------------------------------------------------------------------------


@remedy("expected one data set per trajectory. Use another path= for the new data")
@remedy("with … here. Use another path=", at="training/tracker.py")
@pytest.mark.slow
def test_another_run_under_the_same_path(said, tmp_path):
    _, net, optimizer, x, y = trained(tmp_path)
    options = {"likelihood": "categorical", "start": 12}
    with Tracker(net, optimizer, x, (y + 1) % 3, path=tmp_path / "run", **options) as tracker, said:
        tracker.record()
    with Tracker(net, optimizer, x, (y + 1) % 3, path=tmp_path / "new", **options) as tracker:
        assert len(tracker.record()) == len(x)
    torch.manual_seed(0)
    other = nn.Sequential(nn.Linear(x.shape[1], 7), nn.Tanh(), nn.Linear(7, 3)).double()
    own = {**options, "posterior": mm.Laplace("diag", prior=1.0)}
    with Tracker(other, None, x, y, path=tmp_path / "run", **own) as tracker, said:
        tracker.record()
    with Tracker(other, None, x, y, path=tmp_path / "other", **own) as tracker:
        assert len(tracker.record()) == len(x)


@remedy("contains a run up to step …: continue it with start=…, or choose another path")
@pytest.mark.slow
def test_a_folder_with_a_run(said, tmp_path):
    _, net, optimizer, x, y = trained(tmp_path)
    options = {"likelihood": "categorical", "every": 1}
    with said:
        Tracker(net, optimizer, x, y, path=tmp_path / "run", **options)
    start = int(said.text.partition("up to step ")[2].partition(":")[0])
    with Tracker(net, optimizer, x, y, path=tmp_path / "run", start=start, **options) as tracker:
        tracker.step()
    assert Trajectory.load(tmp_path / "run").steps[-1] == start + 1
    with Tracker(net, optimizer, x, y, path=tmp_path / "another", **options) as tracker:
        tracker.step()
    assert Trajectory.load(tmp_path / "another").steps == [1]


@remedy("pass them to the recipe, for instance FromOptimizer(optimizer, n, prior=…, directions=…)")
def test_a_prior_beside_a_recipe(said, tmp_path):
    _, net, optimizer, x, y = trained(tmp_path)
    n, options = len(x), {"likelihood": "categorical", "path": tmp_path / "b"}
    with said:
        Tracker(net, optimizer, x, y, posterior=mm.FromOptimizer(optimizer, n), prior=0.1, **options)
    recipe = mm.FromOptimizer(optimizer, n, prior=0.1, directions=1)
    with Tracker(net, optimizer, x, y, posterior=recipe, **options) as tracker:
        assert len(tracker.record()) == n


@remedy("Delete this step's folder, or resume the run before it with Tracker(…, start=…)")
@pytest.mark.parametrize("how", ["delete", "resume"])
@pytest.mark.slow
def test_a_damaged_step(said, tmp_path, how):
    _, net, optimizer, x, y = trained(tmp_path)
    folder = tmp_path / "run" / "step=000000012"
    (folder / "scalars.json").unlink()
    with said:
        Trajectory.load(tmp_path / "run").losses()
    assert "step=000000012" in said.text
    if how == "delete":
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
    else:
        with Tracker(
            net, optimizer, x, y, likelihood="categorical", path=tmp_path / "run", start=8, every=1
        ) as tracker:
            tracker.step()
    assert Trajectory.load(tmp_path / "run").losses().index.tolist() == ([4, 8] if how == "delete" else [4, 8, 9])


@remedy("expected a folder such as 'step=000000100'. Move it elsewhere")
def test_a_strange_step(said, tmp_path):
    trained(tmp_path)
    strange = tmp_path / "run" / "step=best"
    strange.mkdir()
    with said:
        Trajectory.load(tmp_path / "run")
    strange.rename(tmp_path / "best")
    assert Trajectory.load(tmp_path / "run").steps == [4, 8, 12]


@remedy("Pass LightningCallback(…, posterior=Laplace(prior=δ)), which needs none")
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(importlib.util.find_spec("lightning") is None, reason="lightning is not installed")
def test_lightning_with_two_optimisers(said, tmp_path):
    import lightning.pytorch as lightning

    from memorymaps.training.callbacks.lightning import LightningCallback

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.automatic_optimization, self.net = False, body()

        def forward(self, x):
            return self.net(x)

        def training_step(self, batch, _):
            x, y = batch
            for optimizer in self.optimizers():
                optimizer.zero_grad()
            self.manual_backward(nn.functional.cross_entropy(self(x), y))
            for optimizer in self.optimizers():
                optimizer.step()

        def configure_optimizers(self):
            return [torch.optim.SGD([value], 0.1) for value in self.net.parameters()]

    def fit(name, **options):
        loader = DataLoader(DATA, 10)
        callback = LightningCallback(loader, likelihood="categorical", path=tmp_path / name, every=1, **options)
        trainer = lightning.Trainer(
            max_epochs=1, callbacks=[callback], accelerator="cpu", logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        trainer.fit(Module(), loader)

    with said:
        fit("a")
    fit("b", posterior=mm.Laplace("diag", prior=1.0))
    assert len(Trajectory.load(tmp_path / "b").steps) > 1
