"""Ordinary uses of every family: are they refused, warned of, and right by refits?

A use is right where sensitivities and left-out losses of the 10 most sensitive and 15 random examples have a slope
within 1 ± 0.15 against refits and a relative error of at most 0.3. Warned: `summary().warnings`, or a Python warning of
`memory_map`. A map that is right and warned of is a false alarm; one that is wrong and not warned of is silent. Truth:
`references.py`, refits to tight tolerances without one example; trees, boosting: the library's own refits; networks,
perceptrons (5 most sensitive, 7 random): `network_references.py`, the optimum near the trained weights in double
precision, and the same without one example. Results are kept in `--keep`, one line a use: a stopped run goes on.

    MEMORYMAPS_DATA=… python benchmarks/fidelity/ordinary_uses.py --keep uses.jsonl [--only TEXT] [--table]
"""

from __future__ import annotations

import argparse
import importlib
import json
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ordinary.use import FEW, MANY, NEARBY, Fitted, Use

import memorymaps as mm

MODULES = ("sklearn_uses", "statsmodels_uses", "boosting_uses", "network_uses")
SLOPE, ERROR = 0.15, 0.3
FEWEST = 0.4  # share of the refits that must converge: below, nothing can be said


def uses() -> Iterator[Use]:
    """All uses, library by library."""
    for name in MODULES:
        for source in importlib.import_module(f"ordinary.{name}").SOURCES:
            yield from source()


def chosen(sensitivity: np.ndarray, top: int, random: int) -> np.ndarray:
    """The most sensitive examples and random others."""
    order = np.argsort(-np.nan_to_num(sensitivity, nan=np.inf), kind="stable")
    rest = np.random.default_rng(0).permutation(order[top:])[:random]
    return np.sort(np.concatenate([order[:top], rest]))


def line_through_origin(estimate: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Slope through the origin and relative error; where nothing changes, 1 and the error itself."""
    size = float(truth @ truth)
    if not size > 1e-24:
        return 1.0, float(np.linalg.norm(estimate))
    return float(estimate @ truth / size), float(np.linalg.norm(estimate - truth) / np.sqrt(size))


def is_right(slope: float, error: float) -> bool:
    return abs(slope - 1) <= SLOPE and error <= ERROR


def mapped(fitted: Fitted, polish: bool) -> tuple[mm.MemoryMap, list[str], float]:
    """The map, the warnings of Python, and CPU seconds."""
    start = time.process_time()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        m = fitted.map(**({"polish": True} if polish else {}))
    return m, [f"Python: {each.message}" for each in caught], time.process_time() - start


def compared(m: mm.MemoryMap, fitted: Fitted, count: tuple[int, int]) -> dict:
    """Slope and error of sensitivities and of left-out losses against the use's reference."""
    rows = chosen(m["sensitivity"], *count)
    before, after = fitted.reference(m, rows)
    at = m.origin.batch_statistics(m.origin.examples.take(rows))
    mean = at.likelihood.mean
    truth = np.abs(mean(after) - mean(before)).sum(1)
    found, loss = m["sensitivity"][rows], m["loo_loss"][rows]
    true_loss = at.likelihood.example_loss(after, at.y, at.weight)
    known = np.isfinite(truth)
    both = known & np.isfinite(found)
    sizes, undefined = line_through_origin(found[both], truth[both]), int(np.count_nonzero(known & ~both))
    both &= np.isfinite(loss) & np.isfinite(true_loss)
    losses = line_through_origin(loss[both], true_loss[both])
    return {"sizes": sizes, "losses": losses, "undefined": undefined, "known": int(np.count_nonzero(known))}


def study(use: Use, polish: bool) -> dict:
    """What one use gives, as plain numbers and texts."""
    found: dict = {"name": use.name, "family": use.family, "truth": use.truth}
    fitted = use.fit()
    try:
        m, said, seconds = mapped(fitted, polish)
    except Exception as error:  # refused, by whatever error: that is what is counted
        return found | {"refused": f"{type(error).__name__}: {error}"}
    refitted = int(m["refitted"].sum()) if "refitted" in m else 0
    facts = {"n": len(m), "distance": m.provenance.description.distance, "refitted": refitted, "seconds": seconds}
    return found | facts | compared(m, fitted, use.rows) | {"warnings": [*m.summary().warnings, *said]}


def verdict(result: dict) -> str:
    """`refused`, `no truth` where most refits do not converge, or right or wrong and warned or silent."""
    if "refused" in result:
        return "refused"
    if result["known"] < FEWEST * sum(FEW if result["truth"] == NEARBY else MANY):
        return "no truth"
    right = is_right(*result["sizes"]) and is_right(*result["losses"]) and not result["undefined"]
    return f"{'right' if right else 'wrong'}, {'warned' if result['warnings'] else 'silent'}"


def line(result: dict) -> str:
    cells = [result["name"], verdict(result)]
    if "refused" in result:
        return "| " + " | ".join([*cells, "", "", "", "", "", result["refused"][:160]]) + " |"
    numbers = [f"{value:.2f}" for value in (*result["sizes"], *result["losses"])]
    distance = "" if result["distance"] is None else f"{result['distance']:.2g}"
    said = "; ".join(text[:90] for text in result["warnings"])
    return "| " + " | ".join([*cells, *numbers, distance, str(result["refitted"]), said]) + " |"


def table(results: list[dict]) -> str:
    """Counts by family, and over all."""
    heads = ("refused", "right, silent", "right, warned", "wrong, warned", "wrong, silent", "no truth")
    rows = ["| family | uses | " + " | ".join(heads) + " | warned among right |", "|" + "---|" * (len(heads) + 3)]
    families = [*dict.fromkeys(result["family"] for result in results), "all"]
    for family in families:
        counts = Counter(verdict(r) for r in results if family in ("all", r["family"]))
        alarms, right = counts["right, warned"], counts["right, warned"] + counts["right, silent"]
        share = f"{alarms / right:.1%}" if right else ""
        rows.append(f"| {family} | {counts.total()} | " + " | ".join(str(counts[h]) for h in heads) + f" | {share} |")
    return "\n".join(rows)


def kept(path: Path | None) -> dict[str, dict]:
    if path is None or not path.exists():
        return {}
    return {result["name"]: result for result in map(json.loads, path.read_text().splitlines())}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--polish", action="store_true", help="the maps at the optimum of the objective")
    parser.add_argument("--table", action="store_true", help="only what is kept")
    options = parser.parse_args()
    done = kept(options.keep)
    for use in () if options.table else uses():
        if use.name in done or options.only not in f"{use.family}: {use.name}":
            continue
        done[use.name] = study(use, options.polish)
        print(line(done[use.name]), flush=True)
        if options.keep:
            with options.keep.open("a") as file:
                file.write(json.dumps(done[use.name], default=float) + "\n")
    results = [result for result in done.values() if options.only in f"{result['family']}: {result['name']}"]
    print("\n".join(map(line, sorted(results, key=verdict))) if options.table else "", table(results), sep="\n\n")


if __name__ == "__main__":
    main()
