"""Hadi's influence measure: its definition with statsmodels' numbers, parts of a map, the explorer's column."""

import numpy as np
import pytest
import statsmodels.api as sm
from browser import Explorer, chromium
from sklearn.linear_model import PoissonRegressor

import memorymaps as mm
from memorymaps import measures
from memorymaps.viz.explorer.options import ExplorerOptions
from memorymaps.viz.explorer.packing import pack


@pytest.fixture(scope="module")
def stackloss():
    data = sm.datasets.stackloss.load_pandas()
    fit = sm.OLS(data.endog, sm.add_constant(data.exog)).fit()
    return fit, mm.memory_map(fit)


def test_hadi_is_potential_plus_residual(stackloss):
    fit, m = stackloss
    h, d2 = fit.get_influence().hat_matrix_diag, fit.resid**2 / fit.ssr
    expected = h / (1 - h) + 4 / (1 - h) * d2 / (1 - d2)
    np.testing.assert_allclose(measures.influence_table(m)["hadi"], expected, rtol=1e-10)


def test_part_of_a_map_has_the_same_values(stackloss):
    _, m = stackloss
    np.testing.assert_allclose(measures.hadi(m.select([20, 3])), measures.hadi(m)[[20, 3]], rtol=1e-10)


def test_part_of_a_map_without_residual_degrees_of_freedom_is_undefined():
    x = np.linspace(-1, 1, 20)[:, None]
    y = np.arange(20) % 4
    m = mm.memory_map(PoissonRegressor(alpha=0.1, tol=1e-10).fit(x, y), x, y)
    assert np.all(np.isfinite(measures.hadi(m)))
    assert np.all(np.isnan(measures.hadi(m.top(3))))


def test_the_measure_is_a_column_of_the_page(stackloss):
    _, m = stackloss
    table = measures.influence_table(m)
    page = pack(m, ExplorerOptions(columns=table, measures=("sensitivity", "hadi")))
    assert "hadi" in {column["name"] for column in page.meta["columns"]}
    assert page.meta["agreement"]["measures"] == ["sensitivity", "hadi"]


@pytest.mark.slow
@pytest.mark.browser
def test_the_measure_can_be_chosen_on_the_page(stackloss, tmp_path):
    _, m = stackloss
    path = m.explore(tmp_path / "m.html", columns=measures.influence_table(m), measures=("sensitivity", "hadi"))
    with chromium() as browser:
        page = Explorer(browser, f"file://{path}").ready()
        assert "hadi" in page.page.inner_text("body")
        assert page.errors == []
