"""Sampled rows within a subspace of each layer against the exact posterior, and random projections beside it.

First the same drawn rows, kept whole and along 8 … 64 directions of every layer's inputs and outputs: relative error,
share of examples within two stated standard errors, ratio of stated to true error, processor seconds, memory forecast.
Then the projection alone, of all rows of some examples without a draw: leverage by rows times a random matrix [TRAK,
LoGra], orthonormal or Gaussian, and along the leading directions with and without the length outside.

    MEMORYMAPS_DATA=… python benchmarks/networks/projected.py
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from sampled import MEASURES, data, lenet, train
from torch import Tensor

import memorymaps as mm
from memorymaps.nets.autograd.batch_size import linearize
from memorymaps.nets.autograd.network import evaluation_mode
from memorymaps.nets.covariance.block_diagonal import group_gradient
from memorymaps.nets.covariance.gram import DenseRows
from memorymaps.nets.curvature.structure import root_directions
from memorymaps.nets.sampled.rows.projection import RangeSketch
from memorymaps.nets.sampled.structure import Sampled


def cells(m: mm.MemoryMap, exact: mm.MemoryMap) -> str:
    found = []
    for name in MEASURES:
        off, se = m[name] - exact[name], m[f"{name}_se"]
        error = np.linalg.norm(off) / np.linalg.norm(exact[name])
        covered, length = np.mean(np.abs(off) <= 2 * se), np.linalg.norm(se) / np.linalg.norm(off)
        found.append(f"{error:.3f} ({covered:.0%}, {length:.2f})")
    return " | ".join(found)


def gradients(m: mm.MemoryMap, n: int) -> list[Tensor]:
    """Weighted rows `[n, k, o, d]` of every layer of the first examples, divided by `√δ`."""
    problem = m.origin.posterior.problem
    batch = problem.examples.take(np.arange(n))
    directions = root_directions(problem, batch, problem.weights(batch))
    with evaluation_mode(problem.network.module):
        seen = linearize(problem.network, problem.owners, batch.inputs, slice(0, n), directions)
    found = []
    for group in problem.block_groups:
        rows = group_gradient(seen, group).materialize(slice(None)).double().unflatten(2, group.blocks[0].shape)
        found.append(rows / float(group.pack(problem.prior).flatten()[0]) ** 0.5)
    return found


def leverage(gram: Tensor, n: int) -> Tensor:
    """`tr H_ii [n]` of `H = K(I + K)⁻¹`."""
    eye = torch.eye(len(gram), dtype=gram.dtype)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram + eye))
    return (1 - inverse.diagonal()).view(n, -1).sum(1)


def projected(g: Tensor, kind: str, kept: int, generator: torch.Generator) -> Tensor:
    """Products `[n·k, n·k]` of one layer's rows."""
    n, k, o, d = g.shape
    if kind.startswith("leading"):
        sketch = RangeSketch.of((o, d), kept, generator, torch.device("cpu"))
        sketch.add(DenseRows(g.flatten(0, 1)[torch.randperm(n * k, generator=generator)[:512], None].flatten(2)))
        found = sketch.projection(False)
        q, r = found.outputs, found.inputs
    else:
        q, r = (random(size, kept, kind, generator) for size in (o, d))
    inside = (q.T @ g @ r).flatten(2).flatten(0, 1)
    gram = inside @ inside.T
    if kind == "leading, own lengths":
        gram.diagonal().copy_(g.flatten(2).flatten(0, 1).square().sum(1))
    return gram


def random(size: int, kept: int, kind: str, generator: torch.Generator) -> Tensor:
    """A matrix `R` with `E R Rᵀ = I`."""
    if kept >= size:
        return torch.eye(size, dtype=torch.float64)
    found = torch.randn(size, kept, generator=generator, dtype=torch.float64)
    return found / kept**0.5 if kind == "Gaussian" else torch.linalg.qr(found)[0] * (size / kept) ** 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=800)
    parser.add_argument("--delta", type=float, default=20.0)
    parser.add_argument("--rows", type=int, default=720)
    parser.add_argument("--alone", type=int, default=200, help="examples of the second table")
    parser.add_argument("--weaker", type=float, default=5.0, help="prior precision of the second table")
    a = parser.parse_args()
    torch.manual_seed(0)
    x, y = data("mnist", a.n, False)
    net = lenet(10)
    train(net, x, y, a.delta)

    def mapped(structure: object, prior: float) -> mm.MemoryMap:
        recipe = mm.Laplace(structure, prior=prior)
        return mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe, progress=False)

    exact = mapped("dual", a.delta)
    print(f"Σh {exact['leverage'].sum():.1f}\n| directions | {' | '.join(MEASURES)} | stated | s | GB |")
    for kept in (None, 64, 32, 16, 8):
        start = time.process_time()
        m = mapped(Sampled(rows=a.rows, projection=kept, budget=1e9), a.delta)
        spent = time.process_time() - start
        notes = m.provenance.description.notes
        memory = next(note for note in notes if note.startswith("Forecast")).split(", ")[-2]
        stated = next(note for note in notes if note.startswith("Relative")).partition(": ")[2]
        print(f"| {kept} | {cells(m, exact)} | {stated} | {spent:.1f} | {memory} |", flush=True)
    rows = gradients(mapped(Sampled(rows=8), a.weaker), a.alone)
    true = leverage(sum(g.flatten(2).flatten(0, 1) @ g.flatten(2).flatten(0, 1).T for g in rows), a.alone)
    print(f"{a.alone} examples, all rows, δ = {a.weaker:g}, Σh {true.sum():.1f}\n| kept | directions | Σh | error |")
    for kind in ("Gaussian", "orthonormal", "leading", "leading, own lengths"):
        for kept in (8, 16, 32, 64):
            found = []
            for seed in (0, 1):
                generator = torch.Generator().manual_seed(seed)
                gram = sum(projected(g, kind, kept, generator) for g in rows)
                found.append(leverage(gram, a.alone))
            sums = ", ".join(f"{float(h.sum()):.0f}" for h in found)
            errors = ", ".join(f"{float((h - true).norm() / true.norm()):.3f}" for h in found)
            print(f"| {kind} | {kept} | {sums} | {errors} |", flush=True)


if __name__ == "__main__":
    main()
