"""Networks of real size against retraining: the published set-up [MPE, Fig. 2], estimated against true deviation.

MNIST with an MLP (500, 300) and Fashion-MNIST with LeNet5, `Σℓ + δ‖θ‖²/2`. The paper takes N = 60,000, δ = 100 and 300
to 500 epochs; here the first N of the shuffled training set are taken, in double precision, and training (Adam) ends in
L-BFGS on all the data, in coordinates whitened by an EKFAC posterior. Each retraining starts at the trained weights,
without one example, and is the same L-BFGS; what it changes with nothing left out is taken off. `retrain_check` keeps
each on disk: a stopped run goes on. Minima of networks of ReLUs lie on kinks, where gradients do not vanish; how far
retrainings have arrived is told by how much the second half of each still moves the means.

    MEMORYMAPS_DATA=… python benchmarks/fidelity/real_size.py --case fmnist --n 800 --k 100 --path fmnist.jsonl
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize
from torch import nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

import memorymaps as mm
from memorymaps.nets.curvature.ggn import group_order


def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 500), nn.ReLU(), nn.Linear(500, 300), nn.ReLU(), nn.Linear(300, 10)
    )


def lenet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


CASES = {"mnist": (mlp, "MNIST, MLP (500, 300)"), "fmnist": (lenet, "Fashion-MNIST, LeNet5")}


def data(name: str, n: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    file = np.load(Path(os.environ["MEMORYMAPS_DATA"]) / f"{name}.npz")
    rows = np.sort(np.random.default_rng(0).permutation(len(file["x_train"]))[:n])
    x, y, x_test, y_test = file["x_train"][rows], file["y_train"][rows], file["x_test"], file["y_test"]
    pictures = (torch.tensor(each[:, None] / 255) for each in (x, x_test))
    return next(pictures), torch.tensor(y), next(pictures), torch.tensor(y_test)


class Objective:
    """`Σ_{i kept} ℓ_i + δ‖θ‖²/2` around a point: `θ = θ₀ + W u`, whitened by the map's own posterior there."""

    def __init__(self, net: nn.Module, x: torch.Tensor, y: torch.Tensor, delta: float):
        self.net, self.x, self.y, self.delta = net, x, y, delta

    def at(self, theta: torch.Tensor) -> None:
        """Take `θ₀` as the origin."""
        self.origin = theta
        vector_to_parameters(theta, self.net.parameters())
        source: Any = self.map("ekfac").origin.posterior
        self.covariance = source.covariance
        self.order = group_order(source.problem, source.covariance.groups)
        self.back = self.order.argsort()
        with torch.no_grad():
            self.losses = torch.cat([self._losses(rows) for rows in torch.arange(len(self.x)).split(500)])

    def map(self, structure: str) -> mm.MemoryMap:
        """At the network's present weights."""
        recipe = mm.Laplace(structure, prior=self.delta)
        return mm.memory_map(self.net, self.x, self.y, likelihood="categorical", posterior=recipe, progress=False)

    def _losses(self, rows: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(self.net(self.x[rows]), self.y[rows], reduction="none")

    def place(self, u: np.ndarray) -> torch.Tensor:
        """`θ₀ + W u`."""
        return self.origin + self.covariance.block_inv_sqrt_matvec(torch.tensor(u))[self.back]

    def change(self, u: np.ndarray, kept: torch.Tensor) -> tuple[float, np.ndarray]:
        """The objective's change from `θ₀`, summed from each example's, and its gradient in `u`."""
        theta = self.place(u)
        moved, total = theta - self.origin, self.delta * theta
        vector_to_parameters(theta, self.net.parameters())
        change = self.delta * float(self.origin @ moved + moved @ moved / 2)
        for rows in kept.split(500):
            losses = self._losses(rows)
            change += float((losses.detach() - self.losses[rows]).sum())
            found = torch.autograd.grad(losses.sum(), list(self.net.parameters()))
            total = total + torch.cat([each.reshape(-1) for each in found])
        return change, self.covariance.block_inv_sqrt_rmatvec(total[self.order]).numpy()

    def minimise(self, kept: torch.Tensor, steps: int) -> tuple[torch.Tensor, torch.Tensor, float, float]:
        """By L-BFGS: the end, the place half-way, the gradient in posterior standard deviations there and at first."""
        start, half = np.zeros(len(self.origin)), steps // 2
        first = float(np.linalg.norm(self.change(start, kept)[1]))
        options = {"maxiter": steps, "maxfun": 2 * steps, "gtol": 1e-5 * first / len(start) ** 0.5, "ftol": 0}
        passed: list[np.ndarray | None] = []

        def note(u: np.ndarray) -> None:
            passed.append(u.copy() if len(passed) == half - 1 else None)

        end = minimize(
            lambda u: self.change(u, kept), start, jac=True, method="L-BFGS-B", options=options, callback=note
        )
        midst = passed[half - 1] if len(passed) >= half else end.x
        return self.place(end.x), self.place(midst), float(np.linalg.norm(end.jac)), first


def train(net: nn.Module, x: torch.Tensor, y: torch.Tensor, delta: float, epochs: int, rate: float = 1e-3) -> None:
    """Adam with a cosine schedule, as a start."""
    optimizer = torch.optim.Adam(net.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in range(epochs):
        for rows in torch.split(torch.randperm(len(x)), 128):
            optimizer.zero_grad()
            penalty = delta / len(x) / 2 * parameters_to_vector(net.parameters()).square().sum()
            (nn.functional.cross_entropy(net(x[rows]), y[rows]) + penalty).backward()
            optimizer.step()
        schedule.step()


def trained(name: str, n: int, share: float, epochs: int, rounds: int, path: Path) -> Objective:
    """The objective at its stationary point; kept beside the journal."""
    make, _ = CASES[name]
    torch.manual_seed(0)
    net, (x, y, x_test, y_test) = make().double(), data(name, n)
    objective, kept = Objective(net, x, y, share * n), path.with_suffix(".pt")
    start = time.perf_counter()
    if not kept.exists():
        train(net, x, y, objective.delta, epochs)
        theta = parameters_to_vector(net.parameters()).detach()
        for _ in range(rounds):
            objective.at(theta)
            theta, _, size, first = objective.minimise(torch.arange(n), 150)
            print(f"<!-- ‖∇L‖ = {first:.2g} → {size:.2g} sd, {time.perf_counter() - start:.0f} s -->", flush=True)
        torch.save(theta, kept)
    objective.at(torch.load(kept))
    with torch.no_grad():
        right = float((net(x_test).argmax(1) == y_test).float().mean())
    print(f"<!-- {name}: N = {n}, δ = {objective.delta:g}, test accuracy {right:.1%} -->", flush=True)
    return objective


def study(name: str, objective: Objective, m: mm.MemoryMap, k: int, steps: int, path: Path, partial: bool) -> Any:
    exact, moves, late = copy.deepcopy(objective.net), [], []

    def outputs(theta: torch.Tensor, rows: np.ndarray) -> torch.Tensor:
        vector_to_parameters(theta, exact.parameters())
        with torch.no_grad():
            return exact(objective.x[torch.as_tensor(rows)])

    def retrain(removed: np.ndarray, wanted: np.ndarray) -> torch.Tensor:
        kept = torch.ones(len(objective.x), dtype=torch.bool)
        kept[torch.as_tensor(removed, dtype=torch.long)] = False
        end, midst, _, _ = objective.minimise(kept.nonzero()[:, 0], steps)
        before, half, after = (outputs(theta, wanted).softmax(1) for theta in (objective.origin, midst, end))
        if len(removed):
            moves.append(float((after - before).norm()))
            late.append(float((after - half).norm()))
        return outputs(end, wanted)

    start = time.perf_counter()
    done = [json.loads(line)["row"] for line in path.read_text().splitlines()[1:]] if partial else []
    ids = [row for row in done if row >= 0] or None
    check = mm.retrain_check(m, retrain, ids=ids, k=k, path=path)
    print(f"<!-- {len(moves)} retrainings in {time.perf_counter() - start:.0f} s -->")
    share = float(np.linalg.norm(late) / np.linalg.norm(moves)) if moves else float("nan")
    verdict = "" if share < 0.15 else ": NOT ARRIVED, no measure of fidelity"
    print(f"<!-- the second half of the steps still moves the means by {share:.3f} of all{verdict} -->", flush=True)
    print(f"{name} ({m.provenance.description.posterior}; {m.provenance.estimator}): {check}", flush=True)
    return check


def refined(objective: Objective, m: mm.MemoryMap, check: Any, top: int) -> None:
    """The most sensitive examples on the exact curvature."""
    vector_to_parameters(objective.origin, objective.net.parameters())
    start = time.perf_counter()
    fine = mm.refine(m, top=top, steps=8)
    ids = fine.top(len(fine))["id"]
    at = dict(zip(fine["id"], zip(fine["refined"], fine["sensitivity"], strict=True), strict=True))
    known = [
        (at[i][1], t, e) for i, t, e in zip(check["id"], check["truth"], check["estimate"], strict=True) if at[i][0]
    ]
    s, t, e = np.array(known).T
    for what, each in (("refined", s), ("map", e)):
        print(
            f"the {len(t)} of {len(ids)} most sensitive, {what}: slope {each @ t / (t @ t):.2f}, "
            f"relative error {np.linalg.norm(each - t) / np.linalg.norm(t):.3f}"
        )
    print(f"<!-- refined in {time.perf_counter() - start:.0f} s -->", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", choices=CASES, required=True)
    parser.add_argument("--n", type=int, default=6000)
    parser.add_argument("--share", type=float, default=100 / 60_000, help="δ/N")
    parser.add_argument("--k", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5, help="of 150 quasi-Newton steps at the end of training")
    parser.add_argument("--steps", type=int, default=60, help="quasi-Newton steps of each retraining")
    parser.add_argument("--structure", default="dual", help="of the map's posterior")
    parser.add_argument("--path", type=Path, required=True, help="journal of the retrainings")
    parser.add_argument("--partial", action="store_true", help="compare what a stopped run has retrained so far")
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--refine", type=int, default=0, help="how many of the most sensitive to refine")
    a = parser.parse_args()
    objective = trained(a.case, a.n, a.share, a.epochs, a.rounds, a.path)
    vector_to_parameters(objective.origin, objective.net.parameters())
    start, m = time.perf_counter(), objective.map(a.structure)
    print(f"<!-- Σh {m['leverage'].sum():.0f}, mapped in {time.perf_counter() - start:.0f} s -->", flush=True)
    check = study(a.case, objective, m, a.k, a.steps, a.path, a.partial)
    if a.picture:
        mm.RetrainingDisplay.from_check(check).figure_.savefig(a.picture, dpi=110)
    if a.refine:
        refined(objective, m, check, a.refine)


if __name__ == "__main__":
    main()
