"""Which score finds wrong labels: average precision on digits some of whose labels were flipped.

python benchmarks/fidelity/flipped_labels.py
"""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score

import memorymaps as mm

SCORES = ("sensitivity", "leverage", "error", "loss", "loo_loss")
SEEDS = 3


def average_precisions(C: float, part: float, seed: int) -> list[float]:
    """Average precision of every score as a detector of the flipped labels."""
    x, y = load_digits(return_X_y=True)
    rng, k = np.random.default_rng(seed), int(part * len(y))
    flipped = rng.choice(len(y), k, replace=False)
    noisy = y.copy()
    noisy[flipped] = (y[flipped] + rng.integers(1, 10, k)) % 10
    m = mm.memory_map(LogisticRegression(C=C, tol=1e-6, max_iter=5000).fit(x / 16, noisy), x / 16, noisy)
    truth = np.isin(np.arange(len(y)), flipped)
    return [float(average_precision_score(truth, m[score])) for score in SCORES]


def main() -> None:
    """Print the table."""
    print(f"| C | labels flipped | {' | '.join(SCORES)} |")
    print("|---" * (2 + len(SCORES)) + "|")
    for C in (0.01, 0.1, 1.0, 10.0):
        for part in (0.01, 0.05, 0.1):
            found = np.mean([average_precisions(C, part, seed) for seed in range(SEEDS)], axis=0)
            print(f"| {C:g} | {part:.0%} | {' | '.join(f'{value:.2f}' for value in found)} |", flush=True)


if __name__ == "__main__":
    main()
