"""EL2N, GraNd and the area under the margin are what their definitions give, and what ranks a recorded run."""

import numpy as np
import pytest
from lightgbm import LGBMClassifier
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.preprocessing import scale

import memorymaps as mm
from memorymaps import measures

X, Y = load_iris(return_X_y=True)
X, Y = scale(X)[::2], Y[::2]
BITS = (Y == 1).astype(int)


@pytest.mark.parametrize("y", [Y, BITS])
def test_el2n_and_grand_of_a_linear_model_in_closed_form(y):
    model = LogisticRegression(tol=1e-8).fit(X, y)
    m = mm.memory_map(model, X, y)
    p = model.predict_proba(X)
    error = p - np.eye(p.shape[1])[y]
    np.testing.assert_allclose(measures.el2n(m), np.linalg.norm(error, axis=1), rtol=1e-9)
    along = error if p.shape[1] > 2 else error[:, 1:]
    norm = np.linalg.norm(np.column_stack([X, np.ones(len(X))]), axis=1) * np.linalg.norm(along, axis=1)
    np.testing.assert_allclose(measures.grand(m), norm, rtol=1e-9)
    np.testing.assert_allclose(measures.grand(m.filter(np.arange(len(m)) % 3 == 1)), norm[1::3], rtol=1e-9)


def test_grand_of_a_network_is_the_norm_of_autograd():
    torch = pytest.importorskip("torch")
    from networks import case

    net, x, y = case("mlp", 12)
    m = mm.memory_map(net, x, y, likelihood="categorical", posterior=mm.Laplace("kfac", prior=1.0))
    expected = []
    for k in range(len(x)):
        loss = torch.nn.functional.cross_entropy(net(x[k : k + 1]), y[k : k + 1])
        gradients = torch.autograd.grad(loss, list(net.parameters()))
        expected.append(float(torch.cat([g.flatten() for g in gradients]).norm()))
    np.testing.assert_allclose(measures.grand(m), expected, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("y", [Y, BITS])
def test_the_area_under_the_margin_of_boosting_is_that_of_its_stages(y):
    light = LGBMClassifier(n_estimators=6, num_leaves=4, min_child_samples=5, verbose=-1).fit(X, y)
    raw = [light.predict(X, num_iteration=k, raw_score=True) for k in range(1, 7)]
    grown = GradientBoostingClassifier(n_estimators=6, random_state=0).fit(X, y)
    for model, staged in ((light, raw), (grown, list(grown.staged_decision_function(X)))):
        expected = np.mean([margin_of(np.asarray(f).reshape(len(X), -1), y) for f in staged], axis=0)
        np.testing.assert_allclose(measures.area_under_margin(mm.memory_map(model, X, y)), expected, atol=1e-4)


def margin_of(f, y):
    if f.shape[1] == 1:
        return np.where(y == 1, f[:, 0], -f[:, 0])
    return [row[label] - max(np.delete(row, label)) for row, label in zip(f, y, strict=True)]


@pytest.mark.slow
def test_a_recorded_run_is_ranked_by_its_area_under_the_margin(tmp_path):
    pytest.importorskip("torch")
    from runs import trained

    run = trained(tmp_path, steps=9, every=3)[0].trajectory()
    table = run.at(3)
    margins = [margin_of(run.at(step).select(table["id"])["output"], table["target"]) for step in run.steps]
    found = measures.area_under_margin(run)
    np.testing.assert_allclose(found.loc[table["id"]], np.mean(margins, axis=0), rtol=1e-6)
    issues = mm.label_issues(run)
    assert issues.ranked_by == "area under the margin"
    np.testing.assert_allclose(issues["score"], -np.sort(found.to_numpy()))
    np.testing.assert_allclose(-found.loc[issues["id"]], issues["score"])
    with pytest.raises(TypeError, match="takes none"):
        mm.label_issues(run, folds=5)


def test_a_measure_that_is_not_defined_is_refused(tmp_path):
    numbers = mm.memory_map(LinearRegression().fit(X, Y), X, Y)
    for measure in (measures.el2n, measures.area_under_margin):
        with pytest.raises(ValueError, match="expected a classifier's map"):
            measure(numbers)
    assert len(numbers["error"]) == len(X)
    linear = mm.memory_map(LogisticRegression().fit(X, BITS), X, BITS)
    with pytest.raises(TypeError, match="not fitted in stages"):
        measures.area_under_margin(linear)
    saved = mm.load(linear.save(tmp_path / "m.parquet"))
    for measure in (measures.grand, measures.area_under_margin):
        with pytest.raises(ValueError, match="read from disk"):
            measure(saved)
    process = mm.memory_map(GaussianProcessClassifier().fit(X, BITS), X, BITS)
    with pytest.raises(TypeError, match="no gradient of parameters"):
        measures.grand(process)


def test_measures_plug_in_where_columns_are_added():
    data, y = load_breast_cancer(return_X_y=True)
    m = mm.memory_map(LogisticRegression().fit(scale(data), y), scale(data), y)
    measures.register("el2n")(measures.el2n)
    try:
        np.testing.assert_array_equal(measures.influence_table(m)["el2n"], measures.el2n(m))
    finally:
        measures.unregister("el2n")
