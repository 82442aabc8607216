"""Refits of every family by workers equal those of this process."""

from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pytest
from remedies import remedy
from round_trip import RoundTrip
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, WhiteKernel
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Lasso, LogisticRegression, PoissonRegressor, QuantileRegressor, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR

import memorymaps as mm
from memorymaps.files.batch_journal import BatchJournalError
from memorymaps.files.executors.errors import WorkerLostError

XR, YR = (part[:60] for part in load_diabetes(return_X_y=True))
YR = (YR - 150) / 77
XC, YC = (part[:80] for part in load_breast_cancer(return_X_y=True))
XC = StandardScaler().fit_transform(XC)[:, :6]
COUNTS = np.random.default_rng(0).poisson(np.exp(YR / 2))

FAMILIES = {
    "ridge": (Ridge(0.1), XR, YR),
    "logistic": (LogisticRegression(), XC, YC),
    "balanced classes": (LogisticRegression(class_weight="balanced"), XC, YC),
    "Poisson": (PoissonRegressor(alpha=0.01, max_iter=1000), XR, COUNTS),
    "lasso": (Lasso(alpha=0.02, tol=1e-12, max_iter=10**5), XR, YR),
    "quantile": (QuantileRegressor(alpha=0.01, solver="highs"), XR, YR),
    "pipeline": (make_pipeline(StandardScaler(), LogisticRegression()), XC, YC),
    "kernel ridge": (KernelRidge(alpha=0.5, kernel="rbf", gamma=0.1), XR, YR),
    "Gaussian process": (GaussianProcessRegressor(RBF(2.0) + WhiteKernel(0.3), optimizer=None), XR, YR),
    "SVC": (SVC(gamma=0.1, tol=1e-8), XC, YC),
    "SVR": (SVR(gamma=0.1, tol=1e-8), XR, YR),
    "forest": (RandomForestClassifier(5, random_state=0, min_samples_leaf=2), XC, YC),
    "boosting": (GradientBoostingRegressor(n_estimators=5, random_state=0), XR, YR),
    "histogram boosting": (HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=5), XC, YC),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_refits_by_workers_equal_those_here(name):
    model, x, y = FAMILIES[name]
    m = mm.memory_map(model.fit(x, y), x, y)
    here, there = mm.refit(m, top=3), mm.refit(m, top=3, executor=RoundTrip())
    np.testing.assert_allclose(there["deviation"], here["deviation"], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["lightgbm", "xgboost", "catboost", "statsmodels"])
@pytest.mark.slow
def test_refits_of_other_libraries(name):
    pytest.importorskip(name)
    m = other_libraries()[name]()
    here, there = mm.refit(m, top=2), mm.refit(m, top=2, executor=RoundTrip())
    np.testing.assert_allclose(there["deviation"], here["deviation"], rtol=1e-10, atol=1e-12)


def other_libraries():
    def lightgbm():
        import lightgbm as lib

        return mm.memory_map(lib.LGBMRegressor(n_estimators=4, verbosity=-1, n_jobs=1).fit(XR, YR), XR, YR)

    def xgboost():
        import xgboost as lib

        return mm.memory_map(lib.XGBRegressor(n_estimators=4, max_depth=2, n_jobs=1).fit(XR, YR), XR, YR)

    def catboost():
        import catboost as lib

        quiet = {"verbose": 0, "allow_writing_files": False, "thread_count": 1}
        return mm.memory_map(lib.CatBoostRegressor(iterations=4, **quiet).fit(XR, YR), XR, YR)

    def statsmodels():
        import statsmodels.api as sm

        return mm.memory_map(sm.GLM(COUNTS, sm.add_constant(XR[:, :3]), family=sm.families.Poisson()).fit())

    return {"lightgbm": lightgbm, "xgboost": xgboost, "catboost": catboost, "statsmodels": statsmodels}


@pytest.mark.slow
def test_refits_of_a_network():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    x, y = torch.randn(40, 3), torch.arange(40) % 2
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))
    m = mm.memory_map(net, x, y, likelihood="categorical", posterior=mm.Laplace(prior=1.0))
    here, there = mm.refit(m, top=2), mm.refit(m, top=2, executor=RoundTrip())
    np.testing.assert_allclose(there["deviation"], here["deviation"], rtol=1e-6, atol=1e-9)


def test_cross_fitting_by_workers_equals_that_here():
    model, x, y = FAMILIES["forest"]
    m = mm.memory_map(model.fit(x, y), x, y)
    executor = RoundTrip()
    assert m.leave_one_out(cross_fit=4, executor=executor) == m.leave_one_out(cross_fit=4)
    there, here = mm.label_issues(m, folds=4, executor=executor), mm.label_issues(m, folds=4)
    assert there.table.equals(here.table)
    chosen = mm.select_model({"a": m, "b": m}, cross_fit=4, executor=executor)
    assert chosen.table.equals(mm.select_model({"a": m, "b": m}, cross_fit=4).table)
    assert executor.submitted == 4 * 4


# --- folds that are kept ----------------------------------------------------------------------------------------------


class Killed(RoundTrip):
    """A pool that breaks at the third task."""

    def run(self, fn, args, kwargs):
        if self.submitted >= 3:
            raise BrokenProcessPool("a process in the pool was terminated abruptly")
        return fn(*args, **kwargs)


def ridge(alpha=0.1, y=YR):
    return mm.memory_map(Ridge(alpha).fit(XR, y), XR, y)


def logistic():
    return mm.memory_map(LogisticRegression().fit(XC, YC), XC, YC)


FOLDS = {
    "averages": (ridge, lambda m, **options: m.leave_one_out(cross_fit=5, **options)),
    "labels": (logistic, lambda m, **options: mm.label_issues(m, folds=5, **options)["score"].tolist()),
    "selection": (logistic, lambda m, **options: mm.select_model([m, m], cross_fit=5, **options)["value"].tolist()),
}


@pytest.mark.parametrize("name", FOLDS)
def test_finished_folds_survive_a_killed_worker_and_are_not_computed_again(name, tmp_path):
    make, ask = FOLDS[name]
    m, folder = make(), tmp_path / "folds"
    whole, number = ask(m), 10 if name == "selection" else 5
    with pytest.raises(WorkerLostError, match="What was finished is kept"):
        ask(m, executor=Killed(), path=folder)
    files = {file: file.stat().st_mtime_ns for file in folder.rglob("0*.parquet")}
    assert len(files) == 2
    again = RoundTrip()
    assert ask(m, executor=again, path=folder) == whole
    assert again.submitted == number - 2
    assert {file: file.stat().st_mtime_ns for file in files} == files
    assert len(list(folder.rglob("0*.parquet"))) == number
    last = RoundTrip()
    assert ask(make(), executor=last, path=folder) == whole  # a new process: the same model and data again
    assert last.submitted == 0


def test_folds_of_something_else_are_refused_by_name(tmp_path):
    ridge().leave_one_out(cross_fit=3, path=tmp_path)
    for m, folds, named in ((ridge(0.2), 3, "model"), (ridge(), 4, "folds"), (ridge(y=2 * YR), 3, "data")):
        with pytest.raises(BatchJournalError, match=f"{named}.*choose another path="):
            m.leave_one_out(cross_fit=folds, path=tmp_path)
        assert m.leave_one_out(cross_fit=folds, path=tmp_path / named).folds == folds  # the remedy


@remedy("is there, and has no finished batches: choose another path=")
@pytest.mark.parametrize("kind", ["a map in a folder", "a file"])
def test_what_is_there_is_left_as_it_is(said, kind, tmp_path):
    m, path = ridge(), tmp_path / "there"
    if kind == "a file":
        path.write_text("kept")
    else:
        m.save(f"{path}/")
    before = sorted(str(each) for each in tmp_path.rglob("*"))
    with said:
        m.leave_one_out(cross_fit=3, path=path)
    assert sorted(str(each) for each in tmp_path.rglob("*")) == before
    assert m.leave_one_out(cross_fit=3, path=tmp_path / "folds").folds == 3


@remedy("keeps the refits of cross-fitting, and there are none: pass both")
def test_a_path_without_folds(said, tmp_path):
    m = logistic()
    with said:
        m.leave_one_out(path=tmp_path / "a")
    assert m.leave_one_out(cross_fit=5, path=tmp_path / "a").folds == 5
    with pytest.raises(ValueError, match=r"label_issues\(m, folds=5, path=…\)"):
        mm.label_issues(m, path=tmp_path / "b")
    assert len(mm.label_issues(m, folds=5, path=tmp_path / "b")) == len(m)
    with pytest.raises(ValueError, match=r"select_model\(maps, cross_fit=5, path=…\)"):
        mm.select_model([m, m], path=tmp_path / "c")
    assert len(mm.select_model([m, m], cross_fit=5, path=tmp_path / "c")) == 2
