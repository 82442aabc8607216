"""Recipe for the Laplace approximation of a network at its trained parameters.

    Laplace(structure="kfac", subset="all", prior=prior_from(optimizer, n))

`memory_map(net, data, likelihood=…, posterior=Laplace(…))` applies it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.core.likelihoods.categorical import Categorical
from memorymaps.core.likelihoods.exponential_family import Bernoulli, Gaussian, Poisson
from memorymaps.core.likelihoods.heteroscedastic import HeteroscedasticGaussian
from memorymaps.nets.autograd.network import Forward, Network, call_module
from memorymaps.nets.autograd.parameter_blocks import is_matrix_layer
from memorymaps.nets.checks.module_wrappers import unwrapped
from memorymaps.nets.curvature.structure import CurvatureStructure
from memorymaps.nets.curvature.structures import as_structure, with_budget
from memorymaps.nets.laplace_problem import FitOptions
from memorymaps.nets.output_fisher import FISHER_ROOTS
from memorymaps.nets.prior import Prior, as_prior
from memorymaps.nets.sampled.budget import Budget

_LIKELIHOODS: dict[str, type[Likelihood]] = {
    "categorical": Categorical,
    "bernoulli": Bernoulli,
    "gaussian": Gaussian,
    "poisson": Poisson,
    "heteroscedastic": HeteroscedasticGaussian,
}


@dataclass(frozen=True)
class Laplace:
    """Recipe for a network's posterior, `S = Σ_i J_iᵀ Λ_i J_i + diag δ`.

    Parameters
    ----------
    structure : representation of `S`.

        - `"full"` one dense matrix; exact; for some thousand parameters.
        - `"hessian"` adds the residual part of the loss's Hessian, `S + Σ_i Σ_c w_i e_ic ∇²f_ic`; its sizes tend to be
          too small where those of `"full"` are too large, its effects on other predictions (`influence_on`) are nearer
          to retraining; raises an error away from a minimum.
        - `"dual"` the posterior of `"full"` from its Gram matrix, layer by layer; for up to some 10,000 examples ×
          outputs and any number of parameters.
        - `"sampled"`, `Sampled(rows=…, error=0.1)` rows of the weighted Jacobian drawn at random, each example's own
          taken out of its own posterior: sizes, with standard errors, for networks beyond `"full"` and `"dual"`.
        - `"active_set"` exact rows of the `rows` examples with the largest curvature, a diagonal for the others.
        - `"block"` one dense matrix per layer: its weight with its bias; a tied tensor is a block of its own.
        - `"unit_block"` one dense matrix per output unit of a layer.
        - `"ekfac"`, `"kfac"` Kronecker factors per layer, with or without corrected eigenvalues.
        - `"diag"` one number per parameter.
        - `"lowrank"` the `rows` leading eigenvectors of the curvature.
        - `"auto"` the most accurate of these for the size of the problem; the choice and its reason are in the map's
          provenance. If it is one dense matrix and one Newton step is unreliable, the largest sizes are replaced by
          those of `refit`.
    subset : `"all"`, `"last_layer"`, or names (or name prefixes) of parameters. All others are fixed.
    prior : `δ`, a number or `prior_from(optimizer, n)`.
        `"evidence"` fits one `δ` by the marginal likelihood instead [MacKay 1992].
    fisher : `"exact"`, `"leading"` (three directions and a signed sum of the others: for many outputs), `"mc"` (one
        sample) or `"empirical"`. Default: `"exact"`, except where `"auto"` chooses Kronecker factors for a network with
        more than 32 outputs: `"leading"`.
    rows : number of examples (`active_set`; increased if their fraction of the curvature is too small) or eigenvectors
        (`lowrank`). Default: 400.
    directions : number of leading directions of each `Λ`, in addition to the error, along which variances are computed,
        so that the cost does not grow with the number of outputs; 0: all `C × C` variances. Default: 0 up to 32
        outputs, 1 beyond.
    probes : conjugate-gradient probes that check an approximate structure's effective parameters against the exact
        matrix; its map uses the cavity form only where they agree. 0: unverified, first-order form. Default: 8 where
        that takes less than about ten seconds, else 0.
    budget : what `"auto"` may spend on sampled rows, or `"sampled"` on its map: seconds of a core, or `"30 epochs"`
        of training. Default: 120 of `"auto"`, 600 of `"sampled"`. The forecast is printed where progress is shown.
    forward : how to call the network on a batch of inputs; default: a mapping as keywords, a tuple as arguments.
    reduce : for KFAC with shared weights: sum over positions first ("reduce" instead of "expand").

    Raises
    ------
    ValueError
        An unknown structure or Fisher, or a prior that is missing or not positive.

    Examples
    --------
    >>> Laplace("diag", prior=1.0).prior.source
    'δ = 1, given'
    """

    structure: str | CurvatureStructure = "auto"
    subset: str | Iterable[str] = "all"
    prior: Any = None
    fisher: str | None = None
    rows: int | None = None
    probes: int | None = None
    directions: int | None = None
    forward: Forward = call_module
    reduce: bool = False
    budget: Budget | None = None

    def __post_init__(self) -> None:
        if self.fisher not in (None, *FISHER_ROOTS):
            raise ValueError(f"no Fisher {self.fisher!r}: choose one of {', '.join(FISHER_ROOTS)}")
        if (self.rows is not None and self.rows < 1) or (self.probes or 0) < 0:
            raise ValueError(f"rows = {self.rows}, probes = {self.probes}: expected rows ≥ 1 and probes ≥ 0")
        if self.directions is not None and self.directions < 0:
            raise ValueError(f"directions = {self.directions}: expected 0 (all C × C) or the number of directions")
        structure = as_structure(self.structure, self.rows, self.reduce)
        if self.budget is not None:
            structure = with_budget(structure, self.budget)
        object.__setattr__(self, "structure", structure)
        object.__setattr__(self, "prior", as_prior(self.prior))

    @property
    def timed(self) -> str:
        """The budget on whose timing the posterior depends, so that another run has another; empty: none."""
        budget = getattr(self.structure, "budget", None)
        return f"budget={budget!r}" if isinstance(budget, str) else ""

    @property
    def options(self) -> FitOptions:
        """What the fit needs of the recipe, whatever its structure."""
        return FitOptions(self.fisher or "exact", self.probes, self.directions)

    def __call__(self, module: Any, likelihood: Any) -> LaplaceNetwork:
        """Bind the recipe to a module and its likelihood.

        Raises
        ------
        TypeError
            Not a `torch.nn.Module`, a TorchScript or sharded module, or a subset that names no parameter.
        """
        if not isinstance(module, nn.Module):
            raise TypeError(f"Laplace is for torch.nn.Module, got {type(module).__name__}: call memory_map without it")
        module = unwrapped(module, keep_parallel=self.forward is not call_module)
        if is_matrix_layer(module):  # a single layer becomes the only layer of a network
            module = nn.Sequential(module)
        recipe = replace(self, prior=self.prior.of(module))
        return LaplaceNetwork(Network(module, as_likelihood(likelihood), self.forward), recipe)


@dataclass(frozen=True)
class LaplaceNetwork:
    """A network and the recipe for its posterior."""

    network: Network
    recipe: Laplace

    @property
    def structure(self) -> CurvatureStructure:
        """The recipe's structure as an object."""
        return as_structure(self.recipe.structure)

    @property
    def prior(self) -> Prior:
        """The recipe's prior as a `Prior`."""
        prior: Prior = self.recipe.prior
        return prior


def as_likelihood(likelihood: Any) -> Likelihood:
    """Return a likelihood as it is, or the likelihood with the given name.

    Raises
    ------
    ValueError
        None given, or unknown.
    """
    if isinstance(likelihood, Likelihood):
        return likelihood
    if likelihood in _LIKELIHOODS:
        return _LIKELIHOODS[likelihood]()
    raise ValueError(
        f"likelihood = {likelihood!r}: expected one of {', '.join(map(repr, _LIKELIHOODS))}, or a Likelihood such as "
        "Gaussian(dispersion=noise_variance) or Custom(nll)"
    )
