"""Kernel machines and forests: what is not that of the fit is named, and the remedy works."""

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesClassifier, RandomForestRegressor
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, WhiteKernel
from sklearn.kernel_ridge import KernelRidge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR

import memorymaps as mm
from memorymaps.data.examples import DataError

rng = np.random.default_rng(0)
N = 120
X = rng.normal(size=(N, 3))
Y = np.sin(2 * X[:, 0]) + X[:, 1] + 0.3 * rng.normal(size=N)
BITS = (Y > 0).astype(int)
THREE = BITS + (Y > 1)
W = rng.uniform(0.2, 4.0, N)
OTHER = np.random.default_rng(1).permutation(N)

MODELS = {
    "gpr": (lambda: GaussianProcessRegressor(RBF(1.5) + WhiteKernel(0.2), optimizer=None), Y),
    "gpr normalised": (lambda: GaussianProcessRegressor(RBF(1.5), alpha=0.2, normalize_y=True), 5 + 3 * Y),
    "gpr of two": (lambda: GaussianProcessRegressor(RBF(1.5), alpha=0.2), np.stack([Y, Y**2], axis=1)),
    "gpc": (lambda: GaussianProcessClassifier(RBF(1.5), optimizer=None), BITS),
    "gpc rest": (lambda: GaussianProcessClassifier(RBF(1.5), optimizer=None), THREE),
    "gpc pairs": (lambda: GaussianProcessClassifier(RBF(1.5), optimizer=None, multi_class="one_vs_one"), THREE),
    "ridge": (lambda: KernelRidge(alpha=0.5, kernel="rbf", gamma=0.3), Y),
    "svc": (SVC, BITS),
    "svc of 3": (SVC, THREE),
    "svr": (SVR, Y),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_a_fit_on_its_own_data_is_neither_refused_nor_lit(name):
    make, y = MODELS[name]
    m = mm.memory_map(make().fit(X, y), X, y)
    assert not (m.provenance.description.distance or 0.0) > 0.02
    assert m.summary().warnings == ()


@pytest.mark.parametrize("name", MODELS)
def test_other_targets_are_told(name):
    make, y = MODELS[name]
    with pytest.raises(DataError, match=r"not those of the fit: targets.*Pass"):
        mm.memory_map(make().fit(X, y), X, y[OTHER])


@pytest.mark.parametrize("name", ["gpc", "svc"])
def test_flipped_labels_are_told(name):
    make, y = MODELS[name]
    with pytest.raises(DataError, match="not those of the fit: targets"):
        mm.memory_map(make().fit(X, y), X, 1 - y)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["svc", "svc of 3", "svr"])
def test_other_rows_are_told_of_support_vector_machines(name):
    make, y = MODELS[name]
    with pytest.raises(DataError, match=r"rows: it was fitted on 90, 120 were given"):
        mm.memory_map(make().fit(X[:90], y[:90]), X, y)
    assert len(mm.memory_map(make().fit(X[:90], y[:90]), X[:90], y[:90])) == 90


@pytest.mark.parametrize("kind", [RandomForestRegressor, ExtraTreesClassifier])
def test_other_rows_are_told_of_forests(kind):
    y = Y if kind is RandomForestRegressor else BITS
    forest = kind(20, min_samples_leaf=3, bootstrap=True, random_state=0)
    with pytest.raises(DataError, match=r"rows: it was trained on 90, 120 were given"):
        mm.memory_map(forest.fit(X[:90], y[:90]), X, y)
    assert len(mm.memory_map(forest.fit(X, y), X, y)) == N


CHANGES = {
    "svc": ("C", 100.0), "svc of 3": ("C", 100.0), "svr": ("C", 100.0), "ridge": ("alpha", 1e-3), "gpr": ("alpha", 3.0),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_penalty_is_told(name):
    make, y = MODELS[name]
    parameter, value = CHANGES[name]
    model = make().fit(X, y)
    before = getattr(model, parameter)
    setattr(model, parameter, value)
    with pytest.raises(DataError, match=r"not those of the fit: (penalty|weights or C).*fit"):
        mm.memory_map(model, X, y)
    setattr(model, parameter, before)
    assert len(mm.memory_map(model, X, y)) == N
    assert len(mm.memory_map(model.set_params(**{parameter: value}).fit(X, y), X, y)) == N


def test_a_smaller_c_is_told():
    model = SVC(C=1.0).fit(X, BITS)
    model.C = 0.1
    with pytest.raises(DataError, match=r"beyond C = 0.1. Set C back"):
        mm.memory_map(model, X, BITS)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["svc", "svc of 3", "svr"])
def test_forgotten_weights_are_told_of_support_vector_machines(name):
    make, y = MODELS[name]
    model = make().fit(X, y, sample_weight=W)
    with pytest.raises(DataError, match=r"weights or C.*pass the sample_weight of the fit"):
        mm.memory_map(model, X, y)
    assert len(mm.memory_map(model, X, y, sample_weight=W)) == N


def test_weights_are_told_of_kernel_ridge():
    make, y = MODELS["ridge"]
    weighted = make().fit(X, y, sample_weight=W)
    with pytest.raises(DataError, match="weights: the fit had a sample_weight"):
        mm.memory_map(weighted, X, y)
    assert len(mm.memory_map(weighted, X, y, sample_weight=W)) == N
    with pytest.raises(DataError, match="weights: the model was fitted without any"):
        mm.memory_map(make().fit(X, y), X, y, sample_weight=W)
    assert len(mm.memory_map(make().fit(X, y, sample_weight=7.0), X, y, sample_weight=np.full(N, 7.0))) == N


def test_zero_weights_are_not_mistaken_for_another_fit():
    weight = np.where(np.arange(N) < 10, 0.0, W)
    for name in ("ridge", "svc", "svr"):
        make, y = MODELS[name]
        model = make().fit(X, y, sample_weight=weight)
        assert mm.memory_map(model, X, y, sample_weight=weight).summary().warnings == ()


@pytest.mark.filterwarnings("ignore:.*max_iter.*", "ignore:Solver terminated early.*")
@pytest.mark.parametrize("options", [{"max_iter": 10}, {"tol": 1.0}])
def test_a_machine_that_stopped_early_is_lit(options):
    m = mm.memory_map(SVC(**options).fit(X, BITS), X, BITS)
    assert "posterior standard deviations" in m.summary().warnings[0]
    m = mm.memory_map(SVC(tol=1e-4).fit(X, BITS), X, BITS)
    assert m.summary().warnings == ()


def test_class_weights_and_pipelines_are_not_mistaken():
    for y in (BITS, THREE):
        model = make_pipeline(StandardScaler(), SVC(class_weight="balanced")).fit(X, y)
        assert mm.memory_map(model, X, y).summary().warnings == ()
