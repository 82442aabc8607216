"""How many passes over the data `refine` and `refit` take from sampled curvature, from EKFAC and from the prior alone.

A network of `networks/sampled.py` on real images, 5 % of the labels drawn at random, trained to a minimum. `refine`:
conjugate gradients for the 30 most sensitive examples, each pass a product with the exact curvature without the
example; passes until all, and until half of them, have a relative residual of 10⁻², and the largest residual after 10
and 20. `refit`: L-BFGS without each of the `--refits` most sensitive; passes are evaluations of the loss and its
gradient. Processor seconds.

    MEMORYMAPS_DATA=… python benchmarks/networks/sampled_refine.py --data fmnist --n 800 --weights lenet.pt
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sampled import NETWORKS, data, trained

import memorymaps as mm
from memorymaps.nets.curvature.structure import prior_covariance
from memorymaps.nets.refit import influence
from memorymaps.nets.refit.objective import LeaveOutObjective
from memorymaps.nets.sampled.structure import Sampled

TOP, STEPS, TOLERANCE = 30, 40, 1e-2


@contextmanager
def residuals() -> Iterator[list[torch.Tensor]]:
    """The norms of the residuals before each step, `[groups]`, of what is solved meanwhile."""
    found: list[torch.Tensor] = []
    made = influence.preconditioner_without

    def recorded(*given: Any) -> Callable[[torch.Tensor], torch.Tensor]:
        solve = made(*given)

        def precondition(r: torch.Tensor) -> torch.Tensor:
            found.append(r.norm(dim=-1))
            return solve(r)

        return precondition

    influence.preconditioner_without = recorded  # type: ignore[assignment]
    try:
        yield found
    finally:
        influence.preconditioner_without = made


def refined(source: Any, rows: np.ndarray, steps: int) -> str:
    """Passes until all and until half have converged, the largest residual after 10 and 20, and seconds."""
    start = time.process_time()
    with residuals() as norms:
        source.parameter_change([np.array([row]) for row in rows], steps, TOLERANCE)
    relative = torch.stack(norms) / norms[0]
    done = relative.cummin(0).values <= TOLERANCE
    passes = [_first(done.double().mean(1) >= part, steps) for part in (1.0, 0.5)]
    after = [f"{float(relative[min(k, len(relative) - 1)].max()):.1e}" for k in (10, 20)]
    return f"{passes[0]} | {passes[1]} | {' / '.join(after)} | {time.process_time() - start:.0f}"


def _first(true: torch.Tensor, steps: int) -> str:
    return str(int(true.to(torch.uint8).argmax())) if bool(true.any()) else f"> {steps}"


def refitted(source: Any, rows: np.ndarray) -> str:
    """Passes of each refit after the common minimum was found, and seconds of all."""
    counts, value = [0], LeaveOutObjective.__call__

    def counted(self: LeaveOutObjective, theta: Any) -> Any:
        counts[-1] += 1
        return value(self, theta)

    source.refit(np.zeros(0, dtype=int), rows[:1])
    LeaveOutObjective.__call__ = counted  # type: ignore[method-assign]
    start, left = time.process_time(), []
    try:
        for row in rows:
            counts.append(0)
            left.append(source.refit(np.array([row]), np.array([row]))[1])
    finally:
        LeaveOutObjective.__call__ = value  # type: ignore[method-assign]
    missed = sum(each > 0.05 for each in left)
    return f"{np.mean(counts[1:]):.0f} ({max(counts[1:])}) | {missed} | {time.process_time() - start:.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=NETWORKS, default="lenet")
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--n", type=int, default=800)
    parser.add_argument("--delta", type=float, default=20.0)
    parser.add_argument("--rows", type=int, nargs="+", default=[0], help="0: as many as an error of a tenth needs")
    parser.add_argument("--others", nargs="*", default=["ekfac", "none"])
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--refits", type=int, default=0)
    parser.add_argument("--weights", type=Path, help="where the trained weights are kept from run to run")
    a = parser.parse_args()
    torch.manual_seed(0)
    x, y = data(a.data, a.n, False)
    net = NETWORKS[a.network](10)
    trained(net, x, y, a.delta, a.weights)
    print(f"{a.network}, {a.data}, N = {a.n:,}, δ = {a.delta:g}; the {TOP} most sensitive")
    print(
        "| posterior | rows, for solving | passes to 1e-2, all | half | largest residual after 10 / 20 | seconds "
        "| refit: passes, mean (most) | missed | seconds |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    chosen = np.zeros(0, dtype=int)
    for name in [*a.rows, *a.others]:
        structure = Sampled(rows=name or None) if isinstance(name, int) else "ekfac"
        recipe = mm.Laplace(structure, prior=a.delta, probes=0)
        m = mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe, progress=False)
        if not len(chosen):
            chosen = np.argsort(-m["sensitivity"])[:TOP]
        source = m.origin.posterior
        if name == "none":
            source = dataclasses.replace(source, covariance=prior_covariance(source.problem, source.problem.prior))
        again = refitted(source, chosen[: a.refits]) if a.refits else " | | "
        found = refined(source, chosen, a.steps)
        label, rows = name, ""
        if isinstance(name, int):
            label, rows = "sampled", f"{len(source.covariance.q):,}, {len(source.preconditioner.q):,}"
        print(f"| {label} | {rows} | {found} | {again} |", flush=True)


if __name__ == "__main__":
    main()
