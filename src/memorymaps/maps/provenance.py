"""Provenance of a map: posterior, estimator, data fingerprint and versions."""

from __future__ import annotations

import dataclasses
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from typing import Any

from memorymaps.core.perturbation.estimators import CODES, Estimator
from memorymaps.posteriors.contract import Description


@dataclass(frozen=True)
class Agreement:
    """Of estimates `s [k]` with true values `t [k]`: `sᵀt/tᵀt`, `‖s − t‖/‖t‖`, Spearman's ρ, `‖t‖/√k`."""

    slope: float
    relative_error: float
    spearman: float
    typical: float


@dataclass(frozen=True)
class Retrained:
    """What `retrain_check` found: agreement of sensitivities and of left-out changes of the loss, and the drift."""

    examples: int
    drift: float
    sensitivity: Agreement
    loo_loss: Agreement

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Retrained:
        """The inverse of `dataclasses.asdict`."""
        made = {name: Agreement(**values[name]) for name in ("sensitivity", "loo_loss")}
        return cls(**{**values, **made})


@dataclass(frozen=True)
class Provenance:
    """The posterior's own description, the estimator, and a fingerprint of the data.

    Attributes
    ----------
    description : the posterior's description.
    estimator : how deviations and changes of the mean were estimated.
    n : number of training examples, also if the map has only some of them.
    outputs : number of outputs `c`.
    fingerprint : hash of ids, targets and weights, in order.
    versions : versions of the packages used.
    weights_are_precisions : whether an example of weight `w` is one observation of dispersion `φ/w`; else `w` examples.
    loss_is_density : whether `exp(−loss)` is a probability or density; else only differences of losses have a meaning.
    inputs : hash of inputs and offsets; empty if they differ between passes, and in maps of earlier versions.
    model_state : hash of the model's parameters; empty for kinds of models without `parameters_of`.
    retrained : what `retrain_check` found, in the map that it returns.
    """

    description: Description
    estimator: Estimator
    n: int
    outputs: int
    fingerprint: str
    versions: Mapping[str, str]
    weights_are_precisions: bool = False
    loss_is_density: bool = True
    inputs: str = ""
    model_state: str = ""
    retrained: Retrained | None = None

    def to_dict(self) -> dict[str, Any]:
        """As numbers, strings, lists and dicts, for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Provenance:
        """The inverse of `to_dict`, also after a trip through JSON."""
        known = {field.name for field in dataclasses.fields(Description)}
        facts = {key: _as_tuples(value) for key, value in values["description"].items() if key in known}
        made: dict[str, Any] = {"description": Description(**facts), "estimator": Estimator(**values["estimator"])}
        if values.get("retrained"):
            made["retrained"] = Retrained.from_dict(values["retrained"])
        return cls(**{**values, **made})


def upgraded(values: Any) -> Any:
    """Provenance read from a file, with keys and estimator codes of version 0.1 replaced by the current ones."""
    if not isinstance(values, dict) or not isinstance(values.get("description"), dict):
        return values
    facts, values = dict(values["description"]), dict(values)
    if "bends" in facts:
        facts["nonlinear"] = facts.pop("bends")
    if facts.get("form") in CODES:
        facts["estimator"] = CODES[facts.pop("form")].name
    if values.get("form") in CODES:
        values["estimator"] = dataclasses.asdict(CODES[values.pop("form")])
    return {**values, "description": facts}


def _as_tuples(value: Any) -> Any:
    return tuple(map(_as_tuples, value)) if isinstance(value, (list, tuple)) else value


@cache
def _distributions() -> Mapping[str, list[str]]:
    """Mapping from import names to distributions; cached, as reading it is slow."""
    return metadata.packages_distributions()


_OTHER_NAMES = {"sklearn": "scikit-learn"}  # distributions that are not named as what is imported


@cache
def _version(package: str) -> tuple[str, str] | None:
    """The distribution that an import name comes from, and its version; `None` where there is none."""
    if package in sys.stdlib_module_names:
        return None
    try:
        found = metadata.distribution(_OTHER_NAMES.get(package, package))
    except metadata.PackageNotFoundError:
        names = _distributions().get(package, ())
        return (names[0], metadata.version(names[0])) if names else None
    return found.metadata["Name"], found.version


def versions(model: object) -> dict[str, str]:
    """Versions of Python, of this package and of the packages the model's class comes from."""
    packages = ["memorymaps", "numpy", *sorted({kind.__module__.partition(".")[0] for kind in type(model).__mro__})]
    found = (_version(package) for package in packages)
    return {"python": platform.python_version(), **dict(each for each in found if each is not None)}
