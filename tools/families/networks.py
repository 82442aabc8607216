"""Networks: every structure of `Laplace`, likelihood, kind of layer, way of giving data; scikit-learn's perceptrons."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.neural_network import MLPClassifier, MLPRegressor
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import memorymaps as mm
from families import data as d
from families.family import Call, Families, call

PRIOR = 0.5
X, CODE = torch.as_tensor(d.X), torch.as_tensor(d.CODE)
_REAL, _TWO = torch.as_tensor(d.REAL), torch.as_tensor(d.TWO)
_BIT, _COUNT = torch.as_tensor(d.BIT).double(), torch.as_tensor(d.COUNT)


def _cauchy(f: Tensor, y: Tensor) -> Tensor:
    return torch.log1p((f[:, 0] - y) ** 2)


def _first(f: Tensor) -> Tensor:
    return f[:, :1]


def _heteroscedastic(f: Tensor, y: Tensor) -> Tensor:
    """`½ (y − m)² e^{−s} + ½ s` with outputs `(m, s)`: near enough to train by."""
    return (0.5 * (y - f[:, 0]) ** 2 * torch.exp(-f[:, 1]) + 0.5 * f[:, 1]).sum()


# likelihood → outputs, target, loss of the training, likelihood for memory_map
LIKELIHOODS: dict[str, tuple[int, Tensor, Callable[[Tensor, Tensor], Tensor], Any]] = {
    "categorical": (3, CODE, lambda f, y: nn.functional.cross_entropy(f, y, reduction="sum"), "categorical"),
    "gaussian": (1, _REAL, lambda f, y: 0.5 * ((f[:, 0] - y) ** 2).sum(), "gaussian"),
    "gaussian two": (2, _TWO, lambda f, y: 0.5 * ((f - y) ** 2).sum(), "gaussian"),
    "bernoulli": (
        1, _BIT, lambda f, y: nn.functional.binary_cross_entropy_with_logits(f[:, 0], y, reduction="sum"), "bernoulli",
    ),
    "poisson": (1, _COUNT, lambda f, y: (torch.exp(f[:, 0]) - y * f[:, 0]).sum(), "poisson"),
    "heteroscedastic": (2, _REAL, _heteroscedastic, "heteroscedastic"),
    "custom": (1, _REAL, lambda f, y: _cauchy(f, y).sum(), mm.Custom(_cauchy, predict=_first)),
}  # fmt: skip


def mlp(c: int, inputs: int = 3) -> nn.Module:
    """Two layers in double precision, seed 0."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(inputs, 4), nn.Tanh(), nn.Linear(4, c)).double()


def fitted(net: nn.Module, x: Any, y: Tensor, loss: Callable[[Tensor, Tensor], Tensor]) -> nn.Module:
    """The network at a minimum of `loss + δ‖θ‖²/2`, by full-batch L-BFGS."""
    optimizer = torch.optim.LBFGS(
        net.parameters(), max_iter=500, tolerance_grad=1e-9, tolerance_change=1e-14, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        total = loss(net(x), y) + 0.5 * PRIOR * sum((p**2).sum() for p in net.parameters())
        total.backward()
        return total

    optimizer.step(closure)
    return net.eval()


def laplace(structure: str, likelihood: str = "categorical", **options: Any) -> Call:
    """A fitted network with a Laplace posterior of this structure."""
    c, y, loss, named = LIKELIHOODS[likelihood]
    recipe = mm.Laplace(structure, **{"prior": PRIOR, **options})
    return call(fitted(mlp(c), X, y, loss), X, y, likelihood=named, posterior=recipe)


def _made(structure: str, likelihood: str, **options: Any) -> Callable[[], Call]:
    return lambda: laplace(structure, likelihood, **options)


_STRUCTURES = ("auto", "hessian", "full", "block", "kfac", "ekfac", "diag", "lowrank", "active_set", "dual")
_OPTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "active_set few rows": ("active_set", {"rows": 10}),
    "lowrank few": ("lowrank", {"rows": 5}),
    "full last layer": ("full", {"subset": "last_layer"}),
    "kfac named": ("kfac", {"subset": ["0."]}),
    "full fisher mc": ("full", {"fisher": "mc"}),
    "full fisher empirical": ("full", {"fisher": "empirical"}),
    "full fisher leading": ("full", {"fisher": "leading"}),
    "full evidence": ("full", {"prior": "evidence"}),
    "kfac evidence": ("kfac", {"prior": "evidence"}),
    "kfac no probes": ("kfac", {"probes": 0}),
    "kfac probes": ("kfac", {"probes": 4}),
    "full directions": ("full", {"directions": 1}),
    "dual directions": ("dual", {"directions": 1}),
    "kfac directions": ("kfac", {"directions": 2}),
    "block directions": ("block", {"directions": 1}),
    "diag directions": ("diag", {"directions": 1}),
    "ekfac directions": ("ekfac", {"directions": 1}),
    "active_set directions": ("active_set", {"directions": 1, "rows": 10}),
    "lowrank directions": ("lowrank", {"directions": 1, "rows": 5}),
}


# --- kinds of layers --------------------------------------------------------------------------------------------------


class _Attention(nn.Module):
    """A residual attention block with norms and a free scale."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.attention = nn.LayerNorm(4), nn.MultiheadAttention(4, 2, batch_first=True)
        self.scale, self.head = nn.Parameter(torch.ones(4)), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        return self.head((x + self.scale * self.attention(y, y, y, need_weights=False)[0]).mean(1))


class _Recurrent(nn.Module):
    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer, self.head = layer, nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x)[0].mean(1))


class _Tied(nn.Module):
    """Tokens in and out through the same matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.inner = nn.Embedding(5, 3), nn.Linear(3, 3)
        self.head = nn.Linear(3, 5, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(torch.tanh(self.inner(self.embedding(tokens))).mean(1))


def _cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1, stride=2), nn.ReLU(), nn.BatchNorm2d(3), nn.Conv2d(3, 4, 2, groups=1),
        nn.GroupNorm(2, 4), nn.PReLU(4), nn.Flatten(), nn.Linear(16, 3),
    )  # fmt: skip


def _conv1d() -> nn.Module:
    return nn.Sequential(nn.Conv1d(2, 3, 3, stride=2, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(9, 3))


_LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...] | None]] = {
    "cnn": (_cnn, (2, 6, 6)),
    "conv1d": (_conv1d, (2, 6)),
    "attention": (_Attention, (3, 4)),
    "lstm": (lambda: _Recurrent(nn.LSTM(2, 3, batch_first=True)), (3, 2)),
    "gru": (lambda: _Recurrent(nn.GRU(2, 3, batch_first=True)), (3, 2)),
    "tied": (_Tied, None),
}


def _layers(name: str, structure: str, **options: Any) -> Callable[[], Call]:
    """Random weights: not at a minimum, so that warnings appear too."""

    def make() -> Call:
        torch.manual_seed(0)
        build, shape = _LAYERS[name]
        net = build().double().eval()
        x = torch.randint(0, 5, (16, 4)) if shape is None else torch.randn(16, *shape, dtype=torch.float64)
        y = torch.arange(16) % 3
        return call(net, x, y, likelihood="categorical", posterior=mm.Laplace(structure, prior=1.0, **options))

    return make


# --- ways of giving data ----------------------------------------------------------------------------------------------


class _Named(nn.Module):
    """Two inputs by name."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = mlp(3)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.inner(torch.cat([a, b], dim=1))


def _data(kind: str) -> Callable[[], Call]:
    def make() -> Call:
        recipe = mm.Laplace("full", prior=PRIOR)
        net: nn.Module = _Named() if kind == "mapping" else mlp(3)
        given: dict[str, tuple[Any, ...]] = {
            "loader": (DataLoader(TensorDataset(X, CODE), batch_size=7),),
            "dataset": (TensorDataset(X, CODE),),
            "batches": ([(X[:25], CODE[:25]), (X[25:], CODE[25:])],),
            "numpy": (d.X, d.CODE),
            "mapping": ({"a": X[:, :1], "b": X[:, 1:]}, CODE),
        }
        return call(net.eval(), *given[kind], likelihood="categorical", posterior=recipe)

    return make


def _single(structure: str) -> Callable[[], Call]:
    """Single precision, as networks are trained."""

    def make() -> Call:
        net = mlp(3).float().eval()
        recipe = mm.Laplace(structure, prior=PRIOR)
        return call(net, X.float(), CODE, likelihood="categorical", posterior=recipe)

    return make


def _weighted() -> Call:
    net = fitted(mlp(3), X, CODE, LIKELIHOODS["categorical"][2])
    recipe = mm.Laplace("full", prior=PRIOR)
    return call(net, X, CODE, likelihood="categorical", posterior=recipe, sample_weight=d.WEIGHT, ids=d.IDS)


def _many_outputs() -> Call:
    """Forty outputs: directions by default, and no square matrices of outputs."""
    torch.manual_seed(0)
    net = nn.Linear(3, 40).double()
    recipe = mm.Laplace("full", prior=PRIOR)
    return call(net, X, torch.arange(d.N), likelihood="categorical", posterior=recipe)


def _layer_alone() -> Call:
    torch.manual_seed(0)
    recipe = mm.Laplace("kfac", prior=PRIOR)
    return call(nn.Linear(3, 3).double(), X, CODE, likelihood="categorical", posterior=recipe)


# --- scikit-learn's perceptrons ---------------------------------------------------------------------------------------

_MLP = {"solver": "lbfgs", "alpha": 0.5, "max_iter": 2000, "tol": 1e-10, "random_state": 0}
_BITS = np.stack([d.BIT, (d.X[:, 1] > 0).astype(int)], axis=1)
_PERCEPTRONS: dict[str, tuple[Any, Any]] = {
    "MLPRegressor identity": (MLPRegressor(hidden_layer_sizes=(3,), activation="identity", **_MLP), d.REAL),
    "MLPRegressor tanh": (MLPRegressor(hidden_layer_sizes=(4,), activation="tanh", **_MLP), d.REAL),
    "MLPRegressor two targets": (MLPRegressor(hidden_layer_sizes=(3, 3), activation="tanh", **_MLP), d.TWO),
    "MLPRegressor poisson": (MLPRegressor(hidden_layer_sizes=(3,), activation="tanh", loss="poisson", **_MLP), d.COUNT),
    "MLPClassifier two classes": (MLPClassifier(hidden_layer_sizes=(4,), activation="relu", **_MLP), d.LABEL),
    "MLPClassifier three classes": (MLPClassifier(hidden_layer_sizes=(4,), activation="logistic", **_MLP), d.THREE),
    "MLPClassifier several labels": (MLPClassifier(hidden_layer_sizes=(4,), activation="tanh", **_MLP), _BITS),
}


def _perceptron(name: str) -> Callable[[], Call]:
    model, y = _PERCEPTRONS[name]
    return lambda: call(model.fit(d.X, y), d.X, y)


FAMILIES: Families = {
    **{f"laplace {structure} categorical": _made(structure, "categorical") for structure in _STRUCTURES},
    **{
        f"laplace {structure} {likelihood}": _made(structure, likelihood)
        for structure in ("auto", "full", "kfac", "dual")
        for likelihood in LIKELIHOODS
        if likelihood != "categorical"
    },
    "laplace hessian gaussian two": _made("hessian", "gaussian two"),
    **{f"laplace {name}": _made(structure, "categorical", **more) for name, (structure, more) in _OPTIONS.items()},
    **{f"layers {name} {s}": _layers(name, s) for name in _LAYERS for s in ("full", "kfac", "dual", "diag")},
    "layers cnn ekfac": _layers("cnn", "ekfac"),
    "layers attention kfac reduce": _layers("attention", "kfac", reduce=True),
    **{f"data {kind}": _data(kind) for kind in ("loader", "dataset", "batches", "numpy", "mapping")},
    **{f"laplace {s} float32": _single(s) for s in ("full", "kfac", "diag", "dual")},
    "laplace full weighted": _weighted,
    "laplace forty outputs": _many_outputs,
    "laplace layer alone": _layer_alone,
    **{f"sklearn {name}": _perceptron(name) for name in _PERCEPTRONS},
}
