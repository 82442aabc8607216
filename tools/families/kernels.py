"""Kernel models: Gaussian processes of scikit-learn and GPyTorch, support vector machines, kernel ridge."""

from __future__ import annotations

import functools
from typing import Any

import gpytorch
import numpy as np
import torch
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Matern, WhiteKernel
from sklearn.kernel_ridge import KernelRidge
from sklearn.svm import SVC, SVR

from families import data as d
from families.family import Call, Families, call
from families.lookup import find

_KERNEL = ConstantKernel(2.0) * RBF(1.3)
_SMOOTH = ConstantKernel(0.7) * Matern(1.0, nu=1.5) + WhiteKernel(0.05)
_SVM = {"C": 2.0, "tol": 1e-8}

_MODELS: dict[str, tuple[Any, Any]] = {
    "GaussianProcessRegressor alpha": (GaussianProcessRegressor(_KERNEL, alpha=0.1), d.REAL),
    "GaussianProcessRegressor white": (GaussianProcessRegressor(_KERNEL + WhiteKernel(0.2)), d.REAL),
    "GaussianProcessRegressor normalised": (GaussianProcessRegressor(_SMOOTH, normalize_y=True), d.REAL),
    "GaussianProcessRegressor noises": (
        GaussianProcessRegressor(_KERNEL, alpha=np.linspace(0.1, 1.0, d.N)), d.REAL,
    ),
    "GaussianProcessRegressor two targets": (GaussianProcessRegressor(_KERNEL, alpha=0.1), d.TWO),
    "GaussianProcessClassifier": (GaussianProcessClassifier(_KERNEL), d.LABEL),
    "GaussianProcessClassifier three": (GaussianProcessClassifier(_KERNEL), d.THREE),
    "SVC": (SVC(**_SVM), d.LABEL),
    "SVC linear balanced": (SVC(kernel="linear", class_weight="balanced", **_SVM), d.LABEL),
    "SVC three": (SVC(**_SVM), d.THREE),
    "SVR": (SVR(epsilon=0.2, **_SVM), d.REAL),
    "KernelRidge": (KernelRidge(alpha=0.5, kernel="rbf", gamma=0.4), d.REAL),
    "KernelRidge two targets": (KernelRidge(alpha=0.5, kernel="rbf", gamma=0.4), d.TWO),
}  # fmt: skip


def _fitted(model: Any, y: Any) -> Call:
    return call(model.fit(d.X, y), d.X, y)


# --- GPyTorch ---------------------------------------------------------------------------------------------------------

_Normal = gpytorch.distributions.MultivariateNormal
_TX, _TY, _TC = torch.as_tensor(d.X), torch.as_tensor(d.REAL), torch.as_tensor(d.CODE)


class _Exact(gpytorch.models.ExactGP):
    def __init__(self, y: Any, likelihood: Any):
        super().__init__(_TX, y, likelihood)
        self.mean_module = gpytorch.means.ConstantMean()
        self.covar_module = gpytorch.kernels.ScaleKernel(gpytorch.kernels.RBFKernel())

    def forward(self, x: Any) -> Any:
        return _Normal(self.mean_module(x), self.covar_module(x))


class _Multitask(gpytorch.models.ExactGP):
    def __init__(self, y: Any, likelihood: Any):
        super().__init__(_TX, y, likelihood)
        self.mean_module = gpytorch.means.MultitaskMean(gpytorch.means.ConstantMean(), num_tasks=2)
        self.covar_module = gpytorch.kernels.MultitaskKernel(gpytorch.kernels.RBFKernel(), num_tasks=2, rank=2)

    def forward(self, x: Any) -> Any:
        return gpytorch.distributions.MultitaskMultivariateNormal(self.mean_module(x), self.covar_module(x))


class _Sparse(gpytorch.models.ApproximateGP):
    """Inducing points, one latent process a task; `mixed` by a linear model of coregionalisation."""

    def __init__(self, tasks: int = 1, mixed: int | None = None):
        z, shape = _TX[:8].clone(), torch.Size([tasks] if tasks > 1 else [])
        v = gpytorch.variational
        q = v.CholeskyVariationalDistribution(8, batch_shape=shape)
        made = v.VariationalStrategy(self, z, q, learn_inducing_locations=False)
        if mixed:
            made = v.LMCVariationalStrategy(made, num_tasks=mixed, num_latents=tasks)
        elif tasks > 1:
            made = v.IndependentMultitaskVariationalStrategy(made, num_tasks=tasks)
        super().__init__(made)
        self.mean_module = gpytorch.means.ConstantMean(batch_shape=shape)
        kernel = gpytorch.kernels.RBFKernel(batch_shape=shape)
        self.covar_module = gpytorch.kernels.ScaleKernel(kernel, batch_shape=shape)

    def forward(self, x: Any) -> Any:
        return _Normal(self.mean_module(x), self.covar_module(x))


def _exact() -> Call:
    likelihood = gpytorch.likelihoods.GaussianLikelihood().double()
    likelihood.noise = 0.05
    return call(_Exact(_TY, likelihood).double())


def _fixed() -> Call:
    noise = torch.linspace(0.05, 0.3, d.N, dtype=torch.float64)
    return call(_Exact(_TY, gpytorch.likelihoods.FixedNoiseGaussianLikelihood(noise=noise)).double())


def _several() -> Call:
    likelihood = gpytorch.likelihoods.MultitaskGaussianLikelihood(num_tasks=2, rank=1).double()
    return call(_Multitask(torch.as_tensor(d.TWO), likelihood).double())


def _sparse(model: Any, likelihood: Any, y: torch.Tensor, n: int = 20) -> Call:
    """Ten steps of Adam on the evidence lower bound of the first `n` examples."""
    model, likelihood, x, y = model.double(), likelihood.double(), _TX[:n], y[:n]
    objective = gpytorch.mlls.VariationalELBO(likelihood, model, num_data=len(y))
    optimizer = torch.optim.Adam([*model.parameters(), *likelihood.parameters()], lr=0.05)
    for _ in range(10):
        optimizer.zero_grad()
        (-objective(model(x), y)).backward()
        optimizer.step()
    return call(model, x.numpy(), y.numpy(), likelihood=likelihood, posterior=find("Variational")())


_L = gpytorch.likelihoods
_GPYTORCH: Families = {
    "exact": _exact,
    "exact fixed noise": _fixed,
    "exact multitask": _several,
    "SVGP gaussian": lambda: _sparse(_Sparse(), _L.GaussianLikelihood(), _TY),
    "SVGP bernoulli": lambda: _sparse(_Sparse(), _L.BernoulliLikelihood(), torch.as_tensor(d.BIT).double()),
    "SVGP laplace": lambda: _sparse(_Sparse(), _L.LaplaceLikelihood(), _TY),
    "SVGP student": lambda: _sparse(_Sparse(), _L.StudentTLikelihood(), _TY, n=12),
    "SVGP softmax": lambda: _sparse(_Sparse(3), _L.SoftmaxLikelihood(num_classes=3, mixing_weights=False), _TC),
    "SVGP coregionalised": lambda: _sparse(
        _Sparse(2, mixed=3), _L.SoftmaxLikelihood(num_classes=3, mixing_weights=False), _TC
    ),
    "SVGP multitask": lambda: _sparse(
        _Sparse(2, mixed=2), _L.MultitaskGaussianLikelihood(num_tasks=2, rank=1), torch.as_tensor(d.TWO)
    ),
}

FAMILIES: Families = {
    **{f"kernels {name}": functools.partial(_fitted, *parts) for name, parts in _MODELS.items()},
    **{f"gpytorch {name}": make for name, make in _GPYTORCH.items()},
}
