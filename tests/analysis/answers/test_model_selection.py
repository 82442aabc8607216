"""Models are ranked by left-out losses that equal refitting, with paired errors; what is not comparable is refused."""

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, WhiteKernel
from sklearn.linear_model import LinearRegression, LogisticRegression, PoissonRegressor, Ridge
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.svm import SVC

import memorymaps as mm

X, Y = load_diabetes(return_X_y=True)
X, Y = X[:100] * 20, Y[:100] / 10
BITS = (Y > 14).astype(int)
SMALL = np.round(Y)


def drawn(model, y=Y, **options):
    return mm.memory_map(clone(model).fit(X, y), X, y, **options)


def ridges():
    return {f"α = {a:g}": drawn(Ridge(alpha=a)) for a in (300.0, 1.0, 30.0, 3000.0)}


@pytest.mark.slow
def test_the_order_is_that_of_refits_without_each_example():
    maps = ridges()
    found = mm.select_model(maps)
    truth, each = {}, {}
    for name, m in maps.items():
        model = Ridge(alpha=float(name.split()[-1]))
        left_out = cross_val_predict(model, X, Y, cv=LeaveOneOut())
        each[name] = -stats.norm.logpdf(Y, left_out, math.sqrt(m.provenance.description.dispersion))
        truth[name] = each[name].mean()
    order = sorted(truth, key=truth.get)
    assert found["name"].tolist() == order
    assert found.best == order[0]
    np.testing.assert_allclose(found["value"], [truth[name] for name in order], rtol=1e-9)
    np.testing.assert_allclose(found["value_se"], [each[name].std(ddof=1) / 10 for name in order], rtol=1e-9)
    differences = np.stack([each[name] - each[order[0]] for name in order])
    np.testing.assert_allclose(found["difference"], differences.mean(axis=1), rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(found["difference_se"], differences.std(axis=1, ddof=1) / 10, rtol=1e-7, atol=1e-12)
    near = [name for name, d in zip(order, differences, strict=True) if d.mean() <= d.std(ddof=1) / 10]
    assert found.within_one_error == near
    assert found["effective_parameters"].tolist() == [pytest.approx(maps[name]["leverage"].sum()) for name in order]
    assert found.simplest == min(near, key=lambda name: maps[name]["leverage"].sum())
    assert set(found["trust"].tolist()) == {"exact"}
    assert (found.ranked_by, found.examples, found.total) == ("left-out loss", 100, 100)
    assert str(found).startswith("by left-out loss over 100 of 100 examples; within one standard error of the best: ")


def test_rows_are_joined_by_id_and_a_list_is_named_by_position():
    order = np.random.default_rng(0).permutation(100)
    names = np.array([f"p{k}" for k in range(100)])
    a = drawn(Ridge(1.0), ids=names)
    b = mm.memory_map(Ridge(300.0).fit(X[order], Y[order]), X[order], Y[order], ids=names[order])
    found = mm.select_model([b, a])
    straight = mm.select_model([drawn(Ridge(300.0)), drawn(Ridge(1.0))])
    np.testing.assert_allclose(found["difference_se"], straight["difference_se"], atol=1e-12)
    assert found["name"].tolist() == straight["name"].tolist()
    assert sorted(found["name"].tolist()) == ["0", "1"]


def test_accuracy_ranks_upwards():
    maps = {f"{C:g}": drawn(LogisticRegression(C=C, tol=1e-9), BITS) for C in (1e-4, 1.0)}
    found = mm.select_model(maps, by="score")
    right = {name: (m["loo_prediction"] == BITS).mean() for name, m in maps.items()}
    assert found.best == max(right, key=right.get)
    assert found["value"].tolist() == sorted(right.values(), reverse=True)
    assert found.ranked_by == "left-out accuracy"
    assert found["difference"][1] < 0


TREES = GradientBoostingClassifier(n_estimators=5, random_state=0)
REFUSED = {
    "hinge losses": (
        lambda **o: mm.select_model([drawn(SVC(C=C), BITS) for C in (0.1, 1.0)], **o),
        "Hinge losses are no log densities, .*by='score'",
        {"by": "score"},
    ),
    "units": (
        lambda **o: mm.select_model([drawn(PoissonRegressor(), SMALL), drawn(LinearRegression(), SMALL)], **o),
        "different units, densities and probabilities of counts.*by='score'",
        {"by": "score"},
    ),
    "trees": (
        lambda **o: mm.select_model({"a": drawn(TREES, BITS), "b": drawn(LogisticRegression(), BITS)}, **o),
        "left-out figures of 'a' are not to be used .*cross_fit=5",
        {"cross_fit": 5},
    ),
    "noise scales of the training data": (
        lambda by="loss": mm.select_model(ridges(), by=by, cross_fit=3),
        "noise scale that was estimated from its own training residuals.*by='score', cross_fit=",
        {"by": "score"},
    ),
    "by": (
        lambda by="AIC": mm.select_model(ridges(), by=by),
        "by = 'AIC': expected one of 'loss', 'predictive', 'score'",
        {"by": "loss"},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_comparable_is_refused_with_a_remedy(name):
    call, words, remedy = REFUSED[name]
    with pytest.raises(ValueError, match=words):
        call()
    assert len(call(**remedy)) >= 2


def test_other_examples_and_targets_are_refused_with_a_remedy():
    a, part = drawn(Ridge()), mm.memory_map(Ridge(3.0).fit(X[:90], Y[:90]), X[:90], Y[:90])
    with pytest.raises(ValueError, match=r"'1' is not of the examples of '0': 10 ids .*m\.select\(ids\)"):
        mm.select_model([a, part])
    assert len(mm.select_model([a.select(part["id"]), part])) == 2
    with pytest.raises(ValueError, match=r"targets differ, 100 of them.*ids=…"):
        mm.select_model([a, drawn(Ridge(), Y[::-1].copy())])
    named = drawn(Ridge(), ids=np.arange(100, 200))
    order = np.arange(100)[::-1]
    other = mm.memory_map(Ridge(3.0).fit(X[order], Y[order]), X[order], Y[order], ids=order + 100)
    assert len(mm.select_model([named, other])) == 2
    with pytest.raises(ValueError, match=r"1 map\(s\): expected at least two"):
        mm.select_model([a])
    with pytest.raises(TypeError, match="'b' is a Ridge: expected the map"):
        mm.select_model({"a": a, "b": Ridge()})


def test_cross_fitted_losses_are_those_of_the_folds():
    maps = {"weak": drawn(LogisticRegression(C=1e-4), BITS), "strong": drawn(LogisticRegression(C=1.0), BITS)}
    found = mm.select_model(maps, cross_fit=4)
    assert found.ranked_by == "4-fold cross-fitted loss"
    of = dict(zip(found["name"].tolist(), found["value"].tolist(), strict=True))
    for name, m in maps.items():
        assert of[name] == pytest.approx(m.leave_one_out(cross_fit=4).loo_loss)
    assert set(found["trust"].tolist()) == {"cross-fitted"}


def test_values_that_are_ranks_only_are_marked():
    maps = [drawn(SVC(C=C), BITS) for C in (0.1, 1.0)]
    assert "may be off by more than their errors" in str(mm.select_model(maps, by="score"))
    assert "may be off" not in str(mm.select_model(ridges()))


def test_gaussian_processes_are_ranked_by_their_predictive_density():
    """Refits without each example, with the predictive variance."""
    maps, truth = {}, {}
    for noise in (0.1, 1.0, 10.0):
        model = GaussianProcessRegressor(10.0 * RBF(3.0) + WhiteKernel(noise), optimizer=None)
        maps[f"{noise:g}"] = mm.memory_map(model.fit(X[:40], Y[:40] - 15), X[:40], Y[:40] - 15)
        each = []
        for i in range(40):
            rest = np.arange(40) != i
            refit = clone(model).fit(X[:40][rest], Y[:40][rest] - 15)
            mean, sd = refit.predict(X[[i]], return_std=True)
            each.append(-stats.norm.logpdf(Y[i] - 15, mean[0], sd[0]))
        truth[f"{noise:g}"] = np.mean(each)
    found = mm.select_model(maps, by="predictive")
    assert found["name"].tolist() == sorted(truth, key=truth.get)
    np.testing.assert_allclose(found["value"], sorted(truth.values()), rtol=1e-6)
    assert found.ranked_by == "left-out predictive loss"
    with pytest.raises(ValueError, match="Leave cross_fit out"):
        mm.select_model(maps, by="predictive", cross_fit=3)
    with pytest.raises(TypeError, match="closed forms need Gaussian noise"):
        mm.select_model([drawn(LogisticRegression(C=C), BITS) for C in (0.1, 1.0)], by="predictive")


def test_forests_are_ranked_out_of_bag():
    forests = [drawn(RandomForestClassifier(60, max_depth=d, random_state=0), BITS) for d in (2, None)]
    found = mm.select_model(forests)
    assert found["value"].tolist() == sorted(m.leave_one_out().loo_loss for m in forests)


def test_a_trip_through_a_file_changes_nothing(tmp_path):
    maps = ridges()
    saved = {name: mm.load(m.save(tmp_path / f"{k}.parquet")) for k, (name, m) in enumerate(maps.items())}
    assert mm.select_model(saved).to_pandas().equals(mm.select_model(maps).to_pandas())
