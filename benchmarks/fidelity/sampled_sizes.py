"""Sizes by sampled rows against retraining: LeNet5 on the first N of shuffled (Fashion-)MNIST, `Σℓ + δ‖θ‖²/2`.

LeNet5 is LeCun's, with tanh and average pooling, whose minima are smooth; `--net relu`: ReLUs and maximum pooling;
`--net tiny`: a small one for many examples, of whose sampled rows the whole matrix is held.
Training (Adam) ends in L-BFGS on all the data, whose first inverse Hessian is `S̃⁻¹` of sampled rows, drawn anew at the
start of each round, and, once the gradient is below `NEAR` posterior standard deviations, is corrected by products with
the true Hessian along `--directions` (`corrected_inverse.py`), saddles left along negative curvature; it is at the
minimum below `REACHED` where none is found (`descent.py`).
A retraining starts there, without one example, with the same inverse Hessian less the example's rows, and has arrived
where the gradient of its objective is at most `LEFT` of what it was at first, in the norm of that inverse Hessian; it
stops there or after `--steps`. In a long flat valley, which hardly changes outputs, it may not arrive and the mean of
the example be settled all the same: by the change that the second half of the steps made and that the next Newton step
would make (`LATE`, `AHEAD`). What was left of the gradient at the minimum is taken off as a linear term; `--rounds 0`
takes off all that training left, wherever it ended [Bae et al. 2022, the proximal Bregman objective]. The inverse
Hessian makes it quick and decides nothing: the gradient is that of all the data, in double precision with `--double`.
With `--examples`, products with the Hessian are of so many of them, drawn by their errors; it decides nothing either.
Retrainings share the pairs of steps and gradients of the descent and of those before (`Recycled`): each begins with a
better inverse Hessian. Maps are in single precision, products differences of gradients in double precision.
Examples are drawn by share of sensitivity and at random in turn, so that any beginning of the journal is a sample of
the same design: a stopped run goes on.

    python benchmarks/fidelity/sampled_sizes.py --double --data fmnist --n 3000 --k 100 --path kept/fmnist
"""

from __future__ import annotations

import argparse
import functools
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from descent import LEFT, NEAR, Objective, Recycled, Solve, Without, preconditioner, rounds, with_hessian
from real_size import data, lenet, train
from scipy.stats import spearmanr
from torch import nn
from torch.nn.utils import parameters_to_vector

import memorymaps as mm
from memorymaps.nets import Sampled


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
ROUNDS, STEPS = 30, 60  # at the end of training, at most
LATE, AHEAD = 0.05, 0.02  # of an example's change: made by the second half of the steps, and left to one more step


def trained(a: argparse.Namespace) -> tuple[Objective, Solve]:
    """At the minimum, with an approximate inverse Hessian; kept beside the journal after every round."""
    torch.manual_seed(0)
    dtype, (x, y, x_test, y_test) = torch.float64 if a.double else torch.float32, data(a.data, a.n)
    net, x = NETS[a.net]().to(dtype), x.to(dtype)
    kept, done = a.path.with_suffix(".pt"), 0
    if kept.exists():
        theta, done = torch.load(kept, weights_only=False)
    else:
        train(net, x, y, a.share * a.n, a.epochs, a.rate)
        theta = parameters_to_vector(net.parameters()).detach().double().numpy()
        torch.save((theta, done), kept)
    objective = Objective(net, x, y, a.share * a.n, theta)
    precondition = functools.partial(preconditioner, objective, a.rows)
    solve = settled(objective, precondition(done + 1), a.directions, a.examples) if not a.rounds else None
    for each in rounds(
        objective,
        precondition,
        a.directions,
        range(done + 1, done + 1 + a.rounds),
        a.round,
        examples=a.examples,
        near=a.near,
    ):
        torch.save((objective.origin, each.number), kept)
        print(f"<!-- ‖∇L‖ = {each.first:.2g} → {each.last:.2g} sd, {objective.passes} passes, "
              f"{objective.products} products, {time.process_time():.0f} s -->", flush=True)  # fmt: skip
    with torch.no_grad():
        right = (objective.net(x_test.to(dtype)).argmax(1) == y_test).double().mean()
    reached = solve is None and each.arrived
    print(f"<!-- minimum reached: {reached}; right on the test images {right:.1%} -->", flush=True)
    return objective, solve or each.solve


def settled(objective: Objective, solve: Solve, directions: int, examples: int | None) -> Solve:
    """Take off the gradient that training left; the inverse Hessian, corrected along it, by so many examples."""
    gradient = objective.gradient()
    print(f"<!-- ‖∇L‖ = {float(gradient @ solve(gradient)) ** 0.5:.2g} sd, taken off -->", flush=True)
    objective.settle()
    taken = objective if examples is None else objective.drawn(examples, 0)
    return with_hessian(taken, solve, gradient, directions).solve


def in_turn(sensitivity: np.ndarray, k: int) -> list[int]:
    """Examples by share of sensitivity and at random in turn, each once."""
    random = np.random.default_rng(0)
    shares = random.exponential(size=len(sensitivity)) / np.maximum(sensitivity, 1e-12)  # successive sampling
    both = zip(np.argsort(shares).tolist(), random.permutation(len(sensitivity)).tolist(), strict=True)
    return list(dict.fromkeys(row for pair in both for row in pair))[:k]


def retrained(objective: Objective, solve: Recycled, row: int, steps: int) -> dict[str, Any]:
    """What is kept of one retraining: the example's mean at first and at the end, and the gradient there."""
    objective.path.clear()
    before, clock = objective.passes, time.process_time()
    means, sizes, without = [], [], Without.of(objective, solve, [row])
    for theta, size in without.iterates(steps):
        means.append(objective.means(theta, [row]))
        sizes.append(size)
    solve.learn(objective.path)
    ahead = objective.means(theta + without.newton_step(theta), [row])
    late, left = (
        float(np.abs(a - b).sum() / max(np.abs(means[-1] - means[0]).sum(), 1e-300))
        for a, b in ((means[-1], means[len(means) // 2]), (ahead, means[-1]))
    )
    return {"row": row, "means": [means[0].tolist(), means[-1].tolist()], "late": late, "ahead": left,
            "gradient": [sizes[0], sizes[-1]], "passes": objective.passes - before,
            "seconds": time.process_time() - clock}  # fmt: skip


def compare(m: mm.MemoryMap, name: str, journal: list[dict[str, Any]]) -> None:
    """Slope, error and left-out loss of all examples, of those whose mean has settled, and of those that arrived."""
    rows = np.array([each["row"] for each in journal])
    first, end = (np.array([each["means"][k][0] for each in journal]) for k in range(2))
    start, left = np.transpose([each["gradient"] for each in journal])
    late, ahead = (np.array([each[what] for each in journal]) for what in ("late", "ahead"))
    truth, arrived = np.abs(end - first).sum(1), left <= LEFT * start
    settled = arrived | ((late <= LATE) & (ahead <= AHEAD))
    target = np.asarray(m.origin.examples.take(rows).target)
    loss = -np.log(end[np.arange(len(rows)), target])
    for what, among in (("all", np.ones_like(arrived)), ("mean settled", settled), ("arrived", arrived)):
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
    parser.add_argument("--near", type=float, default=NEAR, help="sd of the gradient, below which they are found")
    parser.add_argument("--error", type=float, default=0.1, help="asked of the map that is compared")
    parser.add_argument("--round", type=int, default=STEPS, help="steps of such a round")
    parser.add_argument("--examples", type=int, help="of which the rounds' products are, drawn anew in each")
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
    recycled = Recycled(solve)
    recycled.learn(objective.path)
    with path.open("a") as file:
        for row in wanted:
            if row not in done:
                done[row] = retrained(objective, recycled, row, a.steps)
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
