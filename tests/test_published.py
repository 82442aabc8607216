"""Published values of the classic data sets of influence diagnostics."""

import numpy as np
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from data import table

import memorymaps as mm
from memorymaps.analysis import measures as me


def diagnosed(formula, frame, labels):
    frame = frame.set_index(frame[labels].astype(str))
    m = mm.memory_map(smf.ols(formula, frame).fit())
    return m, me.influence_table(m)


def coefficients(m):
    return m.origin.posterior.coefficients[:, 0]


def test_stack_loss():
    data = sm.datasets.stackloss.load_pandas()
    m = mm.memory_map(sm.OLS(data.endog, sm.add_constant(data.exog)).fit())
    t = me.influence_table(m)
    np.testing.assert_allclose(coefficients(m), [-39.9197, 0.7156, 1.2953, -0.1521], atol=5e-5)
    assert t.cooks_distance.idxmax() == 20
    assert t.cooks_distance[20] == pytest.approx(0.6920, abs=5e-5)
    assert t.rstudent[20] == pytest.approx(-3.330, abs=5e-4)
    assert t.hat.idxmax() == 16
    assert t.hat.max() == pytest.approx(0.4121, abs=5e-5)


def test_gesell():
    m, t = diagnosed("score ~ age_months", table("gesell"), "case")
    np.testing.assert_allclose(coefficients(m), [109.8738, -1.1270], atol=5e-5)
    assert (t.cooks_distance["18"], t.hat["18"]) == (pytest.approx(0.6781, abs=5e-5), pytest.approx(0.6516, abs=5e-5))
    assert (t.cooks_distance["19"], t.rstudent["19"]) == (
        pytest.approx(0.2233, abs=5e-5),
        pytest.approx(3.607, abs=5e-4),
    )


def test_hald_cement():
    m, t = diagnosed("y ~ x1 + x2 + x3 + x4", table("hald_cement"), "case")
    np.testing.assert_allclose(coefficients(m), [62.4054, 1.5511, 0.5102, 0.1019, -0.1441], atol=5e-5)
    assert t.cooks_distance["8"] == pytest.approx(0.3935, abs=5e-5)
    assert (t.hat.idxmax(), t.hat.max()) == ("10", pytest.approx(0.7004, abs=5e-5))


def test_longley():
    data = sm.datasets.longley.load_pandas()
    x = data.exog.rename(columns=str)
    # this copy counts persons, R's counts thousands: coefficients rescale, diagnostics do not
    m = mm.memory_map(sm.OLS(data.endog, sm.add_constant(x)).fit())
    t = me.influence_table(m)
    t.index = x["YEAR"].astype(int)
    assert coefficients(m)[0] / 1000 == pytest.approx(-3482.2586, abs=5e-5)
    assert coefficients(m)[-1] / 1000 == pytest.approx(1.8292, abs=5e-5)
    assert t.cooks_distance[1951] == pytest.approx(0.6139, abs=5e-5)
    assert t.cooks_distance[1962] == pytest.approx(0.4667, abs=5e-5)


def test_life_cycle_savings():
    m, t = diagnosed("sr ~ pop15 + pop75 + dpi + ddpi", table("life_cycle_savings"), "case")
    np.testing.assert_allclose(coefficients(m), [28.5661, -0.4612, -1.6915, -0.0003, 0.4097], atol=5e-5)
    libya, japan = t.loc["Libya"], t.loc["Japan"]
    assert libya.cooks_distance == pytest.approx(0.2681, abs=5e-5)
    assert libya.hat == pytest.approx(0.5315, abs=5e-5)
    assert libya.dffits == pytest.approx(-1.1601, abs=5e-5)
    assert japan.dffits == pytest.approx(0.8597, abs=5e-5)


def test_duncan():
    m, t = diagnosed("prestige ~ income + education", table("duncan"), "case")
    np.testing.assert_allclose(coefficients(m), [-6.0647, 0.5987, 0.5458], atol=5e-5)
    assert t.cooks_distance["minister"] == pytest.approx(0.5664, abs=5e-5)
    assert t.rstudent["minister"] == pytest.approx(3.135, abs=5e-4)


def test_delivery_time():
    frame = table("delivery_time").rename(columns=lambda c: c.replace(".", "_"))
    m, t = diagnosed("delTime ~ n_prod + distance", frame, "case")
    np.testing.assert_allclose(coefficients(m), [2.3412, 1.6159, 0.0144], atol=5e-5)
    assert (t.cooks_distance["9"], t.hat["9"]) == (pytest.approx(3.4193, abs=5e-5), pytest.approx(0.4983, abs=5e-5))
    assert t.cooks_distance["22"] == pytest.approx(0.4510, abs=5e-5)
