"""Every public call leaves the process as it found it: random numbers, precision, threads, filters, handlers."""

from __future__ import annotations

import contextlib
import copy
import io
import os
import random
import signal
import threading
import warnings

import matplotlib as mpl
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

pytest.importorskip("torch")

import torch
from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, WhiteKernel
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import HuberRegressor, Lasso, LogisticRegression, PoissonRegressor, Ridge
from sklearn.multioutput import MultiOutputRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from threadpoolctl import threadpool_info
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import memorymaps as mm
from memorymaps.cli.commands import main
from memorymaps.cli.report import write_report
from memorymaps.core.likelihoods.categorical import Categorical
from memorymaps.core.likelihoods.exponential_family import Gaussian
from memorymaps.models.draws.draws import Draws
from memorymaps.nets.autograd.batch_size import retain_allocator_pages
from memorymaps.nets.ensembles import mc_dropout
from memorymaps.training.tracker import Tracker
from memorymaps.viz.explorer.options import ExplorerOptions
from memorymaps.viz.explorer.packing import pack_lazily
from memorymaps.viz.explorer.server import Server

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3))
LABELS = (X[:, 0] + RNG.normal(size=40) > 0).astype(int)
Y = X @ [1.0, -1.0, 0.5] + RNG.normal(size=40)
COUNTS = RNG.poisson(np.exp(0.3 * X[:, 0]))


def numbers():
    """Generators that belong to everybody."""
    legacy = np.random.get_state()
    return {
        "random": random.getstate(),
        "numpy.random": (legacy[1].tobytes(), legacy[2:]),
        "torch random": torch.get_rng_state().numpy().tobytes(),
    }


def settings():
    """Everything else that one library can change under another's feet."""
    flags = torch.backends.cuda
    return {
        "torch dtype": torch.get_default_dtype(),
        "torch device": torch.get_default_device(),
        "torch threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "torch gradients": (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_anomaly_enabled()),
        "torch deterministic": torch.are_deterministic_algorithms_enabled(),
        "torch attention": (flags.flash_sdp_enabled(), flags.mem_efficient_sdp_enabled(), flags.math_sdp_enabled()),
        "torch fast path": torch.backends.mha.get_fastpath_enabled(),
        "BLAS threads": sorted((pool["filepath"], pool["num_threads"]) for pool in threadpool_info()),
        "arrow threads": (pa.cpu_count(), pa.io_thread_count()),
        "warnings": (list(warnings.filters), warnings.showwarning, warnings.formatwarning),
        "numpy errors": (np.geterr(), np.get_printoptions()),
        "rcParams": dict(mpl.rcParams),
        "backend": mpl.get_backend(),
        "pandas": (pd.get_option("display.max_rows"), pd.get_option("display.width")),
        "signals": [signal.getsignal(number) for number in signal.valid_signals()],
        "threads": sorted(thread.name for thread in threading.enumerate() if "tqdm" not in thread.name),
        "environment": dict(os.environ),
        "folder": os.getcwd(),
    }


@contextlib.contextmanager
def nothing_changes():
    before = numbers() | settings()
    yield
    after = numbers() | settings()
    assert [name for name in before if before[name] != after[name]] == []


# --- one builder a family ------------------------------------------------------------------------------------------


def fitted(model, y=Y):
    return lambda: (model.fit(X, y), X, y), {}


def network(inputs=None, **recipe):
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Dropout(0.1), nn.Linear(4, 2)).double()
    data = (torch.tensor(X), torch.tensor(LABELS)) if inputs is None else (inputs,)
    return lambda: (net, *data), {"likelihood": "categorical", "posterior": mm.Laplace(**{"prior": 1.0} | recipe)}


def optimised():
    net = nn.Linear(3, 2).double()
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.01)
    nn.functional.cross_entropy(net(torch.tensor(X)), torch.tensor(LABELS)).backward()
    optimizer.step()
    return net, optimizer


def from_optimizer():
    net, optimizer = optimised()
    posterior = mm.FromOptimizer(optimizer, n=40)
    return lambda: (net, torch.tensor(X), torch.tensor(LABELS)), {"likelihood": "categorical", "posterior": posterior}


def glm():
    api = pytest.importorskip("statsmodels.api")
    return lambda: (api.GLM(COUNTS, X, family=api.families.Poisson()).fit(),), {}


def trees(module, name, **options):
    return lambda: (getattr(pytest.importorskip(module), name)(n_estimators=3, **options).fit(X, Y), X, Y), {}


def catboost():
    kind = pytest.importorskip("catboost").CatBoostRegressor
    options = {"iterations": 3, "verbose": False, "allow_writing_files": False, "boosting_type": "Plain"}
    return lambda: (kind(**options).fit(X, Y), X, Y), {}


def gaussian_process():
    gpytorch = pytest.importorskip("gpytorch")

    class Exact(gpytorch.models.ExactGP):
        def __init__(self, x, y, likelihood):
            super().__init__(x, y, likelihood)
            self.mean_module = gpytorch.means.ConstantMean()
            self.covar_module = gpytorch.kernels.ScaleKernel(gpytorch.kernels.RBFKernel())

        def forward(self, x):
            return gpytorch.distributions.MultivariateNormal(self.mean_module(x), self.covar_module(x))

    model = Exact(torch.tensor(X), torch.tensor(Y), gpytorch.likelihoods.GaussianLikelihood()).double()
    return lambda: (model, X, Y), {}


def sampler():
    net = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 2)).double()
    return lambda: (mc_dropout(net, Categorical(), draws=20), torch.tensor(X), torch.tensor(LABELS)), {}


def drawn():
    f = RNG.normal(size=(50, 3)) @ X.T
    return lambda: (Draws(f[:, :, None], Gaussian()), X, Y), {}


LOADER = DataLoader(TensorDataset(torch.tensor(X), torch.tensor(LABELS)), batch_size=16, shuffle=True)
PLAIN = DataLoader(TensorDataset(torch.tensor(X), torch.tensor(LABELS)), batch_size=16)
FAMILIES = {
    "ridge": lambda: fitted(Ridge()),
    "lasso": lambda: fitted(Lasso(alpha=0.1)),
    "huber": lambda: fitted(HuberRegressor()),
    "logistic": lambda: fitted(LogisticRegression(), LABELS),
    "poisson": lambda: fitted(PoissonRegressor(), COUNTS),
    "pipeline": lambda: fitted(make_pipeline(StandardScaler(), Ridge())),
    "several": lambda: fitted(MultiOutputRegressor(Ridge()), np.stack([Y, -Y], axis=1)),
    "mlp classifier": lambda: fitted(MLPClassifier((4,), max_iter=2000, random_state=0, solver="lbfgs"), LABELS),
    "mlp regressor": lambda: fitted(
        MLPRegressor(hidden_layer_sizes=(4,), max_iter=2000, random_state=0, solver="lbfgs")
    ),
    "forest": lambda: fitted(RandomForestRegressor(5, random_state=0)),
    "boosting": lambda: fitted(GradientBoostingRegressor(n_estimators=5, random_state=0)),
    "gp": lambda: fitted(GaussianProcessRegressor(RBF() + WhiteKernel(), optimizer=None)),
    "gp classifier": lambda: fitted(GaussianProcessClassifier(RBF(), optimizer=None), LABELS),
    "kernel ridge": lambda: fitted(KernelRidge(kernel="rbf")),
    "svm": lambda: fitted(SVC(), LABELS),
    "statsmodels": glm,
    "lightgbm": lambda: trees("lightgbm", "LGBMRegressor", min_child_samples=5, verbose=-1, n_jobs=1),
    "xgboost": lambda: trees("xgboost", "XGBRegressor", n_jobs=1),
    "catboost": catboost,
    "gpytorch": gaussian_process,
    "auto": lambda: network(),
    "kfac": lambda: network(structure="kfac"),
    "diag": lambda: network(structure="diag"),
    "dual": lambda: network(structure="dual"),
    "directions": lambda: network(structure="ekfac", directions=1),
    "loader": lambda: network(PLAIN),
    "shuffling loader": lambda: network(LOADER),
    "list of batches": lambda: network([(torch.tensor(X), torch.tensor(LABELS))]),
    "optimiser": from_optimizer,
    "dropout": sampler,
    "draws": drawn,
}


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_map_changes_nothing_and_is_read_back(family, tmp_path):
    arguments, options = FAMILIES[family]()
    given = arguments()
    mm.memory_map(*given, **options)  # what libraries do when they are loaded is their own
    with nothing_changes():
        m = mm.memory_map(*given, **options)
        assert mm.load(m.save(tmp_path / "m.parquet")).table.schema == m.table.schema
    bad = {**options, "ids": ["a"] * 40} if len(given) < 3 else {**options, "sample_weight": [-1.0] * 40}
    with nothing_changes(), pytest.raises(ValueError):
        mm.memory_map(*given, **bad)


@pytest.mark.slow
def test_threads_that_read_loaders_change_nothing_either():
    arguments, options = network(PLAIN, structure="diag")
    want, found = mm.memory_map(*arguments(), **options), []
    with nothing_changes():
        threads = [
            threading.Thread(
                target=lambda: found.append(mm.memory_map(copy.deepcopy(arguments()[0]), PLAIN, **options))
            )
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(found) == 4
    for m in found:
        np.testing.assert_allclose(m["leverage"], want["leverage"], rtol=1e-12)


class Stopped(nn.Module):
    """Raises in its last passes over the data."""

    def __init__(self, passes, error):
        super().__init__()
        self.inner, self.left, self.error = nn.Linear(3, 2).double(), passes, error

    def forward(self, x):
        self.left -= 1
        if self.left < 0:
            raise self.error
        return self.inner(x)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ZeroDivisionError(), MemoryError()])
@pytest.mark.parametrize("passes", [0, 1, 3, 6])
def test_nor_does_one_that_is_stopped(error, passes):
    net = Stopped(passes, error)
    net.train()
    with nothing_changes(), pytest.raises(type(error)):
        mm.memory_map(net, PLAIN, likelihood="categorical", posterior=mm.Laplace("kfac", prior=1.0))
    assert net.training
    assert net.inner.training
    assert not net._forward_hooks
    assert not net.inner._forward_hooks


@pytest.mark.parametrize(("value", "blocks"), [(None, 1), ("1", 1), ("0", 0)])
def test_the_allocator_is_left_alone_where_the_environment_says_so(value, blocks, monkeypatch):
    asked = []
    monkeypatch.setattr(torch, "empty", lambda size, dtype: asked.append(size))
    monkeypatch.delenv("MEMORYMAPS_KEEP_PAGES", raising=False)
    if value is not None:
        monkeypatch.setenv("MEMORYMAPS_KEEP_PAGES", value)
    retain_allocator_pages.__wrapped__()
    assert len(asked) == blocks


# --- what is done with maps ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def net_map():
    arguments, options = network(structure="kfac")
    return mm.memory_map(*arguments(), **options)


@pytest.fixture(scope="module")
def saved(net_map, tmp_path_factory):
    folder = tmp_path_factory.mktemp("maps")
    frame = pd.DataFrame(X, columns=["a", "b", "c"]).assign(y=LABELS)
    frame.to_csv(folder / "table.csv", index=False)
    net_map.save(folder / "m.parquet")
    return folder


def own_recipe(removed, wanted):
    return torch.zeros(len(wanted), 2) + torch.tensor(wanted)[:, None]


NET, OPTIMIZER, PLAIN_NET = *optimised(), nn.Linear(3, 2)


def tracked(folder):
    net, optimizer = NET, OPTIMIZER
    with Tracker(net, optimizer, PLAIN, likelihood="categorical", path=folder / os.urandom(4).hex()) as tracker:
        tracker.record()
        tracker.trajectory().losses()


def served(m):
    with Server({"m": pack_lazily(m, ExplorerOptions())}, 0):
        pass


CALLS = {
    "refine": lambda m, f: mm.refine(m, top=3),
    "refit": lambda m, f: mm.refit(m, top=3, path=f / f"{os.urandom(4).hex()}.jsonl"),
    "retrain_check": lambda m, f: mm.retrain_check(m, k=4),
    "retrain_check with a recipe": lambda m, f: mm.retrain_check(m, own_recipe, k=4),
    "compare": lambda m, f: mm.compare(m, m),
    "leave_out": lambda m, f: m.leave_out("target"),
    "summary": lambda m, f: str(m.summary()) + str(m.leave_one_out()) + m.citation() + repr(m),
    "parts": lambda m, f: (m.top(3), m.select([1, 2]), m.filter(m["error"] > 0), m.to_pandas()),
    "save and load": lambda m, f: mm.load(m.save(f / "again.parquet")),
    "report": lambda m, f: write_report(m, f / "report"),
    "page": lambda m, f: m.explore(f / "page.html"),
    "server": lambda m, f: served(m),
    "display": lambda m, f: mm.MapDisplay.from_map(m, ax=mpl.figure.Figure().add_subplot()),
    "leave-out display": lambda m, f: mm.LeaveOutDisplay.from_map(m, ax=mpl.figure.Figure().add_subplot()),
    "tracker": lambda m, f: tracked(f),
    "command map": lambda m, f: main(["map", str(f / "table.csv"), "--target", "y", "--out", str(f / "out")]),
    "command info": lambda m, f: main(["info", str(f / "m.parquet")]),
    "command plot": lambda m, f: main(["plot", str(f / "m.parquet"), "--out", str(f / "m.png")]),
    "command without a file": lambda m, f: main(["info", str(f / "nothing.parquet")]),
}


@pytest.mark.slow
@pytest.mark.parametrize("call", CALLS)
def test_what_is_done_with_maps_changes_nothing(call, net_map, saved):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        CALLS[call](net_map, saved)
        with nothing_changes():
            CALLS[call](net_map, saved)


BAD = {
    "refine": lambda m, f: mm.refine(m, top=0),
    "refit": lambda m, f: mm.refit(m, top=3, path=f / "table.csv"),
    "retrain_check": lambda m, f: mm.retrain_check(m, lambda removed, wanted: 1 / 0, k=4),
    "compare": lambda m, f: mm.compare(m, m.select([])),
    "leave_out": lambda m, f: m.leave_out("nothing"),
    "load": lambda m, f: mm.load(f / "table.csv"),
    "page": lambda m, f: m.explore(f / "page.html", payload=[1]),
    "display": lambda m, f: mm.MapDisplay.from_map(m, color="nothing"),
    "tracker": lambda m, f: Tracker(PLAIN_NET, None, X, LABELS, likelihood="categorical", path=f / "t").record(),
}


@pytest.mark.slow
@pytest.mark.parametrize("call", BAD)
def test_nor_do_calls_that_fail(call, net_map, saved):
    with nothing_changes(), pytest.raises(Exception, match=r"\w"):
        BAD[call](net_map, saved)
