"""Refits of networks in double precision: the optimum near the trained weights, and the same without one example.

The objective is `Σ w ℓ(f) + Σ δ θ²/2` with the map's own prior δ and likelihood, by PyTorch's losses on a copy of the
network in float64, on all examples at once. L-BFGS starts at the trained weights, in coordinates whitened by the
Gauss-Newton matrix, anew every round, until a round of as many steps moves no mean by more than `STILL`; each refit
starts at that optimum. What the training left undone is in neither of the two outputs that are compared: a map of
weights that are far from their optimum is compared with the optimum near them, not with the same recipe run again.

Networks of ReLUs have minima at kinks, where gradients do not vanish: convergence is told by the means. A row is known
where its last round moved its mean by at most 5 % of its change, and a round with nothing left out by as little.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.func import functional_call, jacrev, vmap

from memorymaps.core.likelihoods.categorical import Categorical
from memorymaps.core.likelihoods.exponential_family import Bernoulli, Gaussian

STILL, LEFT = 1e-5, 0.05  # largest change of a mean in a round at the optimum; share of a change that may be left
ROUNDS, STEPS, REFIT_ROUNDS, REFIT_STEPS = 12, 500, 4, 150
JITTER = 1e-2  # posterior standard deviations, over all parameters, from which a round starts
LINE_SEARCH, FLAT = 50, 1e-8  # trials of a step; gradient in posterior standard deviations, each
Change = Callable[[np.ndarray], tuple[float, np.ndarray]]  # u → the objective's change and its gradient
FLOOR = 1e-6  # of the mean precision, added where the prior is nearly flat


@dataclass
class Objective:
    """`Σ_i w_i ℓ_i + Σ_j δ_j θ_j²/2` of a network's parameters `θ [P]`, all examples at once."""

    module: nn.Module
    x: torch.Tensor
    y: torch.Tensor
    likelihood: object
    delta: torch.Tensor
    shapes: dict[str, torch.Size]

    @classmethod
    def of(cls, m) -> tuple[Objective, torch.Tensor]:
        """Of the network of a map, and its trained weights."""
        source = m.origin.posterior.capabilities.refit
        problem = source.problem
        module = copy.deepcopy(problem.network.module).double().eval()
        whole = problem.examples.take(np.arange(len(problem.examples)))
        if whole.weight is not None or len(problem.prior) < len(list(module.parameters())):
            raise TypeError("no reference for weights, or parts of a network")
        named = {name: value.detach() for name, value in module.named_parameters()}
        delta = torch.cat([problem.prior[name].double().expand(value.shape).ravel() for name, value in named.items()])
        x = torch.as_tensor(problem.network.to_device(whole.inputs)).double()
        found = cls(module, x, torch.as_tensor(np.asarray(whole.target)), problem.network.likelihood, delta,
                    {name: value.shape for name, value in named.items()})  # fmt: skip
        return found, torch.cat([value.ravel() for value in named.values()])

    def outputs(self, theta: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """`f [n, c]`."""
        sizes = [shape.numel() for shape in self.shapes.values()]
        parts = {
            name: part.view(shape) for (name, shape), part in zip(self.shapes.items(), theta.split(sizes), strict=True)
        }
        f = functional_call(self.module, parts, (x,))
        return f.reshape(len(x), -1)

    def losses(self, f: torch.Tensor) -> torch.Tensor:
        """`ℓ [n]`, up to constants."""
        if isinstance(self.likelihood, Categorical):
            return nn.functional.cross_entropy(f, self.y.long(), reduction="none")
        y = self.y.double().reshape(f.shape)
        if isinstance(self.likelihood, Bernoulli):
            return nn.functional.binary_cross_entropy_with_logits(f, y, reduction="none").sum(1)
        if isinstance(self.likelihood, Gaussian):
            return (f - y).square().sum(1) / (2 * float(self.likelihood.dispersion))
        raise TypeError(f"no loss of {type(self.likelihood).__name__}")

    def mean(self, theta: torch.Tensor) -> np.ndarray:
        """Means `[n, c]` of all examples."""
        with torch.no_grad():
            return np.asarray(self.likelihood.mean(self.outputs(theta, self.x).numpy()))

    def value(self, theta: torch.Tensor, kept: torch.Tensor) -> tuple[float, torch.Tensor]:
        """`Σ_kept ℓ + Σ δ θ²/2` and its gradient."""
        leaf = theta.clone().requires_grad_()
        total = kept @ self.losses(self.outputs(leaf, self.x)) + (self.delta * leaf.square()).sum() / 2
        return float(total), torch.autograd.grad(total, leaf)[0]

    def root(self, theta: torch.Tensor) -> torch.Tensor:
        """`L [P, P]`, lower triangular, of the Gauss-Newton matrix `JᵀΛJ + δ = LLᵀ`."""
        one = jacrev(lambda t, x: self.outputs(t, x[None])[0])
        j = vmap(one, (None, 0), chunk_size=64)(theta, self.x)
        f = self.outputs(theta, self.x)
        curved = vmap(torch.func.hessian(self._loss_of_one))(f, self.y)
        s = torch.einsum("ncp,ncd,ndq->pq", j, curved, j) if j.shape[1] < 4 else _by_output(j, curved)
        s = s + torch.diag(self.delta)
        return torch.linalg.cholesky(s + FLOOR * s.diagonal().mean() * torch.eye(len(s)))

    def _loss_of_one(self, f: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        if isinstance(self.likelihood, Categorical):
            return torch.logsumexp(f, 0)
        if isinstance(self.likelihood, Bernoulli):
            return nn.functional.softplus(f).sum()
        return f.square().sum() / (2 * float(self.likelihood.dispersion))

    def minimise(
        self, start: torch.Tensor, root: torch.Tensor, kept: torch.Tensor, steps: int
    ) -> tuple[torch.Tensor, float]:
        """The end of so many steps of BFGS, and the gradient there in posterior standard deviations each."""
        first = self.value(start, kept)[0]

        def change(u: np.ndarray) -> tuple[float, np.ndarray]:
            value, gradient = self.value(place(u), kept)
            return value - first, torch.linalg.solve_triangular(root, gradient[:, None], upper=False)[:, 0].numpy()

        def place(u: np.ndarray) -> torch.Tensor:
            return start + torch.linalg.solve_triangular(root.T, torch.tensor(u)[:, None], upper=True)[:, 0]

        u, gradient = bfgs(change, len(start), steps)
        return place(u), float(np.linalg.norm(gradient) / len(start) ** 0.5)


def bfgs(change: Change, size: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """End and gradient of BFGS from beside 0 (which may be a kink), with weak Wolfe steps: it goes on along kinks [Lewis & Overton 2013]."""
    x, inverse = JITTER / size**0.5 * np.random.default_rng(0).standard_normal(size), np.eye(size)
    value, gradient = change(x)
    for _ in range(steps):
        direction = -inverse @ gradient
        slope = gradient @ direction
        if not slope < 0 or np.linalg.norm(gradient) < FLAT * size**0.5:
            break
        found = _weak_wolfe(change, x, direction, value, slope)
        if found is None:
            break
        step, new_value, new_gradient = found
        s, y = step * direction, new_gradient - gradient
        x, value, gradient = x + s, new_value, new_gradient
        r = 1 / (s @ y)
        hy = inverse @ y
        inverse += np.outer(s, s) * (r * (1 + r * (y @ hy))) - r * (np.outer(hy, s) + np.outer(s, hy))
    return x, gradient


def _weak_wolfe(
    change: Change, x: np.ndarray, direction: np.ndarray, value: float, slope: float
) -> tuple[float, float, np.ndarray] | None:
    """A step that lowers the value enough and makes the slope less steep, by bisection; `None` at rounding."""
    low, high, step = 0.0, np.inf, 1.0
    for _ in range(LINE_SEARCH):
        new, gradient = change(x + step * direction)
        if not new <= value + 1e-4 * step * slope:
            high = step
        elif gradient @ direction < 0.9 * slope:
            low = step
        else:
            return step, new, gradient
        step = (low + high) / 2 if high < np.inf else 2 * low
    return None


def _by_output(j: torch.Tensor, curved: torch.Tensor) -> torch.Tensor:
    flat = torch.einsum("ncd,ndp->ncp", torch.linalg.cholesky(curved + 1e-12 * torch.eye(j.shape[1])).mT, j)
    flat = flat.reshape(-1, j.shape[2])
    return flat.T @ flat


def optimum(objective: Objective, theta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, float, np.ndarray]:
    """The optimum near `theta`, the root there, its gradient, and how far the last round moved each mean `[n]`."""
    kept, mean = torch.ones(len(objective.x), dtype=torch.float64), objective.mean(theta)
    for _ in range(ROUNDS):
        root = objective.root(theta)
        theta, gradient = objective.minimise(theta, root, kept, STEPS)
        before, mean = mean, objective.mean(theta)
        moved = np.abs(mean - before).sum(1)
        if moved.max() <= STILL * max(1.0, float(np.std(mean))):
            break
    return theta, root, gradient, moved


def network_change(m, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Outputs `[k, c]` of the rows at the optimum near the trained weights, and without each; NaN where not reached."""
    objective, trained = Objective.of(m)
    best, root, _, drift = optimum(objective, trained)
    with torch.no_grad():
        before = objective.outputs(best, objective.x).numpy()
    mean, after = objective.mean(best), []
    for i in rows:
        kept = torch.ones(len(objective.x), dtype=torch.float64)
        kept[i], theta, last = 0, best, mean[i]
        for _ in range(REFIT_ROUNDS):
            theta, _ = objective.minimise(theta, root, kept, REFIT_STEPS)
            now = objective.mean(theta)[i]
            moved, last = np.abs(now - last).sum(), now
            whole = np.abs(now - mean[i]).sum()
            if max(moved, drift[i]) <= LEFT * whole:
                break
        with torch.no_grad():
            f = objective.outputs(theta, objective.x[[i]])[0].numpy()
        after.append(f if max(moved, drift[i]) <= LEFT * whole + STILL else np.full(len(f), np.nan))
    return before[rows], np.asarray(after)
