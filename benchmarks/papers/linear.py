"""Residual–leverage plots of six classic regressions with Cook's contours [CW; MM]; the literature's examples named.

Full command and the one used are the same (a second):

    MEMORYMAPS_DATA=… python benchmarks/papers/linear.py

The maps are kept (`--out`/linear/*.parquet) and drawn from there; a table says whether the examples that the
literature names are those with the largest Cook's distance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import statsmodels.api as sm
from data import table
from matplotlib import pyplot as plt
from setting import kept, parser

import memorymaps as mm
from memorymaps import measures
from memorymaps.viz.displays.style import GREY, PALETTE, style_context


@dataclass(frozen=True)
class Classic:
    """A regression on all other numeric columns, and the examples named in the literature."""

    name: str
    target: str
    named: tuple[str, ...]
    source: str


CLASSICS = (
    Classic("stackloss", "stack.loss", ("21", "4", "1", "3"), "Brownlee 1965; Daniel & Wood 1971: 1, 3, 4, 21"),
    Classic("delivery_time", "delTime", ("9", "22"), "Montgomery & Peck 1982: 9, 22"),
    Classic("duncan", "prestige", ("minister", "conductor", "reporter"), "Fox 1991: minister, conductor, reporter"),
    Classic("life_cycle_savings", "sr", ("Libya", "Japan"), "Belsley, Kuh & Welsch 1980: Libya, Japan"),
    Classic("stars_cyg", "log.light", ("11", "20", "30", "34"), "Rousseeuw & Leroy 1987: 11, 20, 30, 34 (giants)"),
    Classic("longley", "Employed", ("1951", "1962"), "Cook 1977: 1951, 1962"),
)


def regression(classic: Classic) -> mm.MemoryMap:
    """The map of least squares; ids are the names of the cases."""
    frame = table(classic.name)
    inputs = sm.add_constant(frame.drop(columns=classic.target).select_dtypes("number").astype(float))
    fit = sm.OLS(frame[classic.target].astype(float), inputs).fit()
    return mm.memory_map(fit, ids=[str(case) for case in frame.index])


def draw(m: mm.MemoryMap, classic: Classic, ax: plt.Axes) -> None:
    """Leverage and standardised residual, contours of Cook's distance ½ and 1, the named examples labelled."""
    h, t = measures.hat_values(m), measures.internally_studentised(m)
    ax.axhline(0, lw=0.6, color=GREY)
    ax.plot(h, t, "o", ms=3.5, mew=0, color=PALETTE[0])
    x, p = np.linspace(1e-3, min(0.999, 1.15 * h.max()), 200), m.provenance.description.rank
    edge = 1.2 * np.abs(t).max()
    for level, dash in ((0.5, "--"), (1.0, "-")):
        y = np.sqrt(level * p * (1 - x) / x)
        for sign in (1, -1):
            ax.plot(
                x, sign * y, dash, lw=0.7, color=PALETTE[1], label=f"Cook's distance {level:g}" if sign > 0 else None
            )
    for row, case in enumerate(m["id"]):
        if case in classic.named:
            ax.plot(h[row], t[row], "o", ms=3.5, mew=0, color=PALETTE[1])
            right = h[row] > 0.6 * x[-1]
            ax.annotate(
                case, (h[row], t[row]), xytext=(-4 if right else 4, 3), textcoords="offset points",
                ha="right" if right else "left", fontsize=8,
            )  # fmt: skip
    ax.set(xlim=(0, x[-1]), ylim=(-edge, edge), title=classic.name.replace("_", " "))


def main() -> None:
    args = parser(__doc__).parse_args()
    out = args.out / "linear"
    with style_context():
        figure, axes = plt.subplots(2, 3, figsize=(8.4, 5.0), layout="constrained")
        print("| data | n | named in | largest Cook's distances | their ranks of the named |\n|---|---|---|---|---|")
        for classic, ax in zip(CLASSICS, axes.flat, strict=True):
            m = kept(out / f"{classic.name}.parquet", lambda c=classic: regression(c))
            draw(m, classic, ax)
            distance = measures.cooks_distance(m)
            order = [str(case) for case in m["id"][np.argsort(-distance)]]
            largest = ", ".join(f"{case}: {d:.3f}" for case, d in zip(order, np.sort(distance)[::-1][:4], strict=False))
            ranks = ", ".join(f"{case} {order.index(case) + 1}" for case in classic.named)
            print(f"| {classic.name} | {len(m)} | {classic.source} | {largest} | {ranks} |")
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper right", ncols=2)
        figure.supxlabel("leverage", fontsize=9)
        figure.supylabel("standardised residual", fontsize=9)
        figure.savefig(out / "linear.png", dpi=110)


if __name__ == "__main__":
    main()
