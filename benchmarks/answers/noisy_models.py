"""Models of the benchmark of wrong labels: fitted, mapped and predicted in the same way whatever the library."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.svm import SVC, SVR
from torch import nn

import memorymaps as mm


def mlp(inputs: int, outputs: int) -> nn.Module:
    """One layer of 32 tanh units."""
    return nn.Sequential(nn.Linear(inputs, 32), nn.Tanh(), nn.Linear(32, outputs))


def cnn(inputs: int, outputs: int) -> nn.Module:
    """Two convolutions and two layers, for 8 × 8 or 14 × 14 pixels."""
    side = int(inputs**0.5)
    return nn.Sequential(
        nn.Unflatten(1, (1, side, side)), nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * (side // 2 - 2) ** 2, 32), nn.ReLU(),
        nn.Linear(32, outputs),
    )  # fmt: skip


class Network(BaseEstimator):  # type: ignore[misc]
    """A torch network trained by Adam with weight decay; `margins_` are summed over the epochs (AUM)."""

    def __init__(self, make: Callable[[int, int], nn.Module] = mlp, epochs: int = 40, decay: float = 1e-3):
        self.make, self.epochs, self.decay = make, epochs, decay

    def fit(self, X: np.ndarray, y: np.ndarray) -> Network:
        """Train from the seed 0."""
        torch.manual_seed(0)
        x, t, classes = self._tensors(X, y)
        self.net_, rows = self.make(X.shape[1], classes), torch.Generator().manual_seed(0)
        self.optimizer_ = torch.optim.Adam(self.net_.parameters(), lr=3e-3, weight_decay=self.decay)
        self.margins_ = np.zeros(len(X))
        for _ in range(self.epochs):
            for part in torch.split(torch.randperm(len(x), generator=rows), 64):
                self.optimizer_.zero_grad()
                self.loss(self.net_(x[part]), t[part]).backward()
                self.optimizer_.step()
            self.margins_ += self.margins(X, y)
        return self

    def outputs(self, X: np.ndarray) -> np.ndarray:
        """`f [n, c]`."""
        with torch.no_grad():
            return self.net_(torch.as_tensor(X, dtype=torch.float32)).numpy().astype(float)


class NetworkClassifier(ClassifierMixin, Network):  # type: ignore[misc]
    """A network with cross entropy."""

    loss = staticmethod(nn.functional.cross_entropy)

    def _tensors(self, X: np.ndarray, y: np.ndarray) -> tuple[Any, Any, int]:
        self.classes_ = np.unique(y)
        return torch.as_tensor(X, dtype=torch.float32), torch.as_tensor(y), int(y.max()) + 1

    def margins(self, X: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Output of the given class minus the largest other one."""
        return margin(self.outputs(X), y)

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Softmax of the outputs."""
        f = self.outputs(X)
        p = np.exp(f - f.max(axis=1, keepdims=True))
        return p / p.sum(axis=1, keepdims=True)

    def predict(self, X: np.ndarray) -> np.ndarray:
        """The likeliest class."""
        return self.outputs(X).argmax(axis=1)


class NetworkRegressor(RegressorMixin, Network):  # type: ignore[misc]
    """A network with squared error."""

    loss = staticmethod(nn.functional.mse_loss)

    def _tensors(self, X: np.ndarray, y: np.ndarray) -> tuple[Any, Any, int]:
        return torch.as_tensor(X, dtype=torch.float32), torch.as_tensor(y[:, None], dtype=torch.float32), 1

    def margins(self, X: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Minus the absolute residual."""
        return -np.abs(self.predict(X) - y)

    def predict(self, X: np.ndarray) -> np.ndarray:
        """The output."""
        return self.outputs(X)[:, 0]


def margin(f: np.ndarray, y: np.ndarray) -> np.ndarray:
    """`f_y − max_{k ≠ y} f_k` of `f [n, c]`."""
    f, rows = f.copy(), np.arange(len(f))
    own = f[rows, y]
    f[rows, y] = -np.inf
    return own - f.max(axis=1)


def width(X: np.ndarray) -> float:
    """Median distance of two examples, of the first 300."""
    d = np.sqrt(np.maximum(((X[:300, None] - X[None, :300]) ** 2).sum(axis=2), 0))
    return float(np.median(d[d > 0]))


def model_for(family: str, X: np.ndarray, y: np.ndarray) -> Any:
    """An unfitted model of a family."""
    numbers = y.dtype.kind == "f"
    kernel = ConstantKernel(10.0) * RBF(width(X)) if family == "GP" else None
    models: dict[str, Callable[[], Any]] = {
        "logistic": lambda: Ridge(1.0) if numbers else LogisticRegression(C=1.0, tol=1e-6, max_iter=5000),
        "MLP": lambda: NetworkRegressor() if numbers else NetworkClassifier(),
        "CNN": lambda: NetworkClassifier(cnn, 20),
        "LightGBM": lambda: (LGBMRegressor if numbers else LGBMClassifier)(
            n_estimators=50, num_leaves=15, n_jobs=1, verbose=-1
        ),
        "forest": lambda: (RandomForestRegressor if numbers else RandomForestClassifier)(100, random_state=0),
        "GP": lambda: GaussianProcessRegressor(kernel + WhiteKernel(0.3), optimizer=None, normalize_y=True)
        if numbers else GaussianProcessClassifier(kernel, optimizer=None),
        "SVC": lambda: SVR() if numbers else SVC(),
    }  # fmt: skip
    return models[family]()


def mapped(model: Any, X: np.ndarray, y: np.ndarray) -> mm.MemoryMap:
    """The map of a fitted model."""
    if not isinstance(model, Network):
        return mm.memory_map(model, X, y)
    small = model.make is mlp and X.shape[1] < 100
    recipe = mm.Laplace("auto" if small else "ekfac", prior=mm.prior_from(model.optimizer_, n=len(y)))
    numbers = y.dtype.kind == "f"
    target = torch.as_tensor(y, dtype=torch.float32) if numbers else torch.as_tensor(y)
    x, likelihood = torch.as_tensor(X, dtype=torch.float32), "gaussian" if numbers else "categorical"
    return mm.memory_map(copy.deepcopy(model.net_), x, target, likelihood=likelihood, posterior=recipe)
