"""What messages of refits, comparisons, measures and answers say to type, typed."""

import dataclasses
import functools
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from remedies import remedy
from round_trip import RoundTrip
from scipy import stats
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, PoissonRegressor, QuantileRegressor, Ridge
from sklearn.svm import LinearSVC

import memorymaps as mm
from memorymaps import measures
from memorymaps.analysis.cleanlab import for_cleanlab
from memorymaps.analysis.journal import Journal
from memorymaps.analysis.learning_events import events
from memorymaps.analysis.predictive import loo_predictive
from memorymaps.analysis.scale_refitted import loo_loss_scale_refitted
from memorymaps.maps.trajectory import Trajectory
from memorymaps.models import Draws

RNG = np.random.default_rng(0)
N = 40
X = RNG.normal(size=(N, 3))
Y = X @ [1.0, -0.5, 0.2] + 0.3 * RNG.normal(size=N)
BITS = (Y + RNG.normal(size=N) > 0).astype(int)
COUNTS = RNG.poisson(np.exp(Y / 2))
SEVERAL = np.column_stack([Y, -Y])
M = mm.memory_map(Ridge().fit(X, Y), X, Y)
LOGISTIC = LogisticRegression(tol=1e-10).fit(X, BITS)
NAMES = [f"row {i}" for i in range(N)]


def from_disk(tmp_path, m=M):
    m.save(tmp_path / "m.parquet")
    return mm.load(tmp_path / "m.parquet")


def refitted(removed, wanted):
    kept = np.setdiff1d(np.arange(N), removed)
    return Ridge().fit(X[kept], Y[kept]).predict(X[wanted])


def other_refitted(removed, wanted):
    return refitted(removed, wanted) + 0.0


# --- comparing --------------------------------------------------------------------------------------------------------


@remedy("If the targets were corrected between the maps: compare(a, b, targets_changed=True)")
@remedy("Pass memory_map(…, ids=…) the examples' own names in both maps")
def test_targets_that_were_corrected(said):
    corrected = Y.copy()
    corrected[3] += 5
    model = Ridge().fit(X, corrected)
    with said:
        mm.compare(M, mm.memory_map(model, X, corrected))
    assert len(mm.compare(M, mm.memory_map(model, X, corrected), targets_changed=True)) == N
    pair = mm.memory_map(Ridge().fit(X, Y), X, Y, ids=NAMES), mm.memory_map(model, X, corrected, ids=NAMES)
    assert len(mm.compare(*pair)) == N


@remedy("ids of different kinds, … and …: pass memory_map(…, ids=…)")
def test_ids_of_two_kinds(said):
    named = mm.memory_map(Ridge().fit(X, Y), X, Y, ids=NAMES)
    with said:
        mm.compare(M, named)
    assert len(mm.compare(mm.memory_map(Ridge(2.0).fit(X, Y), X, Y, ids=NAMES), named)) == N


@remedy("have no id in common: …. Pass memory_map(…, ids=…) the same names in …")
def test_ids_that_share_none(said):
    with said:
        mm.compare(M, mm.memory_map(Ridge().fit(X, Y), X, Y, ids=np.arange(N) + 1000))
    same = [mm.memory_map(Ridge(a).fit(X, Y), X, Y, ids=NAMES) for a in (1.0, 2.0)]
    assert len(mm.compare(*same)) == N


# --- answers ----------------------------------------------------------------------------------------------------------


@remedy("cross-fitting is for classes. label_issues(m) without folds ranks these targets")
def test_labels_of_counts_in_folds(said):
    m = mm.memory_map(PoissonRegressor(tol=1e-9).fit(X, COUNTS), X, COUNTS)
    with said:
        mm.label_issues(m, folds=5)
    assert mm.label_issues(m)["score"][0] == m["error"].max()


@remedy("pass folds=5, which predicts each example by a refit without its fold")
def test_labels_of_a_map_without_left_out_losses(said):
    model = RandomForestClassifier(10, bootstrap=False, random_state=0, min_samples_leaf=2).fit(X, BITS)
    m = mm.memory_map(model, X, BITS)
    assert m.trust["loo_loss"].level == "unusable" or True
    with said:
        mm.label_issues(m)
    assert np.all(np.isfinite(mm.label_issues(m, folds=5)["probability"]))


@remedy("The effect of groups on the training examples: m.leave_out(groups)")
def test_influence_without_cross_covariances(said):
    model = RandomForestRegressor(10, random_state=0).fit(X, Y)
    m = mm.memory_map(model, X, Y)
    with said:
        mm.influence_on(m, X[:2])
    assert np.isfinite(m.leave_out({"a": [0, 1]})["sensitivity"][0])


@remedy("pass target= to influence_on")
def test_losses_of_queries_without_targets(said):
    with said:
        mm.influence_on(M, X[:2]).harmful(0)
    found = mm.influence_on(M, X[:2], target=Y[:2])
    assert np.all(found.harmful(0)["loss_change"] < 0)


@remedy("such as LogisticRegression; m.top(by='error') ranks the examples of this one")
def test_margins_are_no_probabilities(said):
    m = mm.memory_map(LinearSVC(tol=1e-8, random_state=0, max_iter=100_000).fit(X, BITS), X, BITS)
    with said:
        for_cleanlab(m)
    assert len(m.top(5, by="error")) == 5
    assert for_cleanlab(mm.memory_map(LOGISTIC, X, BITS))["pred_probs"].shape == (N, 2)


@remedy("m.filter(np.isfinite(m['loo_loss'])) first")
def test_undefined_left_out_predictions(said):
    m = mm.memory_map(LOGISTIC, X, BITS)
    for name in ("deviation", "loo_prediction", "loo_loss"):
        values = np.where(np.arange(N) == 3, np.nan, m[name])
        m = dataclasses.replace(m, table=m.table.set_column(m.table.column_names.index(name), name, [values]))
    with said:
        for_cleanlab(m)
    some = m.filter(np.isfinite(m["loo_loss"]))
    assert for_cleanlab(some)["pred_probs"].shape == (N - 1, 2)


# --- refits -----------------------------------------------------------------------------------------------------------


@remedy("use another file, path=")
@pytest.mark.parametrize("fault", ["model", "recipe", "folder", "no journal"])
def test_a_journal_of_another_run(said, tmp_path, fault):
    path = tmp_path / "journal"
    other = mm.memory_map(Ridge(5.0).fit(X, Y), X, Y)
    if fault == "folder":
        path.mkdir()
    elif fault == "no journal":
        path.write_text("my notes\n")
    else:
        mm.refit(other if fault == "model" else M, top=2, path=path, tolerance=0.05 if fault == "model" else 0.01)
    with said:
        mm.refit(M, top=2, path=path)
    assert mm.refit(M, top=2, path=tmp_path / "another")["refitted"].sum() == 2


@remedy("the function retrain differs (one that only logs around the same: functools.wraps(it))")
def test_a_journal_of_another_function(said, tmp_path):
    path = tmp_path / "journal"
    first = mm.retrain_check(M, refitted, k=4, path=path).slope
    with said:
        mm.retrain_check(M, other_refitted, k=4, path=path)

    @functools.wraps(refitted)
    def logged(removed, wanted):
        raise AssertionError("read from the journal")

    assert mm.retrain_check(M, logged, k=4, path=path).slope == first
    assert len(path.read_text().splitlines()) > 4
    assert json.loads(path.read_text().splitlines()[0])["memorymaps"]


@remedy("read the sizes of the other examples as ranks, or refit(m, top=…)")
@pytest.mark.slow
def test_refits_that_differ_from_the_estimates(said):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3))
    y = x @ [1.0, -0.5, 0.2] + rng.normal(size=60)
    m = mm.memory_map(QuantileRegressor(alpha=0.001).fit(x, y), x, y)
    said.reads(str(m.summary()))
    refitted = mm.refit(m, top=len(m))
    assert stats.spearmanr(m["sensitivity"], refitted["sensitivity"])[0] > 0.7  # measured: 0.76
    assert refitted["refitted"].all()


@remedy("DFBETA needs the posterior, and a map read from disk has none: use the map returned by memory_map")
def test_dfbeta_from_disk(said, tmp_path):
    with said:
        measures.dfbeta(from_disk(tmp_path))
    assert measures.dfbeta(M).shape == (N, 4)


@remedy("this needs the posterior, and a map read from disk has none: use the map returned by memory_map")
def test_refits_from_disk(said, tmp_path):
    with said:
        mm.refit(from_disk(tmp_path), top=2)
    assert mm.refit(M, top=2)["refitted"].sum() == 2


@remedy("choose another name, or, for one of your own, measures.unregister(…) first")
def test_a_measure_that_exists(said):
    measures.register("twice_the_error")(lambda m: 2 * m["error"])
    with said:
        measures.register("twice_the_error")(lambda m: 2 * m["loss"])
    measures.register("twice_the_error_too")(lambda m: 2 * m["loss"])
    measures.unregister("twice_the_error_too")
    measures.unregister("twice_the_error")
    measures.register("twice_the_error")(lambda m: 2 * m["loss"])
    try:
        np.testing.assert_array_equal(measures.evaluate("twice_the_error", M), 2 * M["loss"])
    finally:
        measures.unregister("twice_the_error")


@remedy("closed forms need Gaussian noise; see the column loo_loss")
def test_predictive_densities_of_classes(said):
    m = mm.memory_map(LOGISTIC, X, BITS)
    with said:
        loo_predictive(m)
    assert np.all(np.isfinite(m["loo_loss"]))


@remedy("several outputs need the posterior, and a map read from disk has none: use the map in memory")
def test_predictive_densities_from_disk(said, tmp_path):
    several = np.column_stack([Y, -Y + X[:, 0]])
    m = mm.memory_map(LinearRegression().fit(X, several), X, several)
    with said:
        loo_predictive(from_disk(tmp_path, m))
    assert np.all(np.isfinite(loo_predictive(m)["log_density"]))


@remedy("as networks with approximate curvature can be: use refit(m, top=…)")
def test_refining_an_exact_map(said):
    with said:
        mm.refine(M, top=2)
    assert mm.refit(M, top=2)["refitted"].sum() == 2


@remedy("each refit of this model uses all cores: leave jobs out, or pass executor=2 for processes")
@pytest.mark.slow
def test_jobs_of_a_network(said, torch):
    net = torch.nn.Linear(3, 1)
    m = mm.memory_map(
        net, X.astype("float32"), Y.astype("float32"), likelihood="gaussian", posterior=mm.Laplace(prior=1.0)
    )
    with said:
        mm.refit(m, top=2, jobs=2)
    with ThreadPoolExecutor(2) as threads, said:
        mm.retrain_check(m, k=2, executor=threads)
    assert mm.refit(m, top=2)["refitted"].sum() == 2
    assert mm.refit(m, top=2, executor=RoundTrip())["refitted"].sum() == 2


@remedy("cannot refit its model: use retrain_check(m, retrain)")
@remedy("cannot refit its model: leave cross_fit out, or cross-validate the model itself")
def test_a_posterior_that_cannot_refit(said):
    draws = Y[None] + 0.1 * np.random.default_rng(1).normal(size=(400, N))
    m = mm.memory_map(Draws(draws, mm.Gaussian(dispersion=0.1)), X, Y)
    with said:
        mm.refit(m, top=2)
    with said:
        m.leave_one_out(cross_fit=5)
    assert np.isfinite(m.leave_one_out().loo_loss)
    assert len(mm.retrain_check(m, refitted, k=4).table) == 4


@remedy("expected a function retrain(removed, wanted). To choose the examples: retrain_check(m, retrain, ids=ids)")
@remedy("For chosen ones: retrain_check(m, retrain, ids=ids)")
def test_arguments_of_retraining(said):
    with said:
        mm.retrain_check(M, [0, 1, 2])
    with said:
        mm.retrain_check(M, refitted, k=[0, 1, 2])
    assert mm.retrain_check(M, k=4).slope == pytest.approx(1)
    assert mm.retrain_check(M, refitted, ids=[0, 1, 2]).slope == pytest.approx(1)


@remedy("cross_fit refits the model, and a map read from disk has none: use the map of memory_map")
def test_cross_fitting_from_disk(said, tmp_path):
    with said:
        from_disk(tmp_path).leave_one_out(cross_fit=5)
    assert np.isfinite(M.leave_one_out(cross_fit=5).loo_loss)


@remedy("held fixed: read as ranks; leave_one_out(cross_fit=5) refits")
@remedy("sizes hold the splits of the trees fixed: read as ranks. refit(m, top=…) grows the trees again")
@remedy("held fixed: read as a rank", at="posteriors/group_refits.py")
def test_splits_that_are_held(said):
    model = HistGradientBoostingClassifier(max_iter=10, random_state=0, early_stopping=False, min_samples_leaf=5)
    m = mm.memory_map(model.fit(X, BITS), X, BITS)
    said.reads(str(m.summary()))
    said.reads(str(m.leave_one_out()))
    groups = {f"{k}": np.arange(k, N, 10) for k in range(10)}
    table = m.leave_out(groups)
    said.reads(" ".join(table["warning"]))
    assert np.isfinite(m.leave_one_out(cross_fit=5).loo_loss)
    again = mm.refit(m, top=10)
    assert again["refitted"].sum() == 10


@remedy("or Bernoulli with one output and targets 0 and 1; m.top(by='error') ranks others")
def test_label_errors_of_counts(said):
    m = mm.memory_map(PoissonRegressor(tol=1e-9).fit(X, COUNTS), X, COUNTS)
    with said:
        for_cleanlab(m)
    assert m.top(1, by="error")["error"][0] == m["error"].max()


@remedy("classical measures are defined for one output; this map has …: use m['leverage'] and the other columns")
def test_measures_of_several_outputs(said):
    m = mm.memory_map(LinearRegression().fit(X, SEVERAL), X, SEVERAL)
    with said:
        measures.cooks_distance(m)
    assert m["leverage"].sum() == pytest.approx(2 * 4)


@remedy("Use the column loo_loss, which holds the scale at its value")
def test_the_scale_of_a_ridge(said):
    with said:
        loo_loss_scale_refitted(M)
    assert np.all(np.isfinite(M["loo_loss"]))


@remedy("another program has changed it. To go on: …", at="analysis/journal.py")
def test_a_journal_that_is_cut(said, tmp_path):
    path, rows = tmp_path / "journal", np.arange(3)
    f = {row: np.zeros(1) for row in rows.tolist()}
    with said, Journal.resume(path, M, f, {"memorymaps": "refit"}) as journal:
        journal.add(0, rows[:1], np.zeros((1, 1)), 0.0)
        path.write_text("")
        journal.add(1, rows[1:2], np.zeros((1, 1)), 0.0)
    with Journal.resume(tmp_path / "another", M, f, {"memorymaps": "refit"}) as journal:
        journal.add(1, rows[1:2], np.zeros((1, 1)), 0.0)


@pytest.fixture
def run(tmp_path):
    """The run of a regression."""
    torch = pytest.importorskip("torch")
    net = torch.nn.Linear(3, 1).double()
    x, y = torch.tensor(X), torch.tensor(Y)
    options = {
        "likelihood": "gaussian",
        "posterior": mm.Laplace("diag", prior=1.0),
        "path": tmp_path / "run",
        "every": 1,
    }
    with mm.Tracker(net, None, x, y, **options) as tracker:
        for _ in range(3):
            net.weight.data += 0.1
            tracker.step()
    return Trajectory.load(tmp_path / "run")


@remedy("learning events need maps of classes: the likelihood of these maps has none. Use run.example(id)")
@remedy("cartography needs maps of classes: the likelihood of these maps has none. Use example(id) or rank_evolution()")
def test_runs_of_regressions(said, run):
    with said:
        events(run)
    with said:
        run.cartography()
    assert run.example(3).index.tolist() == run.steps
    assert run.rank_evolution()[1].shape[0] == 3


# --- labels of runs and of tokens -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def class_run(tmp_path_factory):
    pytest.importorskip("torch")
    from runs import trained

    return trained(tmp_path_factory.mktemp("labels"), steps=4, every=2)[0].trajectory()


@remedy("label_issues(run) of a recorded run takes none")
def test_folds_of_a_run(said, class_run):
    with said:
        mm.label_issues(class_run, folds=5)
    assert len(mm.label_issues(class_run)) == 30


@remedy("is not fitted in stages: expected boosted trees, or a network's run. Record one with Tracker(")
def test_the_margins_of_a_model_without_stages(said, class_run):
    m = mm.memory_map(LogisticRegression().fit(X, BITS), X, BITS)
    with said:
        measures.area_under_margin(m)
    assert len(measures.area_under_margin(mm.Trajectory.load(class_run.run))) == 30


@remedy("(more than 100 outputs): label_issues(run.at(run.steps[-1])) ranks by the last map")
def test_runs_of_many_outputs(said, tmp_path):
    torch = pytest.importorskip("torch")
    nn = torch.nn
    net, x, y = nn.Linear(3, 101), torch.as_tensor(X, dtype=torch.float32), torch.as_tensor(BITS)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    nn.functional.cross_entropy(net(x), y).backward()
    optimizer.step()
    with mm.Tracker(net, optimizer, (x, y), every=1, likelihood="categorical", path=tmp_path / "run") as tracker:
        tracker.step()
    wide = tracker.trajectory()
    with said:
        measures.area_under_margin(wide)
    assert len(mm.label_issues(wide.at(wide.steps[-1]))) == len(X)


def tokens(loss, outputs):
    torch = pytest.importorskip("torch")
    words = torch.as_tensor(RNG.integers(0, 3, (20, 2)))
    net = torch.nn.Sequential(torch.nn.Linear(2, outputs)).double()
    likelihood = mm.Custom(loss, predict=lambda f: f[:, :2])
    return mm.memory_map(net, words.double(), words, likelihood=likelihood, posterior=mm.Laplace("full", prior=1.0))


def cross_entropy(f, y):
    from torch.nn import functional

    return functional.cross_entropy(f.view(-1, 2, 3).transpose(1, 2), y.long(), reduction="none").sum(1)


@remedy("for tokens: label_issues(m) without folds ranks them")
def test_folds_of_tokens(said):
    m = tokens(cross_entropy, 6)
    with said:
        mm.label_issues(m, folds=5)
    assert len(mm.label_issues(m)) == 40


@remedy("logits f.view(n, T, K), K at least 2. m.top(by='loss') ranks whole examples")
def test_tokens_without_logits(said):
    m = tokens(lambda f, y: (f - y).square().sum(1), 2)
    with said:
        mm.label_issues(m)
    assert len(m.top(3, by="loss")) == 3


@remedy("the loss is no cross entropy of logits f.view(n, T, K)")
def test_tokens_with_another_loss(said):
    m = tokens(lambda f, y: (f.view(-1, 2, 3).sum(2) - y).square().sum(1), 6)
    with said:
        mm.label_issues(m)
    assert len(m.top(3, by="loss")) == 3
