"""A diagonal variational Newton optimizer for networks, by the papers' equations: `q(θ) = N(m, diag σ²)`.

    σ² = 1/(λ (h + δ)),  θ ~ q                       λ = `ess`, δ = `weight_decay`
    ĝ = ∇ℓ̄(θ),  ĥ = ĝ · (θ − m)/σ²                  both averaged over the samples of a step
    g ← β₁ g + (1 − β₁) ĝ
    h ← β₂ h + (1 − β₂) ĥ + ½ (1 − β₂)² (h − ĥ)²/(h + δ)
    m ← m − α (g/(1 − β₁ᵗ) + δ m)/(h + δ)

`ℓ̄` is the mean loss per example. The last term of the update of `h` ensures `h + δ > 0` for any `ĥ`: the Riemannian
correction of the improved Bayesian learning rule. Sources: [BLR]; Lin, Schmidt & Khan 2020;
Shen et al. 2024.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector


class VariationalNewton(torch.optim.Optimizer):  # type: ignore[misc]  # torch is not type-checked here
    """Learns `q(θ) = N(m, 1/(λ(h + δ)))` at about Adam's cost; `FromOptimizer` takes the posterior from its state.

    The parameters are `m`. Each loss is evaluated at a sample of `q`:

        for x, y in loader:
            for _ in range(samples):
                with optimizer.sampled_params(train=True):
                    optimizer.zero_grad()
                    loss(net(x), y).backward()
            optimizer.step()

    Parameters
    ----------
    lr : α, on the scale of Newton steps divided by `hess_init + weight_decay`, as for Adam: the first step from
        `h = hess_init` is `lr · g`.
    ess : λ, the effective number of examples: `N`, for the posterior of the data without tempering.
    hess_init : initial `h`.
    betas : β₁, β₂. `1 − β₂` is the rate at which curvature is learned.
    weight_decay : δ, for the *mean* loss: the prior's precision is `λ δ`.
    clip_radius : bound on each coordinate of `(g + δm)/(h + δ)`.

    Raises
    ------
    ValueError
        A parameter out of its range.
    RuntimeError
        `step()` without a sample since the last one, or a sample within a sample.

    Examples
    --------
    >>> _ = torch.manual_seed(0)
    >>> w = torch.nn.Parameter(torch.zeros(1))
    >>> optimizer = VariationalNewton([w], lr=0.1, ess=100.0, weight_decay=1.0, betas=(0.9, 0.99))
    >>> for _ in range(2000):
    ...     with optimizer.sampled_params(train=True):
    ...         optimizer.zero_grad()
    ...         (1.5 * (w - 2) ** 2).sum().backward()
    ...     optimizer.step()
    >>> round(w.item(), 1)  # of the posterior: 3 · 2/(3 + 1)
    1.5
    """

    _sampling = False

    def __init__(
        self, params: Any, lr: float, ess: float, *, hess_init: float = 1.0,
        betas: tuple[float, float] = (0.9, 0.99999), weight_decay: float = 1e-4, clip_radius: float = math.inf,
    ):  # fmt: skip
        _check(lr, ess, hess_init, betas, weight_decay, clip_radius)
        defaults = {
            "lr": lr, "ess": ess, "hess_init": hess_init, "betas": betas, "weight_decay": weight_decay,
            "clip_radius": clip_radius,
        }  # fmt: skip
        super().__init__(params, defaults)
        for group in self.param_groups:
            _initialise_group(group)
        self._reset()

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As for any torch optimizer; the group's curvature starts at `hess_init`."""
        super().add_param_group(param_group)
        _initialise_group(self.param_groups[-1])

    @property
    def current_step(self) -> int:
        """Number of steps taken."""
        return int(self.param_groups[0]["step"])

    @contextmanager
    def sampled_params(self, train: bool = False) -> Iterator[None]:
        """Context: parameters are a sample of `q`; with `train=True` gradients are accumulated at exit."""
        if self._sampling:
            raise RuntimeError("a sample within a sample: leave the first `with optimizer.sampled_params()` before")
        means = [parameters_to_vector(group["params"]).detach().clone() for group in self.param_groups]
        noise = [torch.randn_like(m) * _standard_deviation(g) for m, g in zip(means, self.param_groups, strict=True)]
        self._sampling = True
        self._set_parameters([m + e for m, e in zip(means, noise, strict=True)])
        try:
            yield
            if train:
                self._accumulate_gradients(noise)
        finally:
            self._set_parameters(means)
            self._sampling = False

    def _set_parameters(self, values: list[Tensor]) -> None:
        with torch.no_grad():
            for value, group in zip(values, self.param_groups, strict=True):
                _copy_into(group, value)

    def _accumulate_gradients(self, noise: list[Tensor]) -> None:
        for k, (e, group) in enumerate(zip(noise, self.param_groups, strict=True)):
            g = _gradient(group)
            self._gradients[k] = self._gradients[k] + g
            self._products[k] = self._products[k] + g * e
        self._samples += 1

    def _reset(self) -> None:
        self._samples = 0
        self._gradients: list[Any] = [0.0] * len(self.param_groups)
        self._products: list[Any] = [0.0] * len(self.param_groups)

    def step(self) -> None:
        """One step of the learning rule, from the samples since the last step."""
        if self._samples == 0:
            raise RuntimeError("no sample since the last step: put the loss in `with optimizer.sampled_params(True):`")
        with torch.no_grad():
            for k, group in enumerate(self.param_groups):
                _update(group, self._gradients[k] / self._samples, self._products[k] / self._samples)
        self._reset()


def _check(
    lr: float, ess: float, hess_init: float, betas: tuple[float, float], decay: float, clip_radius: float
) -> None:
    positive = {"lr": lr, "ess": ess, "hess_init + weight_decay": hess_init + decay, "clip_radius": clip_radius}
    for name, value in positive.items():
        if not value > 0:
            raise ValueError(f"{name} = {value}: expected a positive number")
    if decay < 0 or not all(0 <= beta < 1 for beta in betas):
        raise ValueError(f"weight_decay = {decay}, betas = {betas}: expected decay ≥ 0 and betas in [0, 1)")


def _initialise_group(group: dict[str, Any]) -> None:
    flat = parameters_to_vector(group["params"]).detach()
    group.setdefault("hess", torch.full_like(flat, group["hess_init"]))
    group.setdefault("momentum", torch.zeros_like(flat))
    group.setdefault("step", 0)


def _copy_into(group: dict[str, Any], value: Tensor) -> None:
    """Copy values into the parameter tensors in place."""
    pieces = torch.split(value, [p.numel() for p in group["params"]])
    for p, piece in zip(group["params"], pieces, strict=True):
        p.copy_(piece.view_as(p))


def _standard_deviation(group: dict[str, Any]) -> Tensor:
    """`σ = 1/√(λ(h + δ))`."""
    variance: Tensor = group["ess"] * (group["hess"] + group["weight_decay"])
    return variance.rsqrt()


def _gradient(group: dict[str, Any]) -> Tensor:
    """Gradients of a group as one vector; zero for parameters without gradient."""
    return torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in group["params"]])


def _update(group: dict[str, Any], gradient: Tensor, product: Tensor) -> None:
    beta1, beta2 = group["betas"]
    h, decay = group["hess"], group["weight_decay"]
    curvature = product * group["ess"] * (h + decay)  # ĝ (θ − m)/σ²
    group["step"] += 1
    group["momentum"] = beta1 * group["momentum"] + (1 - beta1) * gradient
    gap = (h - curvature) / (h + decay)
    h = beta2 * h + (1 - beta2) * curvature + 0.5 * (1 - beta2) ** 2 * gap**2 * (h + decay)
    group["hess"] = h
    m = parameters_to_vector(group["params"])
    gradient_of_loss = group["momentum"] / (1 - beta1 ** group["step"]) + decay * m
    rate = group["lr"] * (group["hess_init"] + decay)
    step_direction = (gradient_of_loss / (h + decay)).clamp(-group["clip_radius"], group["clip_radius"])
    _copy_into(group, m - rate * step_direction)
