"""Maps of posterior samples against exact posteriors, against ArviZ on the same draws, and the effect of shrinkage."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pytest
from sklearn.linear_model import Ridge

import memorymaps as mm
from memorymaps.core.likelihoods.categorical import Categorical
from memorymaps.core.likelihoods.expected import ExpectedLikelihood
from memorymaps.core.likelihoods.exponential_family import Bernoulli, Gaussian
from memorymaps.core.perturbation.deviation import Warn
from memorymaps.maps.trust import Level
from memorymaps.models.draws.covariance_shrinkage import ShrinkageTarget
from memorymaps.models.draws.draws import Draws, Sampler
from memorymaps.models.draws.importance_sampling import psis
from memorymaps.models.draws.sample_posterior import covariance

RNG = np.random.default_rng(3)
N, P, NOISE, DELTA = 40, 4, 0.5, 2.0
X = RNG.normal(size=(N, P))
Y = X @ RNG.normal(size=P) + np.sqrt(NOISE) * RNG.normal(size=N)
Y[7] += 4


def exact():
    """Posterior mean and covariance of the coefficients, noise known."""
    s = X.T @ X / NOISE + DELTA * np.eye(P)
    return np.linalg.solve(s, X.T @ Y / NOISE), np.linalg.inv(s)


def draws(count, seed=0):
    mean, cov = exact()
    return np.random.default_rng(seed).multivariate_normal(mean, cov, size=count) @ X.T


def hat():
    return np.einsum("np,pq,nq->n", X, exact()[1], X) / NOISE


def left_out(i):
    """Predictive mean and variance at example `i` without it."""
    keep = np.delete(np.arange(N), i)
    s = X[keep].T @ X[keep] / NOISE + DELTA * np.eye(P)
    return X[i] @ np.linalg.solve(s, X[keep].T @ Y[keep] / NOISE), X[i] @ np.linalg.solve(s, X[i])


def arviz():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # ArviZ 0.23 warns of its successor on import
        return pytest.importorskip("arviz")


def inference_data(az, **groups):
    """`from_dict` of ArviZ 0 and 1."""
    return az.from_dict(**groups) if az.__version__.startswith("0.") else az.from_dict(groups)


# --- exact draws of a linear model ------------------------------------------------------------------------------------


def test_the_map_converges_to_the_exact_one_as_one_over_root_s():
    mean, h = X @ exact()[0], hat()
    loo = np.asarray([left_out(i)[0] for i in range(N)])

    def errors(count):
        found = [mm.memory_map(Draws(draws(count, seed), Gaussian(NOISE)), X, Y) for seed in range(6)]
        return [
            np.sqrt(np.mean([(m[name] - truth) ** 2 for m in found]))
            for name, truth in (("leverage", h), ("prediction", mean), ("loo_prediction", loo))
        ]

    few, many = np.asarray(errors(250)), np.asarray(errors(250 * 64))
    np.testing.assert_allclose(few / many, 8.0, rtol=0.35)
    assert many[0] < 0.02 * h.mean()


def test_the_exact_map_is_that_of_ridge():
    truth = mm.memory_map(Ridge(alpha=DELTA * NOISE, fit_intercept=False).fit(X, Y), X, Y)
    m = mm.memory_map(Draws(draws(20_000), Gaussian(NOISE)), X, Y)
    np.testing.assert_allclose(m["leverage"], truth["leverage"], rtol=0.05)
    np.testing.assert_allclose(m["loo_prediction"], truth["loo_prediction"], atol=0.03)


@pytest.mark.slow
def test_weights_count_as_in_any_map():
    arviz()
    weight = RNG.uniform(0.2, 3, N)
    s = (X.T * weight) @ X / NOISE + DELTA * np.eye(P)
    mean = np.linalg.solve(s, X.T @ (weight * Y) / NOISE)
    f = np.random.default_rng(0).multivariate_normal(mean, np.linalg.inv(s), size=20_000) @ X.T
    m = mm.memory_map(Draws(f, Gaussian(NOISE), importance=psis), X, Y, sample_weight=weight)
    h = weight * np.einsum("np,pq,nq->n", X, np.linalg.inv(s), X) / NOISE
    np.testing.assert_allclose(m["leverage"], h, rtol=0.06)
    nothing = mm.memory_map(Draws(f, Gaussian(NOISE), importance=psis), X, Y, sample_weight=np.r_[0, weight[1:]])
    assert nothing["pareto_k"][0] == nothing["warning"][0] == 0
    np.testing.assert_allclose(nothing["psis_deviation"][0], 0, atol=1e-10)
    fine = m["pareto_k"] < 0.5
    np.testing.assert_allclose(m["psis_deviation"][fine], m["deviation"][fine], atol=0.03)


def test_groups_are_removed_together():
    group = [1, 7, 20]
    keep = np.setdiff1d(np.arange(N), group)
    s = X[keep].T @ X[keep] / NOISE + DELTA * np.eye(P)
    after = X @ np.linalg.solve(s, X[keep].T @ Y[keep] / NOISE)
    found = mm.memory_map(Draws(draws(4000), Gaussian(NOISE)), X, Y).leave_out({"g": group})
    change = np.abs(after - X @ exact()[0])
    assert found["sensitivity"][0] == pytest.approx(change[group].sum(), rel=0.06)
    assert found["rest_sensitivity"][0] == pytest.approx(change[keep].sum(), rel=0.06)


def test_a_sampler_has_the_map_of_its_draws():
    mean, cov = exact()
    b = np.random.default_rng(0).multivariate_normal(mean, cov, size=300)
    a = mm.memory_map(Draws(b @ X.T, Gaussian(NOISE)), X, Y)
    black = mm.memory_map(Sampler(lambda x: b @ np.asarray(x).T, Gaussian(NOISE)), X, Y)
    np.testing.assert_allclose(black["sensitivity"], a["sensitivity"], rtol=1e-10)


# --- importance sampling ----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_gaussian_form_and_psis_give_the_exact_log_scores():
    arviz()
    m = mm.memory_map(Draws(draws(20_000), Gaussian(NOISE), importance=psis), X, Y)
    parts = np.asarray([left_out(i) for i in range(N)])
    total = parts[:, 1] + NOISE
    truth = 0.5 * ((Y - parts[:, 0]) ** 2 / total + np.log(2 * np.pi * total))
    np.testing.assert_allclose(m["gaussian_loo_loss"], truth, rtol=0.02, atol=0.02)
    good = m["pareto_k"] < 0.5
    np.testing.assert_allclose(m["psis_loo_loss"][good], truth[good], rtol=0.02, atol=0.02)


@pytest.mark.slow
def test_log_scores_are_those_of_arviz_loo_on_the_same_draws():
    az = arviz()
    from memorymaps.models.draws.arviz import from_arviz

    f = draws(2000).reshape(4, 500, N)
    logs = -0.5 * (np.log(2 * np.pi * NOISE) + (Y - f) ** 2 / NOISE)
    data = inference_data(az, posterior={"mu": f}, log_likelihood={"y": logs}, observed_data={"y": Y})
    theirs = az.loo(data, pointwise=True)
    plain = mm.memory_map(from_arviz(data, "mu", Gaussian(NOISE), y="y"))
    given = mm.memory_map(from_arviz(data, "mu", Gaussian(NOISE), y="y", log_likelihood="y"))
    new = hasattr(theirs, "elpd_i")  # ArviZ 1
    each, total = (theirs.elpd_i, theirs.elpd) if new else (theirs.loo_i, theirs.elpd_loo)
    for m in (plain, given):
        np.testing.assert_allclose(-m["psis_loo_loss"], each.values, rtol=1e-9)
        np.testing.assert_allclose(m["pareto_k"], theirs.pareto_k.values, rtol=1e-9)
    assert abs(plain["gaussian_loo_loss"].sum() + total) < 0.3
    assert len(plain) == N


@pytest.mark.slow
def test_trees_are_read_like_the_older_results():
    arviz()
    xarray = pytest.importorskip("xarray", minversion="2024.10")
    from memorymaps.models.draws.arviz import from_arviz

    f = draws(400).reshape(4, 100, N)
    groups = {
        "posterior": xarray.Dataset({"mu": (("chain", "draw", "n"), f)}),
        "observed_data": xarray.Dataset({"y": (("n",), Y)}),
    }
    tree = xarray.DataTree.from_dict(groups)
    m = mm.memory_map(from_arviz(tree, "mu", Gaussian(NOISE), y="y"))
    flat = mm.memory_map(Draws(f.reshape(-1, N), Gaussian(NOISE)), X, Y)
    np.testing.assert_allclose(m["sensitivity"], flat["sensitivity"])
    with pytest.raises(ValueError, match="from_arviz"):
        mm.memory_map(tree, X, Y)


def test_large_pareto_k_sets_the_warning():
    arviz()
    y = Y.copy()
    y[3] += 30  # far from everything: the draws do not reach the posterior without it
    m = mm.memory_map(Draws(draws(400), Gaussian(NOISE), importance=psis), X, y)
    flagged = (m["warning"] & int(Warn.PARETO_K)) > 0
    np.testing.assert_array_equal(flagged, m["pareto_k"] > min(1 - 1 / np.log10(400), 0.7))
    assert flagged.any()
    assert not flagged.all()
    assert "pareto k" in Warn(int(m["warning"][np.argmax(flagged)])).labels
    assert "Pareto-k" in str(m.summary())
    assert "vehtari2024pareto" in m.citation()


def test_extra_columns_are_saved(tmp_path):
    arviz()
    f = np.random.default_rng(0).normal(size=(200, N, 3))
    m = mm.memory_map(Draws(f, Categorical(), importance=psis), X, np.arange(N) % 3, offset=0.1 * X[:, :3])
    back = mm.load(m.save(tmp_path / "m.parquet"))
    np.testing.assert_array_equal(back["psis_deviation"], m["psis_deviation"])
    assert back["psis_deviation"].shape == (N, 3)
    assert np.all(np.isfinite(back["gaussian_loo_loss"]))


def test_expected_errors_are_the_first_order_changes_of_the_posterior_mean():
    """Reweighting by `1 + ε ℓ_i` changes the mean of `f_i` by `ε Cov(f_i, ℓ_i)`: `V E[∇ℓ]` for Gaussian draws."""
    f = 1.5 * RNG.normal(size=(200_000, 1))
    y = np.ones(1)
    slope = np.cov(f[:, 0], Bernoulli().nll(f, np.ones(len(f))))[0, 1]
    m = mm.memory_map(Draws(f, ExpectedLikelihood(Bernoulli())), y, y, estimator="F")
    assert m["deviation"][0] == pytest.approx(slope, rel=0.01)


# --- few draws --------------------------------------------------------------------------------------------------------


def test_shrinkage_of_sizes_helps_with_five_draws_and_vanishes_with_many():
    truth = np.exp(0.5 * RNG.normal(size=400))

    def error(count):
        v = covariance(np.sqrt(truth)[None, :, None] * np.random.default_rng(1).normal(size=(count, 400, 1)))
        shrunk = ShrinkageTarget.from_covariances(v, count).shrink(v, count)
        return [float(np.std(np.log(each[:, 0, 0] / truth))) for each in (v, shrunk)]

    raw, shrunk = error(5)
    assert shrunk < 0.65 * raw
    raw, shrunk = error(5000)
    assert shrunk == pytest.approx(raw, rel=0.02)


def test_shrinkage_of_shapes_helps_and_does_not_depend_on_units():
    c, n = 3, 300
    common = np.linalg.cholesky(np.array([[1, 0.7, 0.2], [0.7, 1, 0.4], [0.2, 0.4, 1]]))
    f = np.random.default_rng(2).normal(size=(5, n, c)) @ common.T
    truth = common @ common.T
    v = covariance(f)
    shrunk = ShrinkageTarget.from_covariances(v, 5).shrink(v, 5)
    assert np.linalg.norm(shrunk - truth) < 0.4 * np.linalg.norm(v - truth)
    units = np.array([[100.0, 0, 0], [0, 1.0, 0], [3.0, 0, 0.01]])
    changed = covariance(f @ units.T)
    np.testing.assert_allclose(
        ShrinkageTarget.from_covariances(changed, 5).shrink(changed, 5), units @ shrunk @ units.T, rtol=1e-6, atol=1e-9
    )


def test_shrinking_the_shape_of_a_covariance_does_not_change_its_size():
    v = covariance(np.random.default_rng(2).normal(size=(4000, 50, 3)) * np.exp(RNG.normal(size=(50, 1))))
    np.testing.assert_allclose(
        np.trace(ShrinkageTarget.from_covariances(v, 4000).shrink(v, 4000), axis1=1, axis2=2),
        np.trace(v, 0, 1, 2),
        rtol=0.01,
    )


def test_constant_outputs_have_variance_zero():
    f = RNG.normal(size=(50, 20, 2))
    f[:, :, 1] = 3.0
    v = covariance(f)
    shrunk = ShrinkageTarget.from_covariances(v, 50).shrink(v, 50)
    np.testing.assert_array_equal(shrunk[:, 1], 0)
    assert np.all(shrunk[:, 0, 0] > 0)


# --- networks that give draws -----------------------------------------------------------------------------------------


def small_net(torch, seed):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(2, 6), torch.nn.Tanh(), torch.nn.Dropout(0.3), torch.nn.Linear(6, 3))


def test_ensembles_snapshots_and_dropout_are_samplers():
    torch = pytest.importorskip("torch")
    from memorymaps.nets.ensembles import ensemble, mc_dropout, snapshots

    x, y = RNG.normal(size=(30, 2)).astype(np.float32), np.arange(30) % 3
    nets = [small_net(torch, k) for k in range(6)]
    f = np.stack([net.eval()(torch.as_tensor(x)).detach().double().numpy() for net in nets])
    truth = mm.memory_map(Draws(f, Categorical()), x, y)
    for model in (ensemble(nets, Categorical()), snapshots(nets[0], [n.state_dict() for n in nets], Categorical())):
        np.testing.assert_allclose(mm.memory_map(model, x, y)["sensitivity"], truth["sensitivity"], rtol=1e-4)
    dropout = mc_dropout(nets[0], Categorical(), draws=20)
    whole = dropout(x)
    np.testing.assert_allclose(np.concatenate([dropout(x[:11]), dropout(x[11:])], axis=1), whole, atol=1e-6)
    np.testing.assert_allclose(whole.mean(0), f[0], atol=3 * whole.std(0).max() / np.sqrt(20) + 0.1)
    assert np.all(whole.std(axis=0) > 0)
    assert not nets[0][2]._forward_hooks
    assert len(mm.memory_map(dropout, x, y)) == 30


def test_draws_of_networks_have_ranks_and_those_of_a_chain_have_sizes():
    torch = pytest.importorskip("torch")
    from memorymaps.nets.ensembles import chain, ensemble, mc_dropout, snapshots

    x, y = RNG.normal(size=(30, 2)).astype(np.float32), np.arange(30) % 3
    nets = [small_net(torch, k) for k in range(40)]
    states = [net.state_dict() for net in nets]
    others = (
        ensemble(nets, Categorical()),
        snapshots(nets[0], states, Categorical()),
        mc_dropout(nets[0], Categorical(), draws=200),
    )
    for model in others:
        m = mm.memory_map(model, x, y)
        assert m.trust["leverage"].level == m.trust["loo_loss"].level == m.trust["groups"].level == Level.UNUSABLE
        assert m.trust["sensitivity"].level == m.trust["ranks"].level == Level.RANKS
        assert "not draws of a posterior" in str(m.summary())
    f = np.stack([net.eval()(torch.as_tensor(x)).detach().double().numpy() for net in nets])
    resamples = Sampler(lambda x: f[:, : len(x)], Categorical(), approximation="other draws")
    assert mm.memory_map(resamples, x, y).trust["loo_loss"].level == Level.UNUSABLE
    m = mm.memory_map(chain(nets[0], states, Categorical()), x, y)
    np.testing.assert_array_equal(m["sensitivity"], mm.memory_map(others[1], x, y)["sensitivity"])
    assert m.trust["sensitivity"].level == Level.ESTIMATED
    assert "chain of 40 draws" in m.provenance.description.model


def test_ensembles_of_other_things_are_refused():
    torch = pytest.importorskip("torch")
    from memorymaps.nets.ensembles import ensemble, mc_dropout

    with pytest.raises(TypeError, match=r"expected torch\.nn\.Module"):
        ensemble([Ridge()], Categorical())
    with pytest.raises(TypeError, match=r"no nn\.Dropout"):
        mc_dropout(torch.nn.Linear(2, 2), Categorical())


# --- broken -----------------------------------------------------------------------------------------------------------


def with_nan():
    f = draws(10)
    f[4, 2] = np.nan
    return f


@pytest.mark.parametrize(
    ("f", "words"),
    [
        (draws(1), "1 draw: a posterior covariance needs two"),
        (with_nan(), "1 of 10 draws, first in draw 4"),
        (np.zeros(N), r"draws of shape \(40,\): expected \[s, n\]"),
        (np.zeros((2, 3, 4, 5)), "expected"),
    ],
)
def test_broken_draws_are_refused(f, words):
    with pytest.raises(mm.DataError, match=words):
        Draws(f, Gaussian())


def test_what_does_not_fit_together_is_refused():
    with pytest.raises(mm.DataError, match="draws at 40 examples, data with 39"):
        mm.memory_map(Draws(draws(10), Gaussian()), X[1:], Y[1:])
    with pytest.raises(mm.DataError, match=r"draws of shape \(10, 5, 1\): expected \[s, 40\]"):
        mm.memory_map(Sampler(lambda x: draws(10)[:, :5], Gaussian()), X, Y)
    with pytest.raises(TypeError, match="expected a Likelihood such as"):
        Draws(draws(10), "gaussian")
    with pytest.raises(mm.DataError, match=r"log_likelihood \(10, 3\)"):
        Draws(draws(10), Gaussian(), log_likelihood=np.zeros((10, 3)))
    with pytest.raises(ValueError, match="have no targets"):
        mm.memory_map(Draws(draws(10), Gaussian()))
    with pytest.raises(ValueError, match="does not keep its training data"):
        mm.memory_map(Sampler(lambda x: draws(10), Gaussian()))
    with pytest.raises(ValueError, match="10 draws: importance sampling"):
        mm.memory_map(Draws(draws(10), Gaussian(), importance=psis), X, Y)


def test_without_arviz_the_error_names_the_install_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "arviz", None)
    with pytest.raises(ImportError, match=r"memorymaps\[arviz\]"):
        psis(np.zeros((2, 100)))


@pytest.mark.slow
def test_arviz_results_raise_a_message_with_from_arviz():
    az = arviz()
    from memorymaps.models.draws.arviz import from_arviz

    data = inference_data(az, posterior={"mu": draws(8).reshape(2, 4, N), "b": np.zeros((2, 4))})
    with pytest.raises(ValueError, match="from_arviz"):
        mm.memory_map(data, X, Y)
    with pytest.raises(mm.DataError, match=r"no variable 'eta' in group 'posterior'; it has \['mu', 'b'\]"):
        from_arviz(data, "eta", Gaussian())
    with pytest.raises(mm.DataError, match=r"expected \(chain, draw, n\)"):
        from_arviz(data, "b", Gaussian())
    with pytest.raises(mm.DataError, match="no group 'observed_data'"):
        from_arviz(data, "mu", Gaussian(), y="y")
    nan = inference_data(az, posterior={"mu": with_nan()[None]})
    with pytest.raises(mm.DataError, match="1 of 10 draws"):
        from_arviz(nan, "mu", Gaussian())
