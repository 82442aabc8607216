"""Refits of networks in double precision: the optimum near the trained weights, and the same without one example.

The objective is `Σ w ℓ(f) + Σ δ θ²/2` with the map's own prior δ and likelihood, by PyTorch's losses on a copy of the
network in float64, on all examples at once. It is minimised from the trained weights in coordinates whitened by the
Gauss-Newton matrix, whitened anew every round, until four rounds lower it by less than `SETTLED`; each refit starts
there. What the training left undone is in neither of the two outputs: a map of weights that are far from their optimum
is compared with the optimum near them, not with the same recipe run again.

Networks of ReLUs have minima at kinks, where no gradient vanishes: BFGS with weak Wolfe steps goes on along kinks
[Lewis & Overton 2013], from beside the start, and convergence is told by the means. A row is known where another round,
from another place beside the last, moved its mean by at most 5 % of its change, and the mean with nothing left out by
as little. All refits are made at once.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, hessian, jacrev, vmap

from memorymaps.core.likelihoods.categorical import Categorical
from memorymaps.core.likelihoods.exponential_family import Bernoulli, Gaussian

LEFT = 0.05  # share of a mean's change that may be left, or that a round with nothing left out makes
SETTLED = 1e-3  # of the loss: two hundredths of a standard deviation in each of a few directions
ROUNDS, STEPS, REFIT_ROUNDS, REFIT_STEPS = 30, 300, 3, 150
JITTER = 1e-2  # posterior standard deviations, over all parameters, from which a round starts
LINE_SEARCH, FLAT = 30, 1e-8  # trials of a step; gradient in posterior standard deviations, each
FLOOR = 1e-6  # of the mean precision, added where the prior is nearly flat
Change = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # u [B, P], problems [B] → changes [B], gradients [B, P]


@dataclass
class Objective:
    """`Σ_i w_i ℓ_i + Σ_j δ_j θ_j²/2` of a network's parameters `θ [P]`, all examples at once."""

    module: nn.Module
    x: Tensor
    y: Tensor
    likelihood: object
    delta: Tensor
    shapes: dict[str, torch.Size]

    @classmethod
    def of(cls, m) -> tuple[Objective, Tensor]:
        """Of the network of a map, and its trained weights."""
        problem = m.origin.posterior.capabilities.refit.problem
        module = copy.deepcopy(problem.network.module).double().eval()
        whole = problem.examples.take(np.arange(len(problem.examples)))
        named = {name: value.detach() for name, value in module.named_parameters()}
        if whole.weight is not None or set(problem.prior) != set(named):
            raise TypeError("no reference for weights, or parts of a network")
        delta = torch.cat([problem.prior[name].double().expand(value.shape).ravel() for name, value in named.items()])
        x, y = torch.as_tensor(problem.network.to_device(whole.inputs)).double(), torch.tensor(np.asarray(whole.target))
        shapes = {name: value.shape for name, value in named.items()}
        return cls(module, x, y, problem.network.likelihood, delta, shapes), torch.cat(
            [value.ravel() for value in named.values()]
        )

    def outputs(self, theta: Tensor, x: Tensor) -> Tensor:
        """`f [n, c]`."""
        sizes = [shape.numel() for shape in self.shapes.values()]
        parts = zip(self.shapes.items(), theta.split(sizes), strict=True)
        return functional_call(self.module, {name: part.view(shape) for (name, shape), part in parts}, (x,)).flatten(1)

    def losses(self, f: Tensor) -> Tensor:
        """`ℓ [n]`, up to constants."""
        if isinstance(self.likelihood, Categorical):
            return nn.functional.cross_entropy(f, self.y.long(), reduction="none")
        y = self.y.double().reshape(f.shape)
        if isinstance(self.likelihood, Bernoulli):
            return nn.functional.binary_cross_entropy_with_logits(f, y, reduction="none").sum(1)
        if isinstance(self.likelihood, Gaussian):
            return (f - y).square().sum(1) / (2 * float(self.likelihood.dispersion))
        raise TypeError(f"no loss of {type(self.likelihood).__name__}")

    def means(self, theta: Tensor) -> np.ndarray:
        """Means `[B, n, c]` of all examples at `θ [B, P]`."""
        with torch.no_grad():
            f = vmap(lambda t: self.outputs(t, self.x))(theta)
        return np.stack([np.asarray(self.likelihood.mean(each.numpy())) for each in f])

    def value(self, theta: Tensor, weight: Tensor) -> Tensor:
        """`Σ_i w_i ℓ_i + Σ δ θ²/2`."""
        return weight @ self.losses(self.outputs(theta, self.x)) + (self.delta * theta.square()).sum() / 2

    def values_and_gradients(self, theta: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Values `[B]` and gradients `[B, P]` at `θ [B, P]` with weights `[B, n]`."""
        with torch.enable_grad():
            leaf = theta.detach().requires_grad_()
            each = vmap(self.value)(leaf, weight) if len(theta) > 1 else self.value(leaf[0], weight[0])[None]
            return each.detach(), torch.autograd.grad(each.sum(), leaf)[0]

    def whitening(self, theta: Tensor) -> Tensor:
        """`W [P, P]` with `W Wᵀ = (JᵀΛJ + δ)⁻¹`, at `θ [P]`."""
        j = vmap(jacrev(lambda t, x: self.outputs(t, x[None])[0]), (None, 0), chunk_size=64)(theta, self.x)
        f = self.outputs(theta, self.x)
        curved = vmap(hessian(self._loss_of_one))(f) + 1e-12 * torch.eye(f.shape[1])
        rows = torch.einsum("ncd,ncp->ndp", torch.linalg.cholesky(curved), j).flatten(0, 1)
        s = rows.T @ rows + torch.diag(self.delta)
        root = torch.linalg.cholesky(s + FLOOR * s.diagonal().mean() * torch.eye(len(s)))
        return torch.linalg.solve_triangular(root.T, torch.eye(len(s)), upper=True)

    def _loss_of_one(self, f: Tensor) -> Tensor:
        """The part of an example's loss that is curved in its outputs `f [c]`."""
        if isinstance(self.likelihood, Categorical):
            return torch.logsumexp(f, 0)
        if isinstance(self.likelihood, Bernoulli):
            return nn.functional.softplus(f).sum()
        return f.square().sum() / (2 * float(self.likelihood.dispersion))

    def minimise(self, start: Tensor, w: Tensor, weight: Tensor, steps: int, seed: int) -> tuple[Tensor, Tensor]:
        """Ends `θ [B, P]` from starts with example weights `[B, n]`, and gradients there, in deviations each."""
        first = self.values_and_gradients(start, weight)[0]

        def change(u: Tensor, problems: Tensor) -> tuple[Tensor, Tensor]:
            value, gradient = self.values_and_gradients(start[problems] + u @ w.T, weight[problems])
            return (value - first[problems]).nan_to_num(nan=torch.inf), gradient @ w

        with torch.no_grad():
            u, gradient = bfgs(change, start.shape, steps, seed)
        return start + u @ w.T, gradient.norm(dim=1) / start.shape[1] ** 0.5


def bfgs(change: Change, shape: torch.Size, steps: int, seed: int) -> tuple[Tensor, Tensor]:
    """Ends and gradients `[B, P]` of BFGS from beside 0, each problem by itself."""
    count, size = shape
    x = JITTER / size**0.5 * torch.randn(1, size, generator=torch.Generator().manual_seed(seed)).repeat(count, 1)
    inverse, going = torch.eye(size).repeat(count, 1, 1), torch.arange(count)
    value, gradient = change(x, going)
    for _ in range(steps):
        direction = -(inverse[going] @ gradient[going, :, None])[..., 0]
        slope = (gradient[going] * direction).sum(1)
        on = (slope < 0) & (gradient[going].norm(dim=1) >= FLAT * size**0.5)
        going, direction, slope = going[on], direction[on], slope[on]
        found, step, new, there = _weak_wolfe(change, x[going], direction, value[going], slope, going)
        going, s = going[found], (step[:, None] * direction)[found]
        if not len(going):
            break
        y = there[found] - gradient[going]
        x[going], value[going], gradient[going] = x[going] + s, new[found], there[found]
        inverse[going] = _updated(inverse[going], s, y)
    return x, gradient


def _updated(inverse: Tensor, s: Tensor, y: Tensor) -> Tensor:
    """The inverse Hessians `[B, P, P]` after steps `s` that change the gradients by `y`."""
    r = 1 / (s * y).sum(1)
    hy = (inverse @ y[..., None])[..., 0]
    a = r * (1 + r * (y * hy).sum(1))
    left = a[:, None] * s - r[:, None] * hy
    return inverse + left[:, :, None] * s[:, None, :] - (r[:, None] * s)[:, :, None] * hy[:, None, :]


def _weak_wolfe(
    change: Change, x: Tensor, direction: Tensor, value: Tensor, slope: Tensor, problems: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Whether a step lowers the value enough and makes the slope less steep, by bisection; steps, values, gradients."""
    low, high, step = torch.zeros_like(value), torch.full_like(value, torch.inf), torch.ones_like(value)
    new, gradient, open_ = value.clone(), torch.zeros_like(x), torch.arange(len(x))
    for _ in range(LINE_SEARCH):
        if not len(open_):
            break
        at = step[open_]
        v, g = change(x[open_] + at[:, None] * direction[open_], problems[open_])
        new[open_], gradient[open_] = v, g
        far = ~(v <= value[open_] + 1e-4 * at * slope[open_])
        short = ~far & ((g * direction[open_]).sum(1) < 0.9 * slope[open_])
        high[open_[far]], low[open_[short]] = at[far], at[short]
        open_ = open_[far | short]
        half = (low[open_] + high[open_]) / 2
        step[open_] = torch.where(high[open_] < torch.inf, half, 2 * low[open_])
    found = torch.ones(len(x), dtype=torch.bool)
    found[open_] = False
    return found, step, new, gradient


def optimum(objective: Objective, theta: Tensor) -> tuple[Tensor, Tensor]:
    """The optimum near `θ [P]` and the whitening there: rounds until the last four have lowered the loss by little."""
    whole = torch.ones(1, len(objective.x))
    values = [float(objective.value(theta, whole[0]))]
    for k in range(ROUNDS):
        w = objective.whitening(theta)
        ends, _ = objective.minimise(theta[None], w, whole, STEPS, seed=k)
        values.append(float(objective.value(ends[0], whole[0])))
        theta = ends[0] if values[-1] <= min(values) else theta
        if k >= 4 and min(values[:-4]) - min(values) < SETTLED:
            break
    return theta, w


def network_change(m, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Outputs `[k, c]` of the rows at the optimum near the trained weights, and without each; NaN where not reached."""
    torch.set_default_dtype(torch.float64)
    try:
        return _change(*Objective.of(m), rows)
    finally:
        torch.set_default_dtype(torch.float32)


def _change(objective: Objective, trained: Tensor, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    best, w = optimum(objective, trained)
    k, each = len(rows), np.arange(len(rows))
    weight = torch.ones(k + 1, len(objective.x))  # the last: nothing is left out
    weight[each, rows] = 0
    theta, mean = best.repeat(k + 1, 1), objective.means(best[None])[0][rows]
    last = mean
    for seed in range(REFIT_ROUNDS):
        theta, _ = objective.minimise(theta, w, weight, REFIT_STEPS, seed)
        now = objective.means(theta)
        drift = np.abs(now[-1][rows] - mean).sum(1)
        moved, whole = np.abs(now[each, rows] - last).sum(1), np.abs(now[each, rows] - mean).sum(1)
        last, known = now[each, rows], np.maximum(moved, drift) <= LEFT * whole
        if seed and known.all():
            break
    with torch.no_grad():
        f = vmap(lambda t: objective.outputs(t, objective.x))(torch.cat([best[None], theta])).numpy()
    return f[0][rows], np.where(known[:, None], f[1:][each, rows], np.nan)
