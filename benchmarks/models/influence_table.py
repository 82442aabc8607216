"""The whole influence table, DFBETAS included, against statsmodels at the same model and data.

statsmodels' `OLSInfluence` refits the model once for every row to get DFBETAS: its time grows as n², so that the large
n is extrapolated from a measured series (and marked ≈). `GLMInfluence` is measured in full.

    python benchmarks/models/influence_table.py
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import statsmodels.api as sm

import memorymaps as mm
from memorymaps.analysis import measures

P = 10


def data(n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = sm.add_constant(rng.normal(size=(n, P - 1)))
    return x, x @ rng.normal(size=P) + rng.standard_t(4, size=n)


def ours(result) -> tuple[float, np.ndarray]:
    """Seconds for map and table, and DFBETAS."""
    start = time.perf_counter()
    table = measures.influence_table(mm.memory_map(result))
    return time.perf_counter() - start, table.filter(like="dfb").to_numpy()


def theirs(result, **options) -> tuple[float, np.ndarray]:
    start = time.perf_counter()
    table = result.get_influence(**options).summary_frame()
    return time.perf_counter() - start, table.filter(like="dfb").to_numpy()


def ols(n: int):
    x, y = data(n)
    return sm.OLS(y, x).fit()


def logit(n: int):
    x, y = data(n)
    return sm.GLM(np.asarray(y > 0, dtype=float), x, family=sm.families.Binomial()).fit(tol=1e-12)


def line(name: str, n: int, seconds: float, peer: float, mark: str, difference: str) -> None:
    print(
        f"| {name} | {n:,} | {seconds:.2f} | {mark}{peer:.1f} | {mark}{peer / seconds:.0f} × | {difference} |",
        flush=True,
    )


def grow(sizes: list[int], large: int) -> None:
    """OLS: measured at growing n, then the power law of the last two sizes carried on to the large n."""
    ours(ols(sizes[0]))  # the first call imports
    peers = []
    for n in sizes:
        result = ols(n)
        (a, mine), (b, other) = ours(result), theirs(result)
        peers.append(b)
        line("OLS", n, a, b, "", f"{np.max(np.abs(mine - other)):.0e}")
    power = np.log(peers[-1] / peers[-2]) / np.log(sizes[-1] / sizes[-2])
    seconds = ours(ols(large))[0]
    line("OLS", large, seconds, peers[-1] * (large / sizes[-1]) ** power, "≈ ", f"peer's time ∝ n^{power:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=100_000)
    n = parser.parse_args().n
    print("| model | n | map and table, s | statsmodels, s | ratio | largest difference of DFBETAS |")
    print("|---|---|---|---|---|---|")
    grow([1_000, 2_000, 4_000, 8_000, 16_000], n)
    result = logit(n)
    a, mine = ours(result)
    b, other = theirs(result, observed=False)
    line("logistic GLM", n, a, b, "", f"{np.max(np.abs(mine - other)):.0e} (one-step, internal scale)")


if __name__ == "__main__":
    main()
