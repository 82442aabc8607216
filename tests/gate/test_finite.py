"""A NaN or an infinity anywhere is refused, or warned of."""

import copy

import numpy as np
import pytest
import statsmodels.api as sm
from sklearn.linear_model import LinearRegression, LogisticRegression, PoissonRegressor, Ridge

import memorymaps as mm
from memorymaps.core.likelihoods.exponential_family import Gaussian
from memorymaps.core.perturbation.deviation import Warn
from memorymaps.data.examples import DataError
from memorymaps.models import ExpectedInformation
from memorymaps.models.draws.draws import Draws


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3))
    return x, x @ [1.0, -2.0, 0.5] + rng.normal(size=60)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_offsets_are_finite(data, bad):
    x, y = data
    offset = np.where(np.arange(60) == 3, bad, 0.0)
    with pytest.raises(DataError, match=r"offset of 1 row.*first of row 3.*0 where there is no offset"):
        mm.memory_map(Ridge().fit(x, y), x, y, offset=offset)
    assert len(mm.memory_map(Ridge().fit(x, y), x, y, offset=np.zeros(60))) == 60


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("kind", ["ridge", "ols", "logistic", "poisson"])
def test_coefficients_are_finite(data, bad, kind):
    x, y = data
    models = {
        "ridge": (Ridge(), y), "ols": (LinearRegression(), y), "logistic": (LogisticRegression(), y > 0),
        "poisson": (PoissonRegressor(), np.abs(np.round(y))),
    }  # fmt: skip
    model, target = models[kind]
    model = copy.deepcopy(model.fit(x, target))
    np.ravel(model.coef_)[0] = bad
    with pytest.raises(DataError, match=r"coefficient.*x0.*fit again"):
        mm.memory_map(model, x, target)


@pytest.mark.parametrize("dispersion", [-1.0, 0.0, np.nan, np.inf])
def test_dispersions_are_positive(dispersion):
    f, y = np.random.default_rng(0).normal(size=(50, 20)), np.zeros(20)
    with pytest.raises(DataError, match="dispersion"):
        mm.memory_map(Draws(f, Gaussian(dispersion)), y, y)
    assert len(mm.memory_map(Draws(f, Gaussian(1.0)), y, y)) == 20


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_saturated_least_squares_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(DataError, match=r"dispersion.*fewer features"):
        mm.memory_map(sm.OLS(rng.normal(size=5), rng.normal(size=(5, 5))).fit())


@pytest.mark.filterwarnings("ignore:The Identity link")
def test_a_left_out_prediction_outside_the_range_of_the_family_is_warned_of():
    x = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    y = np.array([0.5, 1.0, 4.0, 7.0, 10.0, 13.0])
    with np.errstate(all="ignore"):
        link = sm.families.links.Identity()
        results = sm.GLM(y, sm.add_constant(x), family=sm.families.Gamma(link=link)).fit()
        m = mm.memory_map(results, posterior=ExpectedInformation(), estimator="cavity")
    assert np.any(m["warning"] == int(Warn.UNDEFINED))
    undefined = ~np.isfinite(m["loo_loss"])
    assert np.array_equal((m["warning"] & int(Warn.UNDEFINED)) != 0, undefined & ((m["warning"] & 1) == 0))
