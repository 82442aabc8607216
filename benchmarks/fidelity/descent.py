"""A network at the minimum of its objective, and the minimum without some examples, by preconditioned L-BFGS.

The first inverse Hessian is `S̃⁻¹` of sampled rows, made exact near the minimum by products with the true Hessian along
its Krylov directions (`corrected_inverse.py`); where one of these has negative curvature, a saddle, the network goes
along it first. Without examples it is the same inverse less their rows. It makes the descent quick and decides
nothing: arrival is judged by the gradient of the objective, in the norm of the inverse Hessian.
"""

from __future__ import annotations

import copy
import functools
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from corrected_inverse import corrected, without_rows
from scipy.linalg import cho_factor, cho_solve
from torch import nn
from torch.func import functional_call, vjp, vmap
from torch.nn.utils import parameters_to_vector, vector_to_parameters

import memorymaps as mm
from memorymaps.core.likelihoods.categorical import Categorical
from memorymaps.data.in_memory import ArrayExamples
from memorymaps.nets import Sampled
from memorymaps.nets.curvature.ggn import group_order
from memorymaps.nets.refit.lbfgs import preconditioned_lbfgs
from memorymaps.posteriors.registry import posterior

BATCH = 100
WHOLE = 8000  # parameters of which the matrix is held
NEAR, REACHED = 1, 0.01  # posterior standard deviations: gradients near the minimum, and there
DRAWS, FEWEST = 12, 3  # samples of examples in a round; steps on each, where more did not lower the objective of all
EVEN = 0.1  # of the mean error, added to each where examples are drawn by it
LEFT = 0.01  # of the gradient that the absence of examples makes: a retraining has arrived
SADDLE = -0.02  # eigenvalues of S̃⁻¹H below
Solve = Callable[[np.ndarray], np.ndarray]


class Objective:
    """`Σ_{i kept} w_i ℓ_i + δ‖θ‖²/2`, its change from `θ₀` summed from each example's; counts its passes."""

    def __init__(self, net: nn.Module, x: torch.Tensor, y: torch.Tensor, delta: float, theta: np.ndarray,
                 batch: int = BATCH, weights: torch.Tensor | None = None):  # fmt: skip
        self.net, self.x, self.y, self.delta, self.batch = net, x, y, delta, batch
        self.weights = torch.ones(len(x), dtype=torch.float64) if weights is None else weights
        self.passes, self.products, self.rows = 0, 0, torch.arange(len(x))  # rows: of all examples, where drawn
        self.tilt, self.single = np.zeros(len(theta)), (copy.deepcopy(net).float(), x.float())
        self.move_to(theta)

    def move_to(self, theta: np.ndarray) -> None:
        """Take `θ₀` as the origin."""
        self.origin = theta
        self.put(theta)
        with torch.no_grad():
            self.losses = torch.cat([self._losses(rows) for rows in torch.arange(len(self.x)).split(self.batch)])

    def settle(self) -> None:
        """Take what is left of the gradient at the origin off the objective, which is stationary there then."""
        self.tilt = self.tilt + self.gradient()

    def put(self, theta: np.ndarray) -> None:
        """Give the network these parameters."""
        for net in (self.net, self.single[0]):
            like = next(net.parameters())
            vector_to_parameters(torch.tensor(theta).to(like), net.parameters())

    def _losses(self, rows: torch.Tensor) -> torch.Tensor:
        losses = nn.functional.cross_entropy(self.net(self.x[rows]).double(), self.y[rows], reduction="none")
        return self.weights[rows] * losses

    def change(self, theta: np.ndarray, kept: torch.Tensor) -> tuple[float, np.ndarray]:
        """Value and gradient at `θ`."""
        self.put(theta)
        self.passes += 1
        moved, gradient = theta - self.origin, self.delta * theta - self.tilt
        value = float(self.delta * (self.origin @ moved + moved @ moved / 2) - self.tilt @ moved)
        for rows in kept.split(self.batch):
            losses = self._losses(rows)
            value += float((losses.detach() - self.losses[rows]).sum())
            found = torch.autograd.grad(losses.sum(), list(self.net.parameters()))
            gradient = gradient + parameters_to_vector(found).double().numpy()
        return value, gradient

    def gradient(self) -> np.ndarray:
        """At the origin, of all examples."""
        return self.change(self.origin, torch.arange(len(self.x)))[1]

    def curved(self, v: np.ndarray) -> np.ndarray:
        """`∇²(Σℓ + δ‖θ‖²/2) v` at the origin, of all examples, in single precision."""
        self.products += 1
        self.put(self.origin)
        net, x = self.single
        parameters = list(net.parameters())
        along, total = torch.tensor(v).to(x), self.delta * v
        for rows in torch.arange(len(x)).split(self.batch):
            losses = nn.functional.cross_entropy(net(x[rows]), self.y[rows], reduction="none")
            gradient = torch.autograd.grad(losses @ self.weights[rows].to(x), parameters, create_graph=True)
            found = torch.autograd.grad(parameters_to_vector(gradient) @ along, parameters)
            total = total + torch.cat([each.reshape(-1) for each in found]).double().numpy()
        return total

    def drawn(self, examples: int, gradient: np.ndarray, seed: int) -> Objective:
        """About that many of the examples, by their errors, `w = 1/q`; its gradient at the origin is that of all.

        Its minimum is a step toward the minimum of all [Shamir, Srebro & Zhang 2014], at a share of the passes.
        """
        errors = -torch.expm1(-self.losses)
        q = inclusion(errors + EVEN * errors.mean(), examples)
        drawn = chosen(q, seed)
        few = Objective(self.net, self.x[drawn], self.y[drawn], self.delta, self.origin, self.batch, 1 / q[drawn])
        few.rows = drawn
        few.take(gradient)
        return few

    def less(self, removed: list[int]) -> Objective:
        """With a weight smaller by one of these rows of all examples, as far as they were drawn."""
        rest = copy.copy(self)
        rest.weights = self.weights - torch.isin(self.rows, torch.tensor(removed)).double()
        return rest

    def take(self, gradient: np.ndarray) -> None:
        """Make this the gradient at the origin, by the linear term."""
        self.tilt = self.tilt + self.gradient() - gradient

    def means(self, theta: np.ndarray, rows: list[int]) -> np.ndarray:
        """Probabilities of some examples `[n, c]`."""
        self.put(theta)
        with torch.no_grad():
            return self.net(self.x[rows]).double().softmax(1).numpy()

    def map(self, structure: Any) -> mm.MemoryMap:
        """At the origin."""
        self.put(self.origin)
        recipe = mm.Laplace(structure, prior=self.delta)
        return mm.memory_map(*self.single, self.y, likelihood="categorical", posterior=recipe, progress=False)

    def posterior(self, rows: int, seed: int) -> Any:
        """By sampled rows at the origin, without a map."""
        self.put(self.origin)
        net, x = self.single
        model = mm.Laplace(Sampled(rows=rows, seed=seed), prior=self.delta)(net, "categorical")
        return posterior(model, ArrayExamples.of(x, self.y))


def solver(source: Any) -> Solve:
    """`g ↦ S̃⁻¹g` of a posterior by sampled rows."""
    order = group_order(source.problem, source.covariance.groups)
    back = order.argsort()
    solve = source.covariance.without([torch.arange(0)])
    return lambda g: solve(torch.tensor(g)[order][None])[0][back].numpy()


def whole(objective: Objective, rows: int, seed: int) -> Solve:
    """`g ↦ S̃⁻¹g` of about that many rows, of examples drawn by the trace of their curvature, as one matrix."""
    (net, x), y = objective.single, objective.y
    objective.put(objective.origin)
    with torch.no_grad():
        f = torch.cat([net(some) for some in x.split(2000)]).double()
    roots = Categorical().fisher_root(f, y).mT
    traces = roots.square().sum((1, 2))
    q = (rows / roots.shape[1] * traces / traces.sum()).clamp(max=1)
    drawn = chosen(q, seed)
    scaled = (roots[drawn] / q[drawn].sqrt()[:, None, None]).to(x)
    total = torch.zeros(len(objective.origin), len(objective.origin), dtype=x.dtype)
    for part in zip(x[drawn].split(200), scaled.split(200), strict=True):
        a = jacobian_rows(net, *part)
        total.addmm_(a.T, a)
    total = total.double()
    total.diagonal().add_(objective.delta)
    factor = cho_factor(total.numpy(), lower=True)
    return lambda g: cho_solve(factor, g)


def inclusion(sizes: torch.Tensor, expected: int) -> torch.Tensor:
    """Probabilities `min(1, s·size)` whose sum is `expected`."""
    if expected >= len(sizes):
        return torch.ones_like(sizes)
    largest = sizes.sort(descending=True).values
    rest = largest.flip(0).cumsum(0).flip(0)  # of each and all below
    ones = int((largest * (expected - torch.arange(len(sizes))) > rest).cumprod(0).sum())
    return (sizes * (expected - ones) / rest[ones]).clamp(max=1)


def chosen(probabilities: torch.Tensor, seed: int) -> torch.Tensor:
    """Rows, each drawn with its own probability."""
    uniform = torch.rand(len(probabilities), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nonzero(uniform < probabilities)[:, 0]


def jacobian_rows(net: nn.Module, x: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
    """`d_ijᵀJ_i [n·k, P]` for directions `[n, k, c]`."""
    values = {name: value.detach() for name, value in net.named_parameters()}

    def one(image: torch.Tensor, along: torch.Tensor) -> torch.Tensor:
        pull = vjp(lambda v: functional_call(net, v, (image[None],))[0], values)[1]
        found = vmap(lambda d: pull(d)[0])(along)
        return torch.cat([found[name].reshape(len(along), -1) for name in values], 1)

    return vmap(one)(x, directions).flatten(0, 1)


def preconditioner(objective: Objective, rows: int, seed: int) -> Solve:
    """`g ↦ S̃⁻¹g` of about that many rows."""
    if len(objective.origin) <= WHOLE:
        return whole(objective, rows, seed)
    return solver(objective.posterior(rows, seed))


class Inverse(NamedTuple):
    """An approximate inverse Hessian, and directions of negative curvature `[j, P]` where it has been corrected."""

    solve: Solve
    negative: np.ndarray | None


def with_hessian(objective: Objective, solve: Solve, gradient: np.ndarray, directions: int) -> Inverse:
    """`S̃⁻¹` corrected along so many directions by products with the Hessian."""
    better, mu, u = corrected(solve, objective.curved, gradient, directions)
    off = (np.abs(mu - 1) > 0.3).sum()
    print(f"<!-- Hessian against S̃: {mu.min():.2g} to {mu.max():.2g}, {off} of {len(mu)} directions off by 0.3, "
          f"{time.process_time():.0f} s -->", flush=True)  # fmt: skip
    return Inverse(better, u[mu < SADDLE])


def leave_saddle(objective: Objective, directions: np.ndarray) -> None:
    """Move the origin along each direction, either way, in steps of 1, 2, 4, … while the objective falls."""
    everything = torch.arange(len(objective.x))
    for along in directions:
        gains = {0.0: 0.0}
        for sign in (1.0, -1.0):
            step = sign
            while (value := objective.change(objective.origin + step * along, everything)[0]) < min(gains.values()):
                gains[step] = value
                step *= 2
        objective.move_to(objective.origin + min(gains, key=gains.__getitem__) * along)


def own_rows(objective: Objective, rows: list[int]) -> np.ndarray:
    """`LᵀJ_i [n·k, P]` of some examples at the origin."""
    objective.put(objective.origin)
    x, y = objective.x[rows], objective.y[rows]
    with torch.no_grad():
        root = Categorical().fisher_root(objective.net(x).double(), y).mT
    return jacobian_rows(objective.net, x, root.to(x)).double().numpy()


def iterates(objective: Objective, kept: torch.Tensor, solve: Solve, steps: int) -> Iterator[tuple[np.ndarray, float]]:
    """`(θ, gradient in posterior standard deviations)` from the origin on.

    By L-BFGS; where the objective's rounding error ends it, by whole steps as long as the gradient falls.
    """
    change = functools.partial(objective.change, kept=kept)
    size, theta, taken = np.inf, objective.origin, -1
    for theta, size in islice(preconditioned_lbfgs(change, solve, objective.origin), steps + 1):
        taken += 1
        yield theta, size
    while taken < steps:
        step = solve(change(theta)[1])
        theta, before, taken = theta - step, size, taken + 1
        gradient = change(theta)[1]
        size = max(float(gradient @ solve(gradient)), 0.0) ** 0.5
        if not size < 0.9 * before:
            return
        yield theta, size


def descended(objective: Objective, solve: Solve, steps: int, reached: float = REACHED) -> tuple[float, float]:
    """Move the origin by a round of L-BFGS; the gradient at first and at its end."""
    sizes, ends = [], []
    for theta, size in iterates(objective, torch.arange(len(objective.x)), solve, steps):
        sizes, ends = [*sizes, size], [*ends[-1:], theta]
        if size < reached / 3:
            break
    objective.move_to(ends[-1])
    return sizes[0], sizes[-1]


def descended_by_few(
    objective: Objective, few: Objective, gradient: np.ndarray, solve: Solve, steps: int, reached: float = REACHED
) -> tuple[float, float]:
    """Move the origin by L-BFGS on few examples, `DRAWS` times, each on others and with the gradient of all."""
    sizes = [norm(gradient, solve)]
    for seed in range(DRAWS):
        path = [theta for theta, _ in iterates(few, torch.arange(len(few.x)), solve, steps)]
        taken, value, gradient = lower(objective, path)
        sizes.append(norm(gradient, solve))
        print(f"<!-- {taken} of {len(path) - 1} steps by {len(few.x)} examples: {value:.3g}, {sizes[-1]:.2g} sd, "
              f"{time.process_time():.0f} s -->", flush=True)  # fmt: skip
        if sizes[-1] < reached:
            break
        steps = max(taken, FEWEST) if taken < len(path) - 1 else steps
        few = objective.drawn(len(few.x), gradient, objective.passes + seed)
    return sizes[0], sizes[-1]


def lower(objective: Objective, path: list[np.ndarray]) -> tuple[int, float, np.ndarray]:
    """Move the origin to the end of a path, or to its half, quarter, …, the first at which the objective is lower.

    The number of steps to it, the change of the objective, and the gradient there.
    """
    everything, taken = torch.arange(len(objective.x)), len(path) - 1
    while taken:
        value, gradient = objective.change(path[taken], everything)
        if value < 0:
            objective.move_to(path[taken])
            return taken, value, gradient
        taken //= 2
    return 0, 0.0, objective.gradient()


def norm(gradient: np.ndarray, solve: Solve) -> float:
    """Of a gradient, in posterior standard deviations."""
    return max(float(gradient @ solve(gradient)), 0.0) ** 0.5


class Round(NamedTuple):
    """Of a descent: the gradient at first and at its end, the inverse Hessian, and whether it ended at the minimum."""

    number: int
    first: float
    last: float
    solve: Solve
    arrived: bool


def rounds(
    objective: Objective, precondition: Callable[[int], Solve], directions: int, numbers: Sequence[int], steps: int,
    reached: float = REACHED, examples: int | None = None, near: float = NEAR,
) -> Iterator[Round]:  # fmt: skip
    """Rounds of L-BFGS, each with `S̃⁻¹` at its start, corrected near the minimum; the last one arrives there.

    Arrived: a corrected round without a direction of negative curvature that ends with a gradient below `reached`.
    With `examples`, steps and products are of so many of them, drawn anew in each round, and the gradient of all.
    Near: below `near` posterior standard deviations.
    """
    for number in numbers:
        inverse, gradient = Inverse(precondition(number), None), objective.gradient()
        taken = objective if examples is None else objective.drawn(examples, gradient, number)
        if norm(gradient, inverse.solve) < near and directions:
            inverse = with_hessian(taken, inverse.solve, gradient, directions)
            leave_saddle(taken, inverse.negative)
        if taken is objective:
            first, last = descended(objective, inverse.solve, steps, reached)
        else:
            first, last = descended_by_few(objective, taken, gradient, inverse.solve, steps, reached)
        convex = inverse.negative is not None and not len(inverse.negative)
        yield Round(number, first, last, inverse.solve, convex and last < reached)
        if convex and last < reached:
            return


class Without(NamedTuple):
    """The objective without some examples, and its approximate inverse Hessian at the origin."""

    objective: Objective
    kept: torch.Tensor
    solve: Solve
    removed: list[int]

    @classmethod
    def of(cls, objective: Objective, solve: Solve, removed: list[int]) -> Without:
        """With the rows of these examples taken out of the inverse."""
        kept = torch.tensor(np.delete(np.arange(len(objective.x)), removed))
        return cls(objective, kept, without_rows(solve, own_rows(objective, removed)), removed)

    def iterates(self, steps: int) -> Iterator[tuple[np.ndarray, float]]:
        """`(θ, gradient)` from the origin to `LEFT` of the first gradient."""
        first = np.inf
        for theta, size in iterates(self.objective, self.kept, self.solve, steps):
            yield theta, size
            first = size if np.isinf(first) else first
            if size <= LEFT * first:
                return

    def iterates_by_few(self, few: Objective, steps: int) -> Iterator[tuple[np.ndarray, float]]:
        """The same by L-BFGS on few examples with the gradient of all, as long as that falls, `DRAWS` times at most."""
        rest, theta = few.less(self.removed), self.objective.origin
        gradient = self.objective.change(theta, self.kept)[1]
        first = size = norm(gradient, self.solve)
        yield theta, first
        for _ in range(DRAWS):
            rest.move_to(theta)
            rest.take(gradient)
            descended(rest, self.solve, steps, LEFT * 10 * size)  # to 3 % of the gradient at most
            theta, before = rest.origin, size
            gradient = self.objective.change(theta, self.kept)[1]
            size = norm(gradient, self.solve)
            yield theta, size
            if size <= LEFT * first or size > 0.9 * before:
                return

    def newton_step(self, theta: np.ndarray) -> np.ndarray:
        """What the gradient at `θ` and the inverse Hessian of the origin leave to go."""
        return -self.solve(self.objective.change(theta, self.kept)[1])
