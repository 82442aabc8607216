"""Sizes by sampled rows against retraining: LeNet5 on the first N of shuffled (Fashion-)MNIST, `Σℓ + δ‖θ‖²/2`.

LeNet5 is LeCun's, with tanh and average pooling, whose minima are smooth; `--net relu`: ReLUs and maximum pooling;
`--net tiny`: a small one for many examples, of whose sampled rows the whole matrix is held.
Training (Adam) ends in L-BFGS on all the data, whose first inverse Hessian is `S̃⁻¹` of sampled rows, drawn anew at the
start of each round, and, once the gradient is below `NEAR` posterior standard deviations, is corrected by products with
the true Hessian along `--directions` (`corrected_inverse.py`); it is at the minimum below `REACHED`.
A retraining starts there, without one example, with the same inverse Hessian less the example's rows, and has arrived
where the gradient of its objective is at most `LEFT` of what it was at first, in the norm of that inverse Hessian; it
stops there or after `--steps`. What was left of the gradient at the minimum is taken off as a linear term. The inverse
Hessian makes it quick and decides nothing: the gradient is that of all the data, in double precision with `--double`.
Products and maps are in single precision. Examples are drawn by share of sensitivity and at random in turn, so that any
beginning of the journal is a sample of the same design: a stopped run goes on.

    python benchmarks/fidelity/sampled_sizes.py --double --data fmnist --n 3000 --k 100 --path kept/fmnist
"""

from __future__ import annotations

import argparse
import copy
import functools
import json
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from corrected_inverse import corrected, without_rows
from real_size import data, lenet, train
from scipy.linalg import cho_factor, cho_solve
from scipy.stats import spearmanr
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


def smooth_lenet() -> nn.Module:
    """LeNet5 with tanh and average pooling."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10),
    )  # fmt: skip


def tiny() -> nn.Module:
    """3,146 parameters, tanh and strides: a fifteenth of LeNet5's time."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 5, stride=2), nn.Tanh(), nn.Conv2d(4, 8, 5, stride=2), nn.Tanh(), nn.Flatten(),
        nn.Linear(128, 16), nn.Tanh(), nn.Linear(16, 10),
    )  # fmt: skip


NETS = {"lenet": smooth_lenet, "relu": lenet, "tiny": tiny}
BATCH = 100
ROUNDS, STEPS = 30, 60  # at the end of training, at most
WHOLE = 8000  # parameters of which the matrix is held
NEAR, REACHED = 1, 0.01  # posterior standard deviations: gradients near the minimum, and there
LEFT = 0.01  # of the gradient that the example's absence makes: a retraining has arrived
Solve = Callable[[np.ndarray], np.ndarray]


class Objective:
    """`Σ_{i kept} ℓ_i + δ‖θ‖²/2`, its change from `θ₀` summed from each example's; counts its passes."""

    def __init__(self, net: nn.Module, x: torch.Tensor, y: torch.Tensor, delta: float, theta: np.ndarray):
        self.net, self.x, self.y, self.delta, self.passes, self.products = net, x, y, delta, 0, 0
        self.tilt, self.single = np.zeros(len(theta)), (copy.deepcopy(net).float(), x.float())
        self.move_to(theta)

    def move_to(self, theta: np.ndarray) -> None:
        """Take `θ₀` as the origin."""
        self.origin = theta
        self.put(theta)
        with torch.no_grad():
            self.losses = torch.cat([self._losses(rows) for rows in torch.arange(len(self.x)).split(BATCH)])

    def settle(self) -> None:
        """Take what is left of the gradient at the origin off the objective, whose minimum it then is."""
        self.tilt = self.change(self.origin, torch.arange(len(self.x)))[1]

    def put(self, theta: np.ndarray) -> None:
        """Give the network these parameters."""
        for net in (self.net, self.single[0]):
            like = next(net.parameters())
            vector_to_parameters(torch.tensor(theta).to(like), net.parameters())

    def _losses(self, rows: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(self.net(self.x[rows]).double(), self.y[rows], reduction="none")

    def change(self, theta: np.ndarray, kept: torch.Tensor) -> tuple[float, np.ndarray]:
        """Value and gradient at `θ`."""
        self.put(theta)
        self.passes += 1
        moved, gradient = theta - self.origin, self.delta * theta - self.tilt
        value = float(self.delta * (self.origin @ moved + moved @ moved / 2) - self.tilt @ moved)
        for rows in kept.split(BATCH):
            losses = self._losses(rows)
            value += float((losses.detach() - self.losses[rows]).sum())
            found = torch.autograd.grad(losses.sum(), list(self.net.parameters()))
            gradient = gradient + parameters_to_vector(found).double().numpy()
        return value, gradient

    def curved(self, v: np.ndarray) -> np.ndarray:
        """`∇²(Σℓ + δ‖θ‖²/2) v` at the origin, of all examples, in single precision."""
        self.products += 1
        self.put(self.origin)
        net, x = self.single
        parameters = list(net.parameters())
        along, total = torch.tensor(v).to(x), self.delta * v
        for rows in torch.arange(len(x)).split(BATCH):
            loss = nn.functional.cross_entropy(net(x[rows]), self.y[rows], reduction="sum")
            gradient = torch.autograd.grad(loss, parameters, create_graph=True)
            found = torch.autograd.grad(parameters_to_vector(gradient) @ along, parameters)
            total = total + torch.cat([each.reshape(-1) for each in found]).double().numpy()
        return total

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
    drawn = torch.nonzero(torch.rand(len(q), generator=torch.Generator().manual_seed(seed), dtype=q.dtype) < q)[:, 0]
    scaled = (roots[drawn] / q[drawn].sqrt()[:, None, None]).to(x)
    total = torch.zeros(len(objective.origin), len(objective.origin), dtype=x.dtype)
    for part in zip(x[drawn].split(200), scaled.split(200), strict=True):
        a = jacobian_rows(net, *part)
        total.addmm_(a.T, a)
    total = total.double()
    total.diagonal().add_(objective.delta)
    factor = cho_factor(total.numpy(), lower=True)
    return lambda g: cho_solve(factor, g)


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


def with_hessian(objective: Objective, solve: Solve, directions: int) -> Solve:
    """`S̃⁻¹` corrected along so many directions by products with the Hessian."""
    gradient = objective.change(objective.origin, torch.arange(len(objective.x)))[1]
    better, mu = corrected(solve, objective.curved, gradient, directions)
    off = (np.abs(mu - 1) > 0.3).sum()
    print(f"<!-- Hessian against S̃: {mu.min():.2g} to {mu.max():.2g}, {off} of {len(mu)} directions off by 0.3, "
          f"{time.process_time():.0f} s -->", flush=True)  # fmt: skip
    return better


def own_rows(objective: Objective, row: int) -> np.ndarray:
    """`LᵀJ_i [k, P]` at the origin."""
    objective.put(objective.origin)
    x, y = objective.x[[row]], objective.y[[row]]
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
        size = float(max(gradient @ solve(gradient), 0)) ** 0.5
        if not size < 0.9 * before:
            return
        yield theta, size


def trained(a: argparse.Namespace) -> tuple[Objective, Solve]:
    """At the minimum, with an approximate inverse Hessian; kept beside the journal after every round."""
    torch.manual_seed(0)
    dtype, (x, y, _, _) = torch.float64 if a.double else torch.float32, data(a.data, a.n)
    net, x = NETS[a.net]().to(dtype), x.to(dtype)
    kept, done = a.path.with_suffix(".pt"), 0
    if kept.exists():
        theta, done = torch.load(kept, weights_only=False)
    else:
        train(net, x, y, a.share * a.n, a.epochs, a.rate)
        theta = parameters_to_vector(net.parameters()).detach().double().numpy()
    objective, near = Objective(net, x, y, a.share * a.n, theta), False
    solve = preconditioner(objective, a.rows, done)
    for k in range(done + 1, a.rounds + 1):
        first, size = descended(objective, solve)
        torch.save((objective.origin, k), kept)
        print(f"<!-- ‖∇L‖ = {first:.2g} → {size:.2g} sd, {objective.passes} passes, {objective.products} products, "
              f"{time.process_time():.0f} s -->", flush=True)  # fmt: skip
        if near and size < REACHED:
            break
        solve, near = preconditioner(objective, a.rows, k), size < NEAR
        if near and a.directions:
            solve = with_hessian(objective, solve, a.directions)
    return objective, solve


def descended(objective: Objective, solve: Solve) -> tuple[float, float]:
    """Move the origin by a round of L-BFGS; the gradient at first and at its end."""
    sizes, ends = [], []
    for theta, size in iterates(objective, torch.arange(len(objective.x)), solve, STEPS):
        sizes, ends = [*sizes, size], [*ends[-1:], theta]
        if size < REACHED / 3:
            break
    objective.move_to(ends[-1])
    return sizes[0], sizes[-1]


def in_turn(sensitivity: np.ndarray, k: int) -> list[int]:
    """Examples by share of sensitivity and at random in turn, each once."""
    random = np.random.default_rng(0)
    shares = random.exponential(size=len(sensitivity)) / np.maximum(sensitivity, 1e-12)  # successive sampling
    both = zip(np.argsort(shares).tolist(), random.permutation(len(sensitivity)).tolist(), strict=True)
    return list(dict.fromkeys(row for pair in both for row in pair))[:k]


def retrained(objective: Objective, solve: Solve, row: int, steps: int) -> dict[str, Any]:
    """What is kept of one retraining: the example's mean at first and at the end, and the gradient there."""
    before, clock = objective.passes, time.process_time()
    kept, means, sizes = np.delete(np.arange(len(objective.x)), row), [], []
    without = without_rows(solve, own_rows(objective, row))
    for theta, size in iterates(objective, torch.tensor(kept), without, steps):
        means.append(objective.means(theta, [row]))
        sizes.append(size)
        if size <= LEFT * sizes[0]:
            break
    return {"row": row, "means": [means[0].tolist(), means[-1].tolist()], "late": late(means),
            "gradient": [sizes[0], sizes[-1]], "passes": objective.passes - before,
            "seconds": time.process_time() - clock}  # fmt: skip


def late(means: list[np.ndarray]) -> float:
    """The part of the change of the mean that the second half of the steps made."""
    return float(np.abs(means[-1] - means[len(means) // 2]).sum() / max(np.abs(means[-1] - means[0]).sum(), 1e-300))


def compare(m: mm.MemoryMap, name: str, journal: list[dict[str, Any]]) -> None:
    """Slope, error and left-out loss of the examples that arrived."""
    rows = np.array([each["row"] for each in journal])
    first, end = (np.array([each["means"][k][0] for each in journal]) for k in range(2))
    start, left = np.transpose([each["gradient"] for each in journal])
    truth, arrived = np.abs(end - first).sum(1), left <= LEFT * start
    target = np.asarray(m.origin.examples.take(rows).target)
    loss = -np.log(end[np.arange(len(rows)), target])
    for what, among in (("all", np.ones_like(arrived)), ("arrived", arrived)):
        s, t = m["sensitivity"][rows][among], truth[among]
        loo, true = m["loo_loss"][rows][among], loss[among]
        if not among.any():
            continue
        error, ratio = np.linalg.norm(s - t) / np.linalg.norm(t), np.median(s / t)
        losses = f"{loo.mean():.3f} / {true.mean():.3f} | {np.linalg.norm(loo - true) / np.linalg.norm(true):.3f}"
        agreement = f"{s @ t / (t @ t):.2f} | {error:.3f} | {ratio:.2f} | {spearmanr(s, t).statistic:.3f}"
        print(f"| {name} | {what}, {among.sum()} | {agreement} | {losses} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", choices=("mnist", "fmnist"), required=True)
    parser.add_argument("--n", type=int, default=3000)
    parser.add_argument("--share", type=float, default=100 / 60_000, help="δ/N")
    parser.add_argument("--k", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--rate", type=float, default=1e-3, help="of Adam")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of L-BFGS at the end of training, at most")
    parser.add_argument("--rows", type=int, default=2000, help="of the posteriors that precondition")
    parser.add_argument("--directions", type=int, default=100, help="of the Hessian, near the minimum")
    parser.add_argument("--error", type=float, default=0.1, help="asked of the map that is compared")
    parser.add_argument("--steps", type=int, default=40, help="of each retraining")
    parser.add_argument("--beside", action="append", default=[], help="structures that are compared too")
    parser.add_argument("--net", choices=NETS, default="lenet", help="relu: LeNet5 with ReLUs and maximum pooling")
    parser.add_argument(
        "--double", action="store_true", help="the network in double precision, which takes 2.5 times as long"
    )
    parser.add_argument("--path", type=Path, required=True, help="journal, .jsonl and .pt")
    a = parser.parse_args()
    torch.set_num_threads(1)
    a.path.parent.mkdir(parents=True, exist_ok=True)
    objective, solve = trained(a)
    clock = time.process_time()
    m = objective.map(Sampled(error=a.error))
    print(f"<!-- Σh {m['leverage'].sum():.1f}, {time.process_time() - clock:.0f} s of a core -->")
    print("\n".join(f"<!-- {note} -->" for note in m.provenance.description.notes), flush=True)
    path = a.path.with_suffix(".jsonl")
    done = {each["row"]: each for each in map(json.loads, path.read_text().splitlines())} if path.exists() else {}
    wanted = in_turn(m["sensitivity"], a.k)
    objective.settle()
    with path.open("a") as file:
        for row in wanted:
            if row not in done:
                done[row] = retrained(objective, solve, row, a.steps)
                print(json.dumps(done[row]), file=file, flush=True)
    passes = [done[row]["passes"] for row in wanted]
    print(f"<!-- passes a retraining {np.mean(passes):.0f} -->")
    print("| map | examples | slope | relative error | median ratio | ρ | left-out loss, map / truth | its error |")
    print("|---|---|---|---|---|---|---|---|")
    for structure in (Sampled(error=a.error), *a.beside):
        other = m if isinstance(structure, Sampled) else objective.map(structure)
        compare(other, getattr(structure, "name", structure), [done[row] for row in wanted])


if __name__ == "__main__":
    main()
