"""Maps in threads, and many in a row: the same numbers, and nothing left behind.

    python benchmarks/many_maps.py [--threads 8] [--rounds 3] [--row 200]

First every family's map is drawn once; then `--threads` threads draw maps of all families at once and every column is
compared bit for bit. Then maps of each family are drawn in a row: the slope of memory over the second half,
temporary files and threads.
"""

from __future__ import annotations

import argparse
import copy
import gc
import os
import tempfile
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.svm import SVC
from torch import nn

import memorymaps as mm

X, Y = load_digits(return_X_y=True)
X, Y = X[:300] / 16, Y[:300] % 3
Draw = Callable[[], mm.MemoryMap]


def network(structure: str) -> Draw:
    """Maps of a small trained network, each of a copy of its own."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 3)).double()
    x, y = torch.tensor(X), torch.tensor(Y)
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        total = nn.functional.cross_entropy(net(x), y) + 5e-3 * sum(p.square().sum() for p in net.parameters())
        total.backward()
        return total

    optimizer.step(loss)
    recipe = mm.Laplace(structure, prior=3.0)
    return lambda: mm.memory_map(copy.deepcopy(net), x, y, likelihood="categorical", posterior=recipe)


def estimator(model: Any, y: Any = Y) -> Draw:
    """Maps of one fitted estimator."""
    fitted = model.fit(X, y)
    return lambda: mm.memory_map(fitted, X, y)


def families() -> dict[str, Draw]:
    """Name and how its map is drawn."""
    return {
        "ridge": estimator(Ridge(), Y + X[:, 20]),
        "logistic": estimator(LogisticRegression()),
        "svm": estimator(SVC()),
        "forest": estimator(RandomForestRegressor(10, random_state=0), Y + X[:, 20]),
        "network, kfac": network("kfac"),
        "network, dual": network("dual"),
    }


def in_threads(draws: dict[str, Draw], count: int, rounds: int) -> int:
    """Maps of threads that differ from those drawn one after another."""
    serial = {name: draw().table for name, draw in draws.items()}
    tasks = [name for _ in range(rounds) for _ in range(count) for name in draws]
    with ThreadPoolExecutor(count) as pool:
        found = list(pool.map(lambda name: draws[name]().table, tasks))
    different = [name for name, table in zip(tasks, found, strict=True) if not table.equals(serial[name])]
    print(
        f"{len(tasks)} maps in {count} threads: {len(different)} differ from the serial ones {sorted(set(different))}"
    )
    return len(different)


def resident() -> float:
    """Memory of this process, kB."""
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e3


def in_a_row(name: str, draw: Draw, count: int) -> bool:
    """Whether nothing is left behind; the slope is printed."""
    draw()
    threads = threading.active_count()
    memory = []
    for _ in range(count):
        draw()
        memory.append(resident())
    half = memory[count // 2 :]
    slope = np.polyfit(np.arange(len(half)), half, 1)[0]
    left = list(Path(tempfile.gettempdir()).iterdir())
    more = threading.active_count() - threads
    print(f"{name:14s} {count} maps: {memory[0] / 1e3:.0f} → {memory[-1] / 1e3:.0f} MB, slope {slope:+.1f} kB a map, "
          f"{len(left)} files, {more} threads left")  # fmt: skip
    return not left and more <= 0 and slope < 50


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3, help="maps of every family in each thread")
    parser.add_argument("--row", type=int, default=200, help="maps of every family in a row")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    draws = families()
    with tempfile.TemporaryDirectory() as folder:
        tempfile.tempdir = folder
        different = in_threads(draws, args.threads, args.rounds)
        clean = [in_a_row(name, draw, args.row) for name, draw in draws.items()]
    return int(different > 0 or not all(clean))


if __name__ == "__main__":
    raise SystemExit(main())
