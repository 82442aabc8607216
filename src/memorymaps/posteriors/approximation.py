"""What a posterior approximates: the one fact of its description that the verdicts on a map's figures start from."""

from __future__ import annotations

import enum

SPLITS = "splits of trees"
SPLITS_CAUTION = (
    "sizes hold the splits of the trees fixed: read as ranks. refit(m, top=…) grows the trees again, "
    "leave_one_out(cross_fit=5) gives averages of held-out predictions"
)


class Approximation(enum.StrEnum):
    """Kinds of posteriors, by how what they say about a removed example relates to refitting without it."""

    UNSTATED = ""
    """A posterior that does not say."""
    EXACT = "exact"
    """Gaussian, and linear in the parameters (or a Gaussian process): removal is exact, hyperparameters held."""
    ACTIVE_SET = "active set"
    """The coefficients that an L1 penalty or a constraint has set to zero are fixed there."""
    ONE_STEP = "one step"
    """Laplace approximation at the optimum of a convex loss: removal is one Newton step."""
    NONSMOOTH = "smoothed"
    """A loss with kinks, its curvature smoothed by the posterior."""
    EXACT_CURVATURE = "exact curvature"
    """Nonlinear in the parameters, on the full curvature of all of them."""
    CHECKED_CURVATURE = "checked curvature"
    """Approximate curvature that was compared with the exact one."""
    APPROXIMATE_CURVATURE = "approximate curvature"
    """Approximate curvature that was not."""
    SOME_PARAMETERS = "some parameters"
    """A posterior of some of the parameters only, such as the last layer's."""
    OPTIMIZER_STATE = "optimiser state"
    """Curvature read from an optimiser's running averages."""
    STRUCTURE_FIXED = "structure fixed"
    """Trees whose splits do not change."""
    CROSS_FITTED = "cross-fitted"
    """Every example predicted by a refit without a whole fold of the data, with splits free."""
    CROSS_FITTED_ENSEMBLE = "cross-fitted ensemble"
    """The same of a mean of 100 trees or more, whose sizes are those of refits without one example to 10 to 20 %."""
    DRAWS = "draws"
    """Moments of draws from the posterior."""
    OTHER_DRAWS = "other draws"
    """Of an ensemble, of dropout, of snapshots of a run, of resamples: they differ, but not as a posterior's."""
    VARIATIONAL = "variational"
    """A variational approximation."""
    FACTORIZED = "factorized variational"
    """One without the correlations of parameters, or of processes that the likelihood couples."""
