"""Networks as people train them: what a map says, and what the same recipe does without an example.

An MLP (196-16-10, ReLU) on the first 500 of the shuffled Fashion-MNIST averaged to 14 × 14, 2 % of the labels drawn
at random, SGD with momentum and weight decay, 60 epochs: a constant step, a cosine schedule, early stopping (best loss
on 1,000 other images), augmentation (shifts by up to one pixel) with a cosine schedule. None ends at a minimum. The
truth is the same recipe without the example: same initial weights, batches and shifts, the example's weight zero in its
batches, averaged over seeds; beside it the noise floor, how far another seed alone moves the same prediction. All
networks of a seed are trained side by side; a line of `--path` for each seed and recipe: a stopped run goes on.

    MEMORYMAPS_DATA=… python benchmarks/fidelity/as_trained.py --path kept/as_trained.jsonl
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from real_size import data
from sampled_sizes import in_turn
from scipy.stats import spearmanr
from torch import nn
from torch.nn import functional

import memorymaps as mm

N, OTHERS, SIDE, HIDDEN, BATCH, EPOCHS = 500, 1000, 14, 16, 50, 60
RATE, MOMENTUM, DECAY, SHIFT = 0.05, 0.9, 5e-4, 1


@dataclass(frozen=True)
class Recipe:
    """How the network is trained."""

    cosine: bool = False
    stops: bool = False
    shifts: bool = False


RECIPES = {
    "constant step": Recipe(),
    "cosine": Recipe(cosine=True),
    "early stopping": Recipe(stops=True),
    "augmentation, cosine": Recipe(cosine=True, shifts=True),
}


def images() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Training images and labels, 2 % of them drawn at random, and other images to stop by."""
    x, y, other, other_y = data("fmnist", N)
    random = np.random.default_rng(1)
    wrong = random.permutation(N)[: N // 50]
    y = y.clone().long()
    y[wrong] = torch.tensor(random.integers(0, 10, len(wrong)))
    x, other = (functional.avg_pool2d(each.float(), 2) for each in (x, other[:OTHERS]))
    return x, y, other.flatten(1), other_y[:OTHERS].long()


def shifted(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Each image moved by up to `SHIFT` pixels."""
    wide = functional.pad(x, [SHIFT] * 4)
    moves = torch.randint(0, 2 * SHIFT + 1, (len(x), 2), generator=generator)
    return torch.stack([each[:, a : a + SIDE, b : b + SIDE] for each, (a, b) in zip(wide, moves.tolist(), strict=True)])


class Side:
    """Networks side by side, `k` of them, with the same initial weights."""

    def __init__(self, seed: int, k: int):
        torch.manual_seed(seed)
        first, second = nn.Linear(SIDE**2, HIDDEN), nn.Linear(HIDDEN, 10)
        values = [first.weight.T[:, None], first.bias[None], second.weight.T[None], second.bias[None, None]]
        shapes = [(SIDE**2, k, HIDDEN), (k, HIDDEN), (k, HIDDEN, 10), (k, 1, 10)]
        pairs = zip(values, shapes, strict=True)
        self.values = [value.detach().expand(shape).clone().requires_grad_() for value, shape in pairs]

    def outputs(self, x: torch.Tensor) -> torch.Tensor:
        """`f [k, n, 10]`."""
        a, b, c, d = self.values
        hidden = torch.relu((x @ a.flatten(1)).view(len(x), -1, HIDDEN) + b)
        return torch.bmm(hidden.transpose(0, 1), c) + d

    def network(self, k: int) -> nn.Module:
        """One of them as a module."""
        net = nn.Sequential(nn.Flatten(), nn.Linear(SIDE**2, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 10))
        a, b, c, d = (value.detach() for value in self.values)
        state = {"1.weight": a[:, k].T, "1.bias": b[k], "3.weight": c[k].T, "3.bias": d[k, 0]}
        net.load_state_dict({name: value.clone() for name, value in state.items()})
        return net


def losses(f: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """`[k, n]`."""
    return functional.cross_entropy(f.flatten(0, 1), y.repeat(len(f)), reduction="none").view(len(f), -1)


def trained(recipe: Recipe, seed: int, rows: list[int]) -> Side:
    """The network with all examples, and one without each of `rows`."""
    x, y, other, other_y = images()
    side, generator = Side(seed, 1 + len(rows)), torch.Generator().manual_seed(seed)
    weight = torch.ones(1 + len(rows), N)
    weight[torch.arange(len(rows)) + 1, torch.tensor(rows, dtype=torch.long)] = 0
    optimizer = torch.optim.SGD(side.values, RATE, momentum=MOMENTUM, weight_decay=DECAY)
    best, kept = torch.full((1 + len(rows),), math.inf), [value.detach().clone() for value in side.values]
    for epoch in range(EPOCHS):
        for group in optimizer.param_groups:
            group["lr"] = RATE * (0.5 + 0.5 * math.cos(math.pi * epoch / EPOCHS) if recipe.cosine else 1)
        for batch in torch.randperm(N, generator=generator).split(BATCH):
            seen = shifted(x[batch], generator) if recipe.shifts else x[batch]
            optimizer.zero_grad()
            (losses(side.outputs(seen.flatten(1)), y[batch]) * weight[:, batch] / len(batch)).sum().backward()
            optimizer.step()
        if recipe.stops:
            best = keep_better(side, other, other_y, best, kept)
    if recipe.stops:
        for value, each in zip(side.values, kept, strict=True):
            value.data.copy_(each)
    return side


def keep_better(side: Side, x: torch.Tensor, y: torch.Tensor, best: torch.Tensor, kept: list[Any]) -> torch.Tensor:
    """Keep the weights of those networks whose loss on the other images has fallen; the lowest losses."""
    with torch.no_grad():
        loss = losses(side.outputs(x), y).mean(1)
    better = loss < best
    for value, each, axis in zip(side.values, kept, (1, 0, 0, 0), strict=True):
        index = (slice(None),) * axis + (better,)
        each[index] = value.detach()[index]
    return torch.where(better, loss, best)


def mapped(net: nn.Module) -> mm.MemoryMap:
    """Exact curvature, the prior by the weight decay."""
    x, y, _, _ = images()
    recipe = mm.Laplace("full", prior=N * DECAY)
    return mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe, progress=False)


def one(name: str, seed: int, rows: list[int]) -> dict[str, Any]:
    """A line of the journal: probabilities of every left-out example in all networks, and the map's columns."""
    x, _, other, other_y = images()
    start, side = time.process_time(), trained(RECIPES[name], seed, rows)
    with torch.no_grad():
        f = side.outputs(x[rows].flatten(1)).double()
        right = float((side.outputs(other)[0].argmax(1) == other_y).float().mean())
    m = mapped(side.network(0))
    return {
        "recipe": name, "seed": seed, "rows": rows, "right": right, "seconds": time.process_time() - start,
        "with": f[0].softmax(-1).tolist(), "without": [f[1 + k, k].softmax(-1).tolist() for k in range(len(rows))],
        "sensitivity": m["sensitivity"][rows].tolist(), "change": (m["loo_mean"] - m["mean"])[rows].tolist(),
        "warnings": [str(each) for each in m.summary().warnings], "distance": m.provenance.description.distance,
        "sum": float(m["leverage"].sum()),
    }  # fmt: skip


def agreement(name: str, lines: list[dict[str, Any]]) -> str:
    """A line of the table."""
    before, after, change = (np.array([line[key] for line in lines]) for key in ("with", "without", "change"))
    moves = after - before  # [seeds, rows, classes]
    truth, spread = moves.mean(0), moves.std(0, ddof=1) / math.sqrt(len(lines))
    size, error = np.abs(truth).sum(1), np.abs(spread).sum(1)
    other = np.abs(before - np.roll(before, 1, 0)).sum(2).mean(0)  # another seed, the same data
    one_map, of_all = np.abs(change[0]).sum(1), np.abs(change.mean(0)).sum(1)
    half = [np.abs(part.mean(0)).sum(1) for part in (moves[::2], moves[1::2])]
    slopes = " / ".join(f"{s @ size / (size @ size):.2f}" for s in (one_map, of_all))
    ranks = " / ".join(f"{spearmanr(s, size).statistic:.2f}" for s in (one_map, of_all))
    right, distance = (np.mean([line[key] for line in lines]) for key in ("right", "distance"))
    warned = np.mean([bool(line["warnings"]) for line in lines])
    return (
        f"| {name} | {right:.1%} | {distance:.1f} | {warned:.0%} | {np.median(size):.3f} ± {np.median(error):.3f} | "
        f"{np.median(other):.3f} | {slopes} | {ranks} | {spearmanr(*half).statistic:.2f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--k", type=int, default=20)
    parser.add_argument("--recipe", choices=RECIPES, action="append")
    parser.add_argument("--path", type=Path, required=True)
    a = parser.parse_args()
    torch.set_num_threads(1)
    done = [json.loads(line) for line in a.path.read_text().splitlines()] if a.path.exists() else []
    print("| recipe | right on others | distance, sd | warned | true change (median ± se) | another seed | "
          "slope, one map / mean of all | ρ, one map / mean of all | ρ of two halves of the truth |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|")
    for name in a.recipe or RECIPES:
        lines = [line for line in done if line["recipe"] == name]
        rows = lines[0]["rows"] if lines else None
        for seed in range(len(lines), a.seeds):
            if rows is None:
                rows = in_turn(mapped(trained(RECIPES[name], 0, []).network(0))["sensitivity"], a.k)
            lines.append(one(name, seed, rows))
            with a.path.open("a") as file:
                print(json.dumps(lines[-1]), file=file)
        print(agreement(name, lines), flush=True)


if __name__ == "__main__":
    main()
