"""What messages about data, ids, files and maps say to type, typed."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from remedies import remedy
from sklearn.ensemble import RandomForestRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn_versions import LASSO

import memorymaps as mm
from memorymaps.files.batch_journal import BatchJournal
from memorymaps.files.locks import WriterLock
from memorymaps.maps import schema
from memorymaps.models import (
    BetaBernoulli,
    DirichletCategorical,
    Draws,
    GammaPoisson,
    NormalMean,
    Sampler,
    StateSpace,
)

RNG = np.random.default_rng(0)
N = 40
X = RNG.normal(size=(N, 3))
Y = X @ [1.0, -0.5, 0.2] + 0.3 * RNG.normal(size=N)
BITS = (Y + RNG.normal(size=N) > 0).astype(int)
RIDGE = Ridge().fit(X, Y)
M = mm.memory_map(RIDGE, X, Y)


def ridge(**settings):
    return mm.memory_map(RIDGE, X, Y, **settings)


# --- arguments of memory_map ------------------------------------------------------------------------------------------


@remedy("which UTF-8 cannot encode: use text.encode('utf-8', 'backslashreplace').decode()")
def test_texts_that_utf8_cannot_encode(said, tmp_path):
    names = np.array([f"a\udc80{k}" for k in range(N)])
    with said:
        mm.memory_map(RIDGE, X, Y, ids=names)
    encoded = [text.encode("utf-8", "backslashreplace").decode() for text in names]
    mm.memory_map(RIDGE, X, Y, ids=encoded).save(tmp_path / "m.parquet")
    assert mm.load(tmp_path / "m.parquet")["id"].tolist() == encoded
    labels = np.where(BITS == 1, "\udc80", "b")
    with said:
        mm.memory_map(LogisticRegression().fit(X, labels), X, labels)


@remedy("pass both, estimator='cavity', change=…")
def test_a_change_without_an_estimator(said):
    with said:
        ridge(change="linearised")
    assert ridge(estimator="cavity", change="linearised").provenance.estimator.change == "linearised"


@remedy("pass only one", at="core/perturbation/estimators.py")
def test_a_code_and_a_change(said):
    with said:
        ridge(estimator="R-sm", change="linearised")
    assert ridge(estimator="R-sm").provenance.estimator.change == "exact"
    assert ridge(estimator="cavity", change="linearised").provenance.estimator.change == "linearised"


@remedy("no estimator …: choose one of …")
@remedy("change = …: choose one of …")
def test_names_of_estimators(said):
    with said:
        ridge(estimator="leave_one_out")
    names = said.text.partition("choose one of ")[2].splitlines()[0].split(", ")
    assert "cavity" in names
    for name in set(names) - {"out_of_bag"}:
        assert len(ridge(estimator=name)) == N
    with said:
        ridge(estimator="cavity", change="approximate")
    for name in said.text.partition("choose one of ")[2].splitlines()[0].split(", "):
        assert len(ridge(estimator="cavity", change=name)) == N


@remedy("is for forests with bootstrap=True: leave estimator out for the model's own")
def test_out_of_bag_without_bags(said):
    with said:
        ridge(estimator="out_of_bag")
    assert len(ridge()) == N
    forest = RandomForestRegressor(20, bootstrap=True, random_state=0).fit(X, Y)
    assert mm.memory_map(forest, X, Y).provenance.estimator.name == "out_of_bag"


@remedy("likelihood = … without posterior=…: a network needs both")
def test_a_likelihood_alone(said):
    with said:
        ridge(likelihood="gaussian")
    assert len(ridge()) == N


@remedy("likelihood = … without posterior=…: a network needs both")
def test_a_likelihood_alone_of_a_network(said, torch):
    net, n = torch.nn.Linear(3, 2), N
    optimizer = torch.optim.SGD(net.parameters(), 0.1, weight_decay=0.01)
    x, y = torch.tensor(X, dtype=torch.float32), torch.tensor(BITS)
    with said:
        mm.memory_map(net, x, y, likelihood="categorical")
    recipe = mm.Laplace(prior=mm.prior_from(optimizer, n))
    assert len(mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe)) == N


@remedy("arrays are divided into batches as memory allows: leave it out")
def test_a_batch_size_of_arrays(said):
    with said:
        ridge(batch_size=10)
    assert len(ridge()) == N


@remedy("targets, weights or an offset without inputs: call memory_map(model, X, y, …)")
def test_targets_without_inputs(said):
    with said:
        mm.memory_map(RIDGE, target=Y)
    assert len(mm.memory_map(RIDGE, X, Y)) == N


@remedy("has its own targets, ids, weights and offset: pass no others")
def test_examples_and_targets(said):
    examples = mm.ArrayExamples.of(X, Y)
    with said:
        mm.memory_map(RIDGE, examples, Y)
    assert len(mm.memory_map(RIDGE, examples)) == N


@remedy("a map needs targets: memory_map(model, X, y)")
def test_inputs_without_targets(said):
    with said:
        mm.ArrayExamples.of(X, None)
    assert len(mm.memory_map(RIDGE, X, Y)) == N


@remedy("pass one … an example", at="data/coercion.py")
@pytest.mark.parametrize("name", ["target", "sample_weight", "offset"])
def test_columns_of_another_length(said, name):
    columns = {"target": Y, "sample_weight": np.ones(N), "offset": np.zeros(N)}
    with said:
        mm.memory_map(RIDGE, X, **{"target": Y, name: columns[name][:-1]})
    assert len(mm.memory_map(RIDGE, X, **{"target": Y, name: columns[name]})) == N


@remedy("pass one id an example")
@remedy("ids must be unique")
@remedy("every example needs a name of its own. Pass others, for instance row numbers, ids=range(…)")
def test_ids_that_name_no_example(said):
    with said:
        ridge(ids=range(N - 1))
    with said:
        ridge(ids=["same"] * N)
    assert f"ids=range({N})" in said.text
    with said:
        ridge(ids=[None, *map(str, range(1, N))])
    assert f"ids=range({N})" in said.text
    assert ridge(ids=range(N))["id"][3] == 3
    assert ridge(ids=[f"house {k}" for k in range(N)])["id"][3] == "house 3"


@remedy("the data have ids of their own: pass only one of them")
def test_ids_given_twice(said, torch):
    net = torch.nn.Linear(3, 1)
    x, y = torch.tensor(X, dtype=torch.float32), torch.tensor(Y, dtype=torch.float32)
    names = [f"row {i}" for i in range(N)]
    recipe = {"likelihood": "gaussian", "posterior": mm.Laplace(prior=1.0)}
    with said:
        mm.memory_map(net, [(x, y, names)], ids=names, **recipe)
    assert mm.memory_map(net, [(x, y, names)], **recipe)["id"][1] == "row 1"
    assert mm.memory_map(net, [(x, y)], ids=names, **recipe)["id"][1] == "row 1"


@remedy("A loader holds its own targets: memory_map(net, loader, …)")
def test_an_iterator_and_targets(said, torch):
    net = torch.nn.Linear(3, 1)
    x, y = torch.tensor(X, dtype=torch.float32), torch.tensor(Y, dtype=torch.float32)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), 16)
    recipe = {"likelihood": "gaussian", "posterior": mm.Laplace(prior=1.0)}
    with said:
        mm.memory_map(net, loader, y, **recipe)
    assert len(mm.memory_map(net, loader, **recipe)) == N


@remedy("are text: expected the examples. A file's: memory_map(model, ParquetExamples(path, target='y'))")
def test_a_files_name_and_targets(said, tmp_path):
    path = tmp_path / "data.parquet"
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    frame.assign(y=Y).to_parquet(path)
    model = Ridge().fit(frame, Y)
    for name in (path, str(path)):
        with said:
            mm.memory_map(model, name, Y)
    assert len(mm.memory_map(model, mm.ParquetExamples(path, target="y"))) == N


@remedy("cannot read these examples: …. Pass X and y as they were passed to fit")
def test_inputs_that_the_model_cannot_read(said):
    forest = RandomForestRegressor(5, random_state=0, min_samples_leaf=2).fit(X, Y)
    with said:
        mm.memory_map(forest, X[:, :2], Y)
    assert len(mm.memory_map(forest, X, Y)) == N


@remedy("To go on, draw the map again: memory_map(…)", at="data/repeated.py")
@remedy("what its parts say would mix two models. To go on, draw the map again: memory_map(…)")
def test_what_has_changed_since(said):
    x, model = X.copy(), Ridge().fit(X, Y)
    m = mm.memory_map(model, x, Y)
    x[0] += 1
    with said:
        m.leave_out({"a": [0]})
    m = mm.memory_map(model.fit(x, Y), x, Y)
    model.fit(x, Y + x[:, 0] ** 2)
    with said:
        m.leave_out({"a": [0]})
    assert mm.memory_map(model, x, Y + x[:, 0] ** 2).leave_out({"a": [0]})["size"][0] == 1


@remedy(
    "came in another order or with other targets on the second pass: pass arrays, or a loader that does not shuffle"
)
@pytest.mark.parametrize("how", ["arrays", "loader"])
def test_data_in_another_order(said, torch, how):
    net, generator = torch.nn.Linear(3, 1), torch.Generator().manual_seed(0)
    x, y = torch.tensor(X, dtype=torch.float32), torch.tensor(Y, dtype=torch.float32)
    data = torch.utils.data.TensorDataset(x, y)

    class Shuffled:
        def __iter__(self):
            return iter([(x, y[torch.randperm(N, generator=generator)])])

    recipe = {"likelihood": "gaussian", "posterior": mm.Laplace(prior=1.0)}
    with said:
        mm.memory_map(net, mm.LoaderExamples(Shuffled()), **recipe)
    given = (x, y) if how == "arrays" else (torch.utils.data.DataLoader(data, 20, shuffle=False),)
    assert len(mm.memory_map(net, *given, **recipe)) == N


@remedy("To add a model kind: @memorymaps.posterior.register(YourModel)")
def test_an_unknown_model(said):
    class YourModel(GaussianNB):
        coef_, intercept_ = None, None

    model = YourModel().fit(X, BITS)
    with said:
        mm.memory_map(model, X, BITS)
    base = LogisticRegression(tol=1e-8).fit(X, BITS)

    @mm.training_data.register(YourModel)
    def _(model, examples):
        return mm.training_data(base, examples)

    @mm.posterior.register(YourModel)
    def _(model, examples):
        return mm.posterior(base, examples)

    try:
        YourModel.predict = lambda self, x: base.predict(x)
        YourModel.predict_proba = lambda self, x: base.predict_proba(x)
        assert len(mm.memory_map(model, X, BITS)) == N
    finally:
        mm.posterior.unregister(YourModel)
        mm.training_data.unregister(YourModel)


@remedy("A class with predictions of its own: add its posterior, @memorymaps.posterior.register(…)")
def test_a_class_with_its_own_predictions(said):
    class Shifted(Ridge):
        def predict(self, X):
            return super().predict(X) + 1

    class ShiftedPosterior(type(mm.posterior(RIDGE, mm.ArrayExamples.of(X, Y)))):
        def marginals(self, inputs):
            found = super().marginals(inputs)
            return mm.Marginals(found.f + 1, found.variance)

    model = Shifted().fit(X, Y)
    with said:
        mm.memory_map(model, X, Y)

    @mm.posterior.register(Shifted)
    def _(model, examples):
        inner = mm.posterior(RIDGE, examples)
        return ShiftedPosterior(**{f.name: getattr(inner, f.name) for f in dataclasses.fields(inner)})

    try:
        np.testing.assert_allclose(mm.memory_map(model, X, Y)["leverage"], M["leverage"])
    finally:
        mm.posterior.unregister(Shifted)


@remedy("holds no targets: pass memory_map(model, X, y), a torch Dataset or DataLoader, or LoaderExamples")
def test_data_without_targets(said, torch):
    net = torch.nn.Linear(3, 1)
    x, y = torch.tensor(X, dtype=torch.float32), torch.tensor(Y, dtype=torch.float32)
    recipe = {"likelihood": "gaussian", "posterior": mm.Laplace(prior=1.0)}
    with said:
        mm.memory_map(RIDGE, X)
    data = torch.utils.data.TensorDataset(x, y)
    for given in ((x, y), (data,), (torch.utils.data.DataLoader(data, 20),), (mm.LoaderExamples([(x, y)]),)):
        assert len(mm.memory_map(net, *given, **recipe)) == N


@remedy("for data sets of networks only; leave it out for …")
def test_a_batch_size_of_another_model(said):
    with said:
        mm.memory_map(RIDGE, pd.DataFrame(X), batch_size=10)
    assert len(mm.memory_map(RIDGE, X, Y)) == N


@remedy("does not keep its training data: pass it, memory_map(model, X, y)", at="posteriors/registry.py")
def test_a_model_of_your_own_without_data(said):
    class Mine:
        pass

    mm.posterior.register(Mine)(lambda model, examples: mm.posterior(RIDGE, examples))
    try:
        with said:
            mm.memory_map(Mine())
        assert len(mm.memory_map(Mine(), X, Y)) == N
    finally:
        mm.posterior.unregister(Mine)


@remedy("targets are text, the first is …")
def test_texts_for_a_model_without_class_names(said, torch):
    net, names = torch.nn.Linear(3, 2), ["no", "yes"]
    y = [names[bit] for bit in BITS]
    x = torch.tensor(X, dtype=torch.float32)
    recipe = {"likelihood": "categorical", "posterior": mm.Laplace(prior=1.0)}
    with said:
        mm.memory_map(net, x, y, **recipe)
    m = mm.memory_map(net, x, [names.index(label) for label in y], **recipe)
    np.testing.assert_array_equal(m["target"], BITS)


@remedy("look for NaN in the offset, for parameters that diverged, and fit again")
@remedy("or the fit has diverged: fit again on finite data")
def test_what_is_not_finite(said):
    class Mine:
        pass

    class Diverged(type(mm.posterior(RIDGE, mm.ArrayExamples.of(X, Y)))):
        def marginals(self, inputs):
            found = super().marginals(inputs)
            return mm.Marginals(np.where(np.arange(len(found.f))[:, None] == 3, np.nan, found.f), found.variance)

    broken = {"kind": None}
    mm.training_data.register(Mine)(lambda model, examples: examples)

    @mm.posterior.register(Mine)
    def _(model, examples):
        source = mm.posterior(RIDGE, examples)
        if broken["kind"] == "description":
            nan = dataclasses.replace(source.description, effective_parameters=np.nan)
            return dataclasses.replace(source, description=nan)
        if broken["kind"] == "outputs":
            return Diverged(**{f.name: getattr(source, f.name) for f in dataclasses.fields(source)})
        return source

    try:
        for broken["kind"] in ("description", "outputs"):
            with said:
                mm.memory_map(Mine(), X, Y)
        broken["kind"] = None
        assert len(mm.memory_map(Mine(), X, Y)) == N
    finally:
        mm.posterior.unregister(Mine)
        mm.training_data.unregister(Mine)


@remedy("Every example is fitted exactly: use fewer features, a penalised model, or a known noise variance")
@remedy("As many parameters as examples leave nothing to estimate it from: use fewer features or a penalty")
def test_a_dispersion_that_is_no_number(said):
    wide = RNG.normal(size=(N, N))
    with said:
        mm.memory_map(sm.OLS(Y, wide).fit())
    with said:
        mm.memory_map(sm.OLS(np.zeros(N), wide[:, :3]).fit())
    assert len(mm.memory_map(sm.OLS(Y, wide[:, :3]).fit())) == N
    assert len(mm.memory_map(Ridge().fit(wide, Y), wide, Y)) == N
    known = GaussianProcessRegressor(RBF(), alpha=0.1, optimizer=None).fit(wide, Y)
    assert len(mm.memory_map(known, wide, Y)) == N


# --- maps -------------------------------------------------------------------------------------------------------------


@remedy("a map read from disk has none: call leave_out on the map that memory_map returned")
def test_groups_from_disk(said, tmp_path):
    M.save(tmp_path / "m.parquet")
    with said:
        mm.load(tmp_path / "m.parquet").leave_out({"a": [0, 1]})
    assert M.leave_out({"a": [0, 1]})["size"][0] == 2


@remedy("For chosen examples as one group: m.leave_out({'chosen': ids})")
def test_a_list_for_a_group(said):
    ids = [0, 3]
    with said:
        M.leave_out(ids)
    assert M.leave_out({"chosen": ids})["size"][0] == 2
    assert len(M.leave_out(np.arange(N) % 2)) == 2


@remedy(". For a mask of True and False: m.filter(mask)")
def test_a_mask_for_ids(said):
    mask = Y > 0
    with said:
        M.select(mask)
    assert len(M.filter(mask)) == mask.sum()


@remedy(": how many examples. For chosen ones: m.select(ids)")
def test_ids_for_a_number(said):
    ids = [3, 5]
    with said:
        M.top(ids)
    assert M.select(ids)["id"].tolist() == ids
    assert len(M.top(2)) == 2


@remedy("this version reads up to …: pip install -U memorymaps")
@pytest.mark.slow
def test_a_map_of_a_later_version(said, tmp_path, monkeypatch):
    from memorymaps.maps import store

    path = tmp_path / "m.parquet"
    with monkeypatch.context() as later:
        for module in (schema, store):
            if hasattr(module, "SCHEMA_VERSION"):
                later.setattr(module, "SCHEMA_VERSION", 1000)
        M.save(path)
        assert len(mm.load(path)) == N  # the later version reads it
    with said:
        mm.load(path)
    pip = subprocess.run([sys.executable, "-m", "pip", "install", "--help"], capture_output=True, text=True, check=True)
    assert "-U, --upgrade" in pip.stdout


@remedy("without these rows no example of class … is left, and the estimator cannot be fitted: leave fewer rows out")
def test_a_group_that_is_a_class(said):
    model = LogisticRegression(**LASSO, solver="saga", tol=1e-8, max_iter=10_000).fit(X, BITS)
    m = mm.memory_map(model, X, BITS)
    said.reads(" ".join(m.leave_out({"class": np.flatnonzero(BITS)})["warning"]))
    assert np.isfinite(m.leave_out({"part": np.flatnonzero(BITS)[1:]})["sensitivity"][0])


# --- models that hold their data --------------------------------------------------------------------------------------


@remedy("is a prior without data: call memory_map(prior.given(y))")
@remedy("a conjugate posterior carries its data: call memory_map(family.given(y)), without X and y")
@pytest.mark.parametrize("name", ["bernoulli", "poisson", "categorical", "normal"])
def test_conjugate_families(said, name):
    prior, y = {
        "bernoulli": (BetaBernoulli(1.0, 1.0), BITS), "poisson": (GammaPoisson(1.0, 1.0), BITS + 1),
        "categorical": (DirichletCategorical((1.0, 1.0)), BITS),
        "normal": (NormalMean(np.zeros(1), np.eye(1), np.eye(1)), Y[:, None]),
    }[name]  # fmt: skip
    with said:
        mm.memory_map(prior)
    with said:
        mm.memory_map(prior.given(y), X, y)
    assert len(mm.memory_map(prior.given(y))) == N


@remedy("this state-space model has no observations: call memory_map(model.given(y))")
@remedy("a smoothed series carries its data: call memory_map(model.given(y)), without X and y")
def test_state_space_models(said):
    model = StateSpace([[1.0]], [[1.0]], [[0.1]], [[1.0]], [0.0], [[10.0]])
    with said:
        mm.memory_map(model)
    with said:
        mm.memory_map(model.given(Y), X, Y)
    assert len(mm.memory_map(model.given(Y))) == N


DRAWS = Y + 0.2 * RNG.normal(size=(300, N))


@remedy("drop diverged draws or fix the sampler")
def test_draws_that_have_diverged(said):
    bad = DRAWS.copy()
    bad[7] = np.nan
    with said:
        mm.memory_map(Draws(bad, mm.Gaussian(0.1)), X, Y)
    kept = bad[np.isfinite(bad).all(axis=1)]
    assert len(mm.memory_map(Draws(kept, mm.Gaussian(0.1)), X, Y)) == N


@remedy("these draws have no targets: call memory_map(draws, X, y)")
def test_draws_without_targets(said):
    with said:
        mm.memory_map(Draws(DRAWS, mm.Gaussian(0.1)))
    assert len(mm.memory_map(Draws(DRAWS, mm.Gaussian(0.1)), X, Y)) == N


@remedy("a Sampler does not keep its training data: call memory_map(sampler, X, y)")
def test_a_sampler_without_data(said):
    slopes = RNG.normal(size=(200, 3)) * 0.1 + [1.0, -0.5, 0.2]
    sampler = Sampler(lambda x: slopes @ np.asarray(x).T, mm.Gaussian(0.1))
    with said:
        mm.memory_map(sampler)
    assert len(mm.memory_map(sampler, X, Y)) == N


@remedy("ExpectedLikelihood(Bernoulli()) or ExpectedLikelihood(Categorical())")
def test_the_likelihood_of_draws(said):
    Bernoulli, Categorical, Gaussian = mm.likelihoods.Bernoulli, mm.likelihoods.Categorical, mm.likelihoods.Gaussian
    ExpectedLikelihood = mm.likelihoods.ExpectedLikelihood
    with said:
        Draws(DRAWS, "gaussian")
    noise_variance = 0.1
    assert len(mm.memory_map(Draws(DRAWS, Gaussian(dispersion=noise_variance)), X, Y)) == N
    assert len(mm.memory_map(Draws(DRAWS, ExpectedLikelihood(Bernoulli())), X, BITS)) == N
    two = np.stack([-DRAWS, DRAWS], axis=-1)
    assert len(mm.memory_map(Draws(two, ExpectedLikelihood(Categorical())), X, BITS)) == N


@remedy("draws of … are equal: a posterior without variance")
def test_draws_that_are_equal(said):
    with said:
        mm.memory_map(Draws(np.stack([Y, Y, Y]), mm.Gaussian(0.1)), X, Y)
    assert len(mm.memory_map(Draws(DRAWS, mm.Gaussian(0.1)), X, Y)) == N


# --- files ------------------------------------------------------------------------------------------------------------


def header(seed=0):
    return {"model": seed}


@remedy("To begin anew delete that folder, or choose another path=; to go on, run the same again")
@pytest.mark.parametrize("how", ["delete", "another", "same"])
def test_batches_of_another_run(said, tmp_path, how):
    import shutil

    path = tmp_path / "map"
    with BatchJournal.resume(path, header()):
        pass
    with said:
        BatchJournal.resume(path, header(1))
    (folder,) = [p for p in tmp_path.iterdir() if p.is_dir()]
    assert str(folder) in said.text
    if how == "delete":
        shutil.rmtree(folder)
    with BatchJournal.resume(
        tmp_path / "b" if how == "another" else path, header(0 if how == "same" else 1)
    ) as journal:
        assert journal.read(slice(0, 3), "x") is None


@remedy("is damaged (…): delete it, and run again")
def test_a_damaged_batch(said, tmp_path):
    import pyarrow as pa

    batch = pa.RecordBatch.from_pydict({"id": [0, 1, 2]})
    with BatchJournal.resume(tmp_path / "map", header()) as journal:
        journal.add(slice(0, 3), "x", batch)
        (file,) = tmp_path.rglob("*.parquet")
        file.write_bytes(b"no table")
        with said:
            journal.read(slice(0, 3), "x")
        assert str(file) in said.text
        file.unlink()
        assert journal.read(slice(0, 3), "x") is None
        journal.add(slice(0, 3), "x", batch)
        assert journal.read(slice(0, 3), "x").num_rows == 3


HOLD = """
import sys, time
from pathlib import Path
from memorymaps.files.locks import WriterLock
lock = WriterLock(Path(sys.argv[1]), Path(sys.argv[2])); lock.acquire(); print("held", flush=True); sys.stdin.read()
"""


def locks(tmp_path):
    return lambda name="run": WriterLock(tmp_path / name, tmp_path / f".{name}.lock")


@remedy("process … on … (since …): wait for it, end it, or choose another path")
@pytest.mark.slow
def test_a_file_that_another_process_writes(said, tmp_path):
    lock = locks(tmp_path)
    words = [sys.executable, "-c", HOLD, str(tmp_path / "run"), str(tmp_path / ".run.lock")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        other.stdout.readline()
        with said:
            lock().acquire()
        with lock("another"):
            pass
        other.stdin.close()  # it ends
        other.wait()
    with lock():
        pass


@remedy("this process already (since …): close() the other writer first, or choose another path")
def test_a_file_that_this_process_writes(said, tmp_path):
    lock = locks(tmp_path)
    first = lock()
    first.acquire()
    with said:
        lock().acquire()
    with lock("another"):
        pass
    first.release()
    with lock():
        pass


@remedy("a child of process … on …, which itself is gone: end that child, or choose another path")
@remedy("another process: wait for it, or choose another path")
def test_a_file_whose_writer_is_gone(said, tmp_path):
    lock, gone = (
        locks(tmp_path),
        subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True),
    )
    first = lock()
    first.acquire()
    holder = tmp_path / ".run.lock.holder"
    note = json.loads(holder.read_text())
    holder.write_text(json.dumps({**note, "pid": int(gone.stdout)}))
    with said:
        lock().acquire()
    holder.unlink()
    with said:
        lock().acquire()
    with lock("another"):
        pass
    first.release()
    with lock():
        pass
