"""What is no single map: a tracked run, the Bayesian learning rule, two maps compared."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import Ridge

import memorymaps as mm
from families import data as d
from families.linear import learned, target_of
from families.lookup import find
from families.networks import CODE, X, mlp
from families.optimizers import MAKERS, step, trained

Numbers = Mapping[str, Any]


def _frame(name: str, frame: pd.DataFrame) -> dict[str, Any]:
    return {f"{name}/{column}": frame[column].to_numpy() for column in frame.columns if column != "seconds"}


def _tracked(optimizer: str, **options: Any) -> Callable[[], Numbers]:
    def run() -> Numbers:
        net = mlp(3)
        made = MAKERS[optimizer](net.parameters())
        torch.manual_seed(2)
        with tempfile.TemporaryDirectory() as folder:
            given = {"every": 4, "likelihood": "categorical", "path": Path(folder) / "run", "test": (X[:9], CODE[:9])}
            with find("Tracker")(net, made, X, CODE, **{**given, **options}) as tracker:
                for _ in range(16):
                    step(net, made)
                    tracker.step()
                return _trajectory(tracker.trajectory())

    return run


def _trajectory(run: Any) -> Numbers:
    found = {f"at {step}/{name}": run.at(step)[name] for step in run.steps for name in run.at(step)}
    found |= _frame("losses", run.losses()) | _frame("cartography", run.cartography())
    found |= _frame("events", find("events")(run)) | _frame("speed", find("memorisation_speed")(run))
    found |= _frame("concentration", run.concentration().rename(columns=str))
    ids, ranks = run.rank_evolution()
    return {**found, "ids": ids, "ranks": ranks, "half_steps": find("half_steps")(run).to_numpy()}


def _rule_of(optimizer: str) -> Callable[[], Numbers]:
    def run() -> Numbers:
        net, made = trained(optimizer)
        recipe = mm.FromOptimizer(made, n=d.N)
        m = mm.memory_map(net, X, CODE, likelihood="categorical", posterior=recipe)
        rule = find("rule_of")(m, recipe)
        return {"natural": rule.natural, "gradients": rule.gradients, "deviation": rule.deviation([3, 7])}

    return run


def _rule_at(name: str, likelihood: str) -> Callable[[], Numbers]:
    def run() -> Numbers:
        rule = find("rule_at")(learned(name, likelihood), d.X, target_of(likelihood))
        return {"natural": rule.natural, "gradients": rule.gradients, "deviation": rule.deviation([3, 7])}

    return run


def _compared() -> Numbers:
    scores = ("leverage", "error", "sensitivity", "loss", "loo_loss")
    a, b = (mm.memory_map(Ridge(alpha=alpha).fit(d.X, d.REAL), d.X, d.REAL) for alpha in (0.1, 5.0))
    found = mm.compare(a, b.filter(np.arange(d.N) > 3))
    numbers = {f"{name}/{s}": getattr(found, name)(s) for name in ("spearman", "overlap", "slope") for s in scores}
    counts = {"only_a": found.only_a, "only_b": found.only_b, "effective_parameters": found.effective_parameters}
    return {**numbers, **counts, **_frame("table", found.to_pandas())}


RUNS: dict[str, Callable[[], Numbers]] = {
    "run Adam": _tracked("Adam"),
    "run Adam every direction": _tracked("Adam", directions=0),
    "run VariationalNewton": _tracked("VariationalNewton"),
    "run Laplace subset": _tracked("SGD", posterior=mm.Laplace("kfac", prior=0.3), subset=12),
    "rule of Adam": _rule_of("Adam"),
    "rule of VariationalNewton": _rule_of("VariationalNewton"),
    "rule at newton": _rule_at("newton", "Poisson"),
    "rule at von diag": _rule_at("von diag", "Categorical"),
    "compare": _compared,
}
