"""Networks against retraining: every structure with the form its map chose and with the cavity form.

1,400 digits, and 1,200 pictures of Fashion-MNIST averaged to 7 × 7 (from `MEMORYMAPS_DATA`), in double precision.
Training and every retraining (warm start, without the example, same objective `Σℓ + δ‖θ‖²/2`) by L-BFGS in coordinates
whitened by the Gauss–Newton matrix. Weights and retrainings are kept in `--path`: a stopped run goes on, and other
structures are compared without retraining again. `auto` leaves the thirty largest out for real where its map would be
warned of; `full` is the same without, and last after `mm.refit(m, top=…)`.

    python benchmarks/fidelity/networks.py --case "MLP, tanh, δ = 0.1" --k 120 --path kept
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
import scores
import torch
from scipy.optimize import minimize
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

import memorymaps as mm
from memorymaps.core.perturbation.estimators import CODES, perturb

STRUCTURES = ("auto", "full", "hessian", "active_set", "ekfac", "kfac", "diag")


def softmax() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 10))


def mlp(activation: type[nn.Module], inputs: int = 64) -> nn.Module:
    return nn.Sequential(
        nn.Linear(inputs, 32), activation(), nn.Linear(32, 16), activation(), nn.Linear(16, 10)
    )  # fmt: skip


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 8, 3, padding=1), nn.Tanh(), nn.AvgPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip


NETWORKS = {
    "softmax regression": softmax,
    "MLP, tanh": lambda: mlp(nn.Tanh),
    "MLP, ReLU": lambda: mlp(nn.ReLU),
    "CNN, tanh": cnn,
}
FASHION = "Fashion-MNIST 7 × 7, MLP, tanh"  # on which nothing was chosen
CASES = {f"{name}, δ = {delta:g}": (make, delta) for name, make in NETWORKS.items() for delta in (0.01, 0.1, 1.0, 5.0)}
CASES |= {f"{FASHION}, δ = {delta:g}": (lambda: mlp(nn.Tanh, 49), delta) for delta in (0.01, 0.1)}


def fashion() -> tuple[torch.Tensor, torch.Tensor]:
    file = np.load(Path(os.environ["MEMORYMAPS_DATA"]) / "fmnist.npz")
    x = nn.functional.avg_pool2d(torch.tensor(file["x_train"][:1200] / 255)[:, None], 4)
    return x.flatten(1), torch.tensor(file["y_train"][:1200]).long()


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    x, y = load_digits(return_X_y=True)
    train = np.random.RandomState(0).permutation(len(x))[397:]
    return torch.tensor(x[train] / 16), torch.tensor(y[train])


class Problem:
    """The training objective in whitened coordinates around a point: `θ = θ₀ + W u`."""

    def __init__(self, net: nn.Module, x: torch.Tensor, y: torch.Tensor, delta: float):
        self.net, self.x, self.y, self.delta = net, x, y, delta

    def whiten(self) -> None:
        """Take the current parameters as the origin and their Gauss–Newton matrix as the metric."""
        self.origin = parameters_to_vector(self.net.parameters()).detach().clone()
        values = {name: value.detach() for name, value in self.net.named_parameters()}
        precision = self.delta * torch.eye(len(self.origin), dtype=torch.float64)
        for part in torch.split(torch.arange(len(self.x)), 100):
            j = torch.func.jacrev(lambda p, x: torch.func.functional_call(self.net, p, x))(values, self.x[part])
            j = torch.cat([each.flatten(2) for each in j.values()], 2)
            p = self.net(self.x[part]).softmax(1).detach()
            rows = torch.einsum("nck,ncp->nkp", torch.diag_embed(p.sqrt()) - p[:, :, None] * p[:, None].sqrt(), j)
            precision += rows.flatten(0, 1).T @ rows.flatten(0, 1)
        lower = torch.linalg.cholesky(precision)
        self.root = torch.linalg.solve_triangular(lower, torch.eye(len(lower), dtype=torch.float64), upper=False).T

    def minimise(self, weight: torch.Tensor) -> float:
        """Go to the minimum; returns the gradient's norm in posterior standard deviations."""

        def objective(u: np.ndarray) -> tuple[float, np.ndarray]:
            vector_to_parameters(self.origin + self.root @ torch.tensor(u), self.net.parameters())
            theta = parameters_to_vector(self.net.parameters())
            nll = nn.functional.cross_entropy(self.net(self.x), self.y, reduction="none")
            loss = (weight * nll).sum() + self.delta / 2 * theta.square().sum()
            found = torch.autograd.grad(loss, list(self.net.parameters()))
            return float(loss.detach()), (self.root.T @ parameters_to_vector(found)).numpy()

        options = {"maxiter": 1000, "maxfun": 2000, "gtol": 1e-7, "ftol": 1e-15, "maxcor": 30}
        end = minimize(objective, np.zeros(len(self.origin)), jac=True, method="L-BFGS-B", options=options)
        return float(np.linalg.norm(objective(end.x)[1]))

    def train(self) -> float:
        """From random weights to a stationary point; returns the size of the gradient left."""
        optimizer = torch.optim.Adam(self.net.parameters(), lr=1e-2)
        for _ in range(1500):
            optimizer.zero_grad()
            theta = parameters_to_vector(self.net.parameters())
            loss = nn.functional.cross_entropy(self.net(self.x), self.y, reduction="sum")
            (loss + self.delta / 2 * theta.square().sum()).backward()
            optimizer.step()
        for _ in range(5):
            self.whiten()
            size = self.minimise(torch.ones(len(self.x)))
        return size

    def trained(self, kept: Path) -> float:
        """The same, or what an earlier run has kept; ends as the origin."""
        if kept.exists():
            theta, size = torch.load(kept)
            vector_to_parameters(theta, self.net.parameters())
        else:
            size = self.train()
            torch.save((parameters_to_vector(self.net.parameters()).detach().clone(), size), kept)
        self.whiten()
        return size

    def mean_without(self, i: int, kept: Path) -> np.ndarray:
        """`μ^{\\i}` of example `i`, by retraining, unless it is kept."""
        if kept.exists():
            return np.load(kept)
        weight = torch.ones(len(self.x))
        weight[i] = 0
        self.minimise(weight)
        end = self.net(self.x[[i]]).softmax(1).detach()
        vector_to_parameters(self.origin, self.net.parameters())
        np.save(kept, end[0].numpy())
        return end[0].numpy()


def drawn(net: nn.Module, x: torch.Tensor, y: torch.Tensor, structure: str, delta: float) -> mm.MemoryMap | None:
    """`None` for a Hessian where the loss curves downwards."""
    recipe = mm.Laplace(structure, prior=delta)
    try:
        return mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe, progress=False)
    except ValueError as error:
        print(f"<!-- {error} -->", flush=True)
        return None


def study(name: str, k: int, folder: Path, structures: tuple[str, ...], top: list[int]) -> None:
    make, delta = CASES[name]
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    net, (x, y) = make().double(), fashion() if name.startswith(FASHION) else digits()
    problem = Problem(net, x, y, delta)
    start = time.perf_counter()
    size = problem.trained(folder / "theta.pt")
    trained, clock = time.perf_counter() - start, time.process_time()
    found = {"auto": drawn(net, x, y, "auto", delta)}
    spent = time.process_time() - clock
    found |= {s: drawn(net, x, y, s, delta) for s in structures if s != "auto"}
    maps = {s: m for s, m in found.items() if m is not None}
    print(
        f"<!-- {name}: ‖∇L‖ = {size:.1e} sd; trained in {trained:.0f} s, auto: {spent:.0f} s of a core -->", flush=True
    )
    rows = scores.chosen(maps["full"]["sensitivity"], k)
    end = np.stack([problem.mean_without(int(i), folder / f"{i}.npy") for i in rows])
    truth = end - problem.net(x[rows]).softmax(1).detach().numpy()
    left_out = -np.log(end[np.arange(k), y[rows]]).mean()
    for s, m in maps.items():
        at = m.origin.batch_statistics(m.origin.examples.take(rows))
        codes = [m.provenance.estimator, CODES["F-sm"], CODES["R/F-sm"], CODES["P"]]
        total = f"{name}; {s}, Σh {m['leverage'].sum():.0f}, chose {m.provenance.estimator}"
        own = {str(m.provenance.estimator): (m["loo_mean"] - m["mean"])[rows]}  # with what auto has refitted
        scores.show(total, {str(each): perturb(at, each).change for each in codes} | own, truth)
        said = "; ".join(m.summary().warnings) or "no warning"
        print(
            f"<!-- {s}: loss left out {m['loo_loss'][rows].mean():.3f}, really {left_out:.3f}; {said} -->", flush=True
        )
    if top:
        refitted(name, maps["full"], rows, truth, folder / "refit.jsonl", top)


def refitted(name: str, m: mm.MemoryMap, rows: np.ndarray, truth: np.ndarray, path: Path, several: list[int]) -> None:
    """The same scores where the map's most sensitive examples were really left out by the library."""
    for top in several:
        start = time.perf_counter()
        fine = mm.refit(m, top=top, path=path, progress=False)
        change = (fine["loo_mean"] - fine["mean"])[rows]
        scores.show(f"{name}; full, refit(top={top})", {str(fine.provenance.estimator): change}, truth)
        left_out, seconds = fine["loo_loss"][rows].mean(), time.perf_counter() - start
        print(
            f"<!-- loss left out {left_out:.3f}, {seconds:.0f} s, {np.sum(fine['warning'] & 4 > 0)} moving -->",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", choices=CASES, action="append")
    parser.add_argument("--k", type=int, default=120)
    parser.add_argument("--path", type=Path, required=True, help="folder for weights and retrainings")
    parser.add_argument("--structure", choices=STRUCTURES, action="append", help="beside auto and full")
    parser.add_argument("--refit", type=int, action="append", default=[], help="examples that full really leaves out")
    arguments = parser.parse_args()
    structures = tuple(dict.fromkeys(["auto", "full", *(arguments.structure or STRUCTURES)]))
    print(scores.HEADER)
    for name in arguments.case or CASES:
        study(name, arguments.k, arguments.path / name.replace(" ", ""), structures, arguments.refit)


if __name__ == "__main__":
    main()
