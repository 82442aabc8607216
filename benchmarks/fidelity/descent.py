"""A network at the minimum of its objective, and the minimum without some examples, by preconditioned L-BFGS.

The first inverse Hessian is `S̃⁻¹` of sampled rows, made exact near the minimum by products with the true Hessian along
its Krylov directions (`corrected_inverse.py`); where one of these has negative curvature, a saddle, the network goes
along it first. Without examples it is the same inverse less their rows. It makes the descent quick and decides
nothing: arrival is judged by the gradient of the objective, in the norm of the inverse Hessian.
"""

from __future__ import annotations

import copy
import functools
import itertools
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
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
from memorymaps.nets.refit import lbfgs
from memorymaps.posteriors.registry import posterior

BATCH = 100
THREADS = 2
PAIRS = 200  # of L-BFGS: a pass over 60,000 examples takes longer than hundreds of pairs
WHOLE = 8000  # parameters of which the matrix is held
NEAR, REACHED = 1, 0.01  # posterior standard deviations: gradients near the minimum, and there
EVEN = 0.1  # of the mean error, added to each where examples are drawn by it
LEFT = 0.01  # of the gradient that the absence of examples makes: a retraining has arrived
STEP = 1e-4  # posterior standard deviations, between the gradients of a product with the Hessian
RECYCLED = 400  # pairs of steps and gradients that retrainings share
CURVED = 1e-8  # cosine between them below which a pair says nothing
SADDLE = -0.02  # eigenvalues of S̃⁻¹H below
Solve = Callable[[np.ndarray], np.ndarray]


@functools.cache
def pool() -> ThreadPoolExecutor:
    """The threads that passes over the examples share, from the first pass on."""
    return ThreadPoolExecutor(THREADS)


class Objective:
    """`Σ_{i kept} w_i ℓ_i + δ‖θ‖²/2`, its change from `θ₀` summed from each example's; counts its passes."""

    def __init__(self, net: nn.Module, x: torch.Tensor, y: torch.Tensor, delta: float, theta: np.ndarray,
                 batch: int = BATCH, weights: torch.Tensor | None = None):  # fmt: skip
        self.net, self.x, self.y, self.delta, self.batch = net, x, y, delta, batch
        self.weights = torch.ones(len(x), dtype=torch.float64) if weights is None else weights
        self.passes, self.products = 0, 0
        self.tilt, self.single = np.zeros(len(theta)), (copy.deepcopy(net).float(), x.float())
        self.double = copy.deepcopy(net).double(), x.double()
        self.path: list[tuple[np.ndarray, np.ndarray]] = []  # (θ, gradient), in the order they were computed
        self.move_to(theta)

    def move_to(self, theta: np.ndarray) -> None:
        """Take `θ₀` as the origin."""
        self.origin, self.gradient_at_origin = theta, None
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
        for fallen, found in pool().map(self._change_of, kept.split(self.batch)):
            value += fallen
            gradient = gradient + found
        self.path.append((theta, gradient))
        return value, gradient

    def _change_of(self, rows: torch.Tensor) -> tuple[float, np.ndarray]:
        losses = self._losses(rows)
        found = torch.autograd.grad(losses.sum(), list(self.net.parameters()))
        return float((losses.detach() - self.losses[rows]).sum()), parameters_to_vector(found).double().numpy()

    def gradient(self) -> np.ndarray:
        """At the origin, of all examples."""
        return self.change(self.origin, torch.arange(len(self.x)))[1]

    def curved(self, v: np.ndarray) -> np.ndarray:
        """`∇²(Σℓ + δ‖θ‖²/2) v` at the origin, of all examples, as a difference of gradients in double precision."""
        self.products += 1
        if self.gradient_at_origin is None:
            self.gradient_at_origin = self._sum_of_gradients(self.origin)
        return self.delta * v + (self._sum_of_gradients(self.origin + STEP * v) - self.gradient_at_origin) / STEP

    def _sum_of_gradients(self, theta: np.ndarray) -> np.ndarray:
        """`Σ w_i ∇ℓ_i [P]`, in double precision."""
        net, x = self.double
        parameters = list(net.parameters())
        vector_to_parameters(torch.tensor(theta), parameters)

        def part(rows: torch.Tensor) -> np.ndarray:
            losses = nn.functional.cross_entropy(net(x[rows]), self.y[rows], reduction="none")
            return parameters_to_vector(torch.autograd.grad(losses @ self.weights[rows], parameters)).numpy()

        return sum(pool().map(part, torch.arange(len(x)).split(100)))

    def drawn(self, examples: int, seed: int) -> Objective:
        """About that many of the examples, by their errors, `w = 1/q`: for products with the Hessian."""
        errors = -torch.expm1(-self.losses)
        q = inclusion(errors + EVEN * errors.mean(), examples)
        rows = chosen(q, seed)
        return Objective(self.net, self.x[rows], self.y[rows], self.delta, self.origin, self.batch, 1 / q[rows])

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
    descent = lbfgs.preconditioned_lbfgs(change, solve, objective.origin, max_pairs=PAIRS)
    for theta, size in islice(descent, steps + 1):
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
        print(f"<!-- {size:.3g} sd, {objective.passes} passes, {time.process_time():.0f} s -->", flush=True)
        if size < reached / 3:
            break
    objective.move_to(ends[-1])
    return sizes[0], sizes[-1]


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
    With `examples`, products with the Hessian are of so many of them, drawn anew in each round.
    Near: below `near` posterior standard deviations.
    """
    for number in numbers:
        inverse, gradient = Inverse(precondition(number), None), objective.gradient()
        if norm(gradient, inverse.solve) < near and directions:
            taken = objective if examples is None else objective.drawn(examples, number)
            inverse = with_hessian(taken, inverse.solve, gradient, directions)
            leave_saddle(objective, inverse.negative)
        objective.path.clear()
        first, last = descended(objective, inverse.solve, steps, reached)
        convex = inverse.negative is not None and not len(inverse.negative)
        yield Round(number, first, last, inverse.solve, convex and last < reached)
        if convex and last < reached:
            return


class Recycled:
    """`S̃⁻¹` made better by pairs of steps and changes of the gradient, of the descent and of all retrainings so far.

    Near the minimum they are products with one Hessian, whichever example is left out: BFGS, one pair after the other.
    """

    def __init__(self, solve: Solve):
        self.initial, self.pairs = solve, deque[lbfgs.CurvaturePair](maxlen=RECYCLED)

    def __call__(self, gradient: np.ndarray) -> np.ndarray:
        """`B⁻¹g`."""
        return lbfgs._two_loop_recursion(gradient, self.pairs, self.initial)

    def learn(self, path: Iterable[tuple[np.ndarray, np.ndarray]]) -> None:
        """Take the steps between `(θ, ∇L)` along a path."""
        for (theta, gradient), (after, later) in itertools.pairwise(path):
            s, y = after - theta, later - gradient
            if s @ y > CURVED * np.linalg.norm(s) * np.linalg.norm(y):
                self.pairs.append(lbfgs.CurvaturePair(s, y, 1.0))


class Without(NamedTuple):
    """The objective without some examples, and its approximate inverse Hessian at the origin."""

    objective: Objective
    kept: torch.Tensor
    solve: Solve

    @classmethod
    def of(cls, objective: Objective, solve: Solve, removed: list[int]) -> Without:
        """With the rows of these examples taken out of the inverse."""
        kept = torch.tensor(np.delete(np.arange(len(objective.x)), removed))
        return cls(objective, kept, without_rows(solve, own_rows(objective, removed)))

    def iterates(self, steps: int) -> Iterator[tuple[np.ndarray, float]]:
        """`(θ, gradient)` from the origin to `LEFT` of the first gradient."""
        first = np.inf
        for theta, size in iterates(self.objective, self.kept, self.solve, steps):
            yield theta, size
            first = size if np.isinf(first) else first
            if size <= LEFT * first:
                return

    def newton_step(self, theta: np.ndarray) -> np.ndarray:
        """What the gradient at `θ` and the inverse Hessian of the origin leave to go."""
        return -self.solve(self.objective.change(theta, self.kept)[1])
