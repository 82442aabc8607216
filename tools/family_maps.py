"""Draw one small map of every model family and write all its numbers down: `python tools/family_maps.py FOLDER`.

One compressed NumPy file a family, its entries named `form/what/column`: every column of the table, leave-one-out
averages, removal of groups, classical measures, the summary's words, refinement, refits and retraining. What a family
refuses is an entry too. `python tools/compare_family_maps.py A B` says whether two such folders are equal bit for bit.
"""

from __future__ import annotations

import argparse
import dataclasses
import random
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from families import draws, kernels, linear, meta, networks, optimizers, trees
from families.family import Call, Families
from families.lookup import find
from families.runs import RUNS
from threadpoolctl import threadpool_limits

import memorymaps as mm

FAMILIES: Families = {
    name: make
    for part in (linear, trees, kernels, meta, draws, networks, optimizers)
    for name, make in part.FAMILIES.items()
}
# drawn in every form, and retrained: one family or two of every kind of posterior
THOROUGH = frozenset(
    {
        "sklearn LinearRegression", "sklearn Ridge two targets", "sklearn LogisticRegression three",
        "sklearn HuberRegressor", "sklearn MLPClassifier three classes", "sklearn MLPRegressor tanh",
        "statsmodels GLM Poisson", "statsmodels PHReg efron", "statsmodels OrderedModel logit",
        "rule von full Poisson", "trees RandomForestClassifier", "trees HistGradientBoostingClassifier three",
        "kernels SVC", "kernels GaussianProcessClassifier", "kernels KernelRidge", "gpytorch exact",
        "gpytorch SVGP bernoulli", "meta pipeline Ridge", "meta pipeline MLPRegressor", "meta GridSearchCV",
        "meta TransformedTargetRegressor", "meta MultiOutputRegressor", "draws gaussian psis",
        "conjugate DirichletCategorical", "conjugate NormalMean vector", "state space two outputs",
        "laplace full categorical", "laplace kfac categorical", "laplace dual categorical",
        "laplace full gaussian two", "laplace full directions", "laplace dual directions",
        "laplace auto categorical", "optimizer Adam", "optimizer VariationalNewton",
    }
)  # fmt: skip
FORMS = ("P", "P-sm", "F", "F-sm", "R", "R-sm", "R/F-sm", "I", "I-sm")
Entries = Iterator[tuple[str, Any]]


def plain(values: Any) -> np.ndarray:
    """An array that NumPy writes without pickle: texts as fixed-width Unicode."""
    found = np.asarray(values)
    return found.astype(str) if found.dtype == object else found


def attempt(name: str, entries: Callable[[], Entries]) -> Entries:
    """The entries, or one that says which refusal came instead."""
    try:
        found = [(f"{name}/{key}", value) for key, value in entries()]
    except (ValueError, TypeError, KeyError, AttributeError, ImportError, np.linalg.LinAlgError) as error:
        found = [(f"{name}/refused", f"{type(error).__name__}: {error}")]
    yield from found


def table(m: mm.MemoryMap) -> Entries:
    """Every column of the map."""
    yield from ((name, m[name]) for name in m)


def facts(m: mm.MemoryMap) -> Entries:
    """Numbers of the provenance, and all its text as words."""
    known = dataclasses.asdict(m.provenance.description)
    for name, value in known.items():
        number = isinstance(value, (bool, int, float)) or (isinstance(value, tuple) and name == "dispersion")
        yield (f"numbers/{name}" if number else f"words/{name}"), str(value) if not number else value
    yield "numbers/n", m.provenance.n
    yield "numbers/outputs", m.provenance.outputs
    yield "numbers/fingerprint", m.provenance.fingerprint
    yield "words/form", str(m.provenance.estimator)
    yield "words/summary", str(m.summary())


def groups(m: mm.MemoryMap, labels: Any) -> Entries:
    """Removal of groups: every column."""
    found = m.leave_out(labels).to_pandas()
    yield from ((str(name), found[name].to_numpy()) for name in found.columns)


def measures(m: mm.MemoryMap) -> Entries:
    """The classical measures."""
    found = find("influence_table")(m)
    yield from ((str(name), found[name].to_numpy()) for name in found.columns)


def predictive(m: mm.MemoryMap) -> Entries:
    """Leave-one-out predictive distributions."""
    found = find("loo_predictive")(m)
    yield from ((name, getattr(found, name)) for name in ("mean", "variance", "log_density"))


def cleanlab(m: mm.MemoryMap) -> Entries:
    """Labels and leave-one-out probabilities."""
    yield from find("for_cleanlab")(m).items()


def retrained(m: mm.MemoryMap) -> Entries:
    """The model's own retraining of two examples."""
    found = mm.retrain_check(m, k=2, progress=False)
    yield from ((str(name), values.to_numpy()) for name, values in found.to_pandas().items())
    yield "drift", found.drift
    yield "slope", found.slope


def few(values: Any) -> bool:
    """Whether a target has at most five different values."""
    return np.ndim(values) == 1 and len(np.unique(values)) <= 5


def default(m: mm.MemoryMap) -> Entries:
    """All that a map of the default form is asked for."""
    yield from attempt("table", lambda: table(m))
    yield from attempt("facts", lambda: facts(m))
    yield from attempt("leave_out thirds", lambda: groups(m, np.arange(len(m)) % 3))
    if few(m["target"]):
        yield from attempt("leave_out target", lambda: groups(m, "target"))
    yield from attempt("measures", lambda: measures(m))
    yield from attempt("predictive", lambda: predictive(m))
    yield from attempt("cleanlab", lambda: cleanlab(m))
    yield from attempt("refined", lambda: table(mm.refine(m, top=3, progress=False)))
    yield from attempt("refitted", lambda: table(mm.refit(m, top=1, steps=6, progress=False)))


def drawn(made: Call, form: str | None) -> mm.MemoryMap:
    """The map of one form; None: the posterior's own."""
    return mm.memory_map(*made.args, **{**made.options, "estimator": form, "progress": False})


def averages(m: mm.MemoryMap) -> Entries:
    """Leave-one-out averages."""
    yield from dataclasses.asdict(m.leave_one_out()).items()


def entries(name: str, made: Call) -> Entries:
    """All entries of a family; the default form must be drawn, others may be refused."""
    m = drawn(made, None)
    yield from ((f"default/{key}", value) for part in (averages, default) for key, value in part(m))
    if name in THOROUGH:
        yield from attempt("default/retrained", lambda: retrained(m))
        for form in FORMS:
            yield from attempt(form, lambda form=form: table(drawn(made, form)))


def seed() -> None:
    """The same random numbers whatever was run before."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


def family(name: str, make: Callable[[], Call]) -> dict[str, np.ndarray]:
    """All entries of a family as arrays."""
    return {key: plain(value) for key, value in entries(name, make())}


def write(name: str, make: Callable[[], dict[str, np.ndarray]], folder: Path) -> float:
    """One family's file; returns its seconds of processor time."""
    seed()
    start = time.process_time()
    np.savez_compressed(folder / f"{name.replace(' ', '_').replace('/', '-')}.npz", **make())
    return time.process_time() - start


def jobs() -> dict[str, Callable[[], dict[str, np.ndarray]]]:
    """Name → entries, of all families and runs."""
    made = {name: (lambda name=name, make=make: family(name, make)) for name, make in FAMILIES.items()}
    runs = {name: (lambda run=run: {k: plain(v) for k, v in run().items()}) for name, run in RUNS.items()}
    return made | runs


def main() -> None:
    """Write the maps of all families, or of those whose name contains a word."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="", metavar="WORD", help="families whose name contains this")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    unknown = THOROUGH - FAMILIES.keys()
    if unknown:
        raise LookupError(f"THOROUGH names no families: {sorted(unknown)}")
    with threadpool_limits(1):
        for name, make in jobs().items():
            if options.only in name:
                print(f"{write(name, make, options.folder):6.2f} s  {name}", flush=True)


if __name__ == "__main__":
    main()
