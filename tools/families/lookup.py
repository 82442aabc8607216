"""Names of the package that are not at its top level, found wherever their module is.

`find("Poisson")` reads the package's source for a top-level `class Poisson` or `def Poisson` and imports that module,
so that the same script runs before and after modules move. A name that has changed gets its other spelling in `NAMES`.
"""

from __future__ import annotations

import functools
import importlib
import re
from pathlib import Path
from typing import Any

import memorymaps

# name used in this folder → spellings that the package may have, tried in order
NAMES: dict[str, tuple[str, ...]] = {
    "Bernoulli": ("Bernoulli",),
    "BetaBernoulli": ("BetaBernoulli",),
    "BoostedTrees": ("BoostedTrees",),
    "Categorical": ("Categorical",),
    "DirichletCategorical": ("DirichletCategorical",),
    "Draws": ("Draws",),
    "Expected": ("Expected", "ExpectedLikelihood"),
    "GammaPoisson": ("GammaPoisson",),
    "Gaussian": ("Gaussian",),
    "NormalMean": ("NormalMean",),
    "NormalWishart": ("NormalWishart",),
    "Poisson": ("Poisson",),
    "Sampler": ("Sampler",),
    "StateSpace": ("StateSpace",),
    "Tracker": ("Tracker",),
    "Variational": ("Variational",),
    "VariationalNewton": ("VariationalNewton",),
    "ensemble": ("ensemble",),
    "events": ("events", "learning_events"),
    "for_cleanlab": ("for_cleanlab",),
    "from_arviz": ("from_arviz",),
    "half_steps": ("half_steps",),
    "influence_table": ("influence_table",),
    "loo_predictive": ("loo_predictive",),
    "mc_dropout": ("mc_dropout",),
    "memorisation_speed": ("memorisation_speed", "memorization_speed"),
    "newton": ("newton",),
    "online_newton": ("online_newton",),
    "psis": ("psis",),
    "rule_at": ("rule_at", "learning_rule_at"),
    "rule_of": ("rule_of",),
    "snapshots": ("snapshots",),
    "von": ("von",),
}


@functools.cache
def _sources() -> dict[str, str]:
    """Module name → source text, of the whole package."""
    folder = Path(memorymaps.__file__).parent
    found = {}
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text(encoding="utf-8")
    return found


def _homes(spelling: str) -> list[str]:
    pattern = re.compile(rf"^(?:class|def) {re.escape(spelling)}\b", re.MULTILINE)
    return [module for module, text in _sources().items() if pattern.search(text)]


def find(name: str) -> Any:
    """The class or function of this name.

    Raises
    ------
    LookupError
        No module, or more than one, defines any of its spellings.
    """
    for spelling in NAMES[name]:
        homes = _homes(spelling)
        if len(homes) > 1:
            raise LookupError(f"{spelling} is defined in {homes}: expected one module")
        if homes:
            return getattr(importlib.import_module(homes[0]), spelling)
    raise LookupError(f"no module of memorymaps defines {' or '.join(NAMES[name])}: add its new spelling to NAMES")
