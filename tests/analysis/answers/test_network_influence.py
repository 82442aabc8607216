"""The influence on a network's predictions by linear systems is that of its dense posterior, and close to refits."""

import copy
import dataclasses

import numpy as np
import pytest
from sklearn.datasets import load_digits, load_iris
from sklearn.multioutput import MultiOutputRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import memorymaps as mm
from memorymaps.posteriors.capabilities import capabilities_of

torch = pytest.importorskip("torch")

X, LABELS = load_iris(return_X_y=True)
X = (X - X.mean(axis=0)) / X.std(axis=0)
INPUTS, TARGET = torch.tensor(X), torch.tensor(LABELS)
NEW = torch.tensor(X[[3, 70, 133]] + 0.3)


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    made = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 3)).double()
    optimizer = torch.optim.LBFGS(made.parameters(), max_iter=500, tolerance_grad=1e-10, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        penalty = sum((p**2).sum() for p in made.parameters())
        loss = torch.nn.functional.cross_entropy(made(INPUTS), TARGET, reduction="sum") + 0.5 * penalty
        loss.backward()
        return loss

    optimizer.step(closure)
    return made


def drawn(net, structure, **options):
    return mm.memory_map(
        net, INPUTS, TARGET, likelihood="categorical", posterior=mm.Laplace(structure, prior=1.0), **options
    )


def without_root(m):
    """The map with a posterior whose roots are too large, so that queries take linear systems."""
    source = m.origin.posterior
    posterior = super(type(source), source).capabilities if hasattr(source, "covariance_root") else source.capabilities
    kept = dataclasses.replace(posterior, covariance_root=None)

    class Without(type(source)):
        capabilities = kept

    bare = Without(*(getattr(source, field.name) for field in dataclasses.fields(source)))
    return dataclasses.replace(m, origin=dataclasses.replace(m.origin, posterior=bare))


def by_query(found):
    """Changes `[k, n, c]` in the order of queries and ids."""
    order = np.lexsort((found["id"], found["query"]))
    return found["change"][order]


EXACT = [(structure, estimator) for structure in ("full", "dual") for estimator in ("first_order", "cavity")]
APPROXIMATE = [(structure, "first_order") for structure in ("block", "kfac", "ekfac", "diag")]


@pytest.mark.slow
@pytest.mark.parametrize(("structure", "estimator"), [*EXACT, *APPROXIMATE])
def test_linear_systems_give_the_dense_posteriors_changes(net, structure, estimator):
    exact = mm.influence_on(drawn(net, "full", estimator=estimator), NEW, [0, 1, 2], top=None)
    found = mm.influence_on(without_root(drawn(net, structure, estimator=estimator)), NEW, [0, 1, 2], top=None)
    np.testing.assert_allclose(by_query(found), by_query(exact), rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(np.sort(found["loss_change"]), np.sort(exact["loss_change"]), rtol=1e-5, atol=1e-9)


@pytest.mark.slow
def test_approximate_curvature_is_not_used_where_the_exact_one_is_at_hand(net):
    m = drawn(net, "ekfac", estimator="first_order")
    assert capabilities_of(m.origin.posterior).covariance_root is not None
    exact = mm.influence_on(drawn(net, "full", estimator="first_order"), NEW, [0, 1, 2], top=None)
    found = mm.influence_on(m, NEW, [0, 1, 2], top=None)
    np.testing.assert_allclose(by_query(found), by_query(exact), rtol=1e-5, atol=1e-9)


def test_at_a_training_example_it_is_the_map(net):
    m = without_root(drawn(net, "dual"))
    found = mm.influence_on(m, INPUTS[[5, 77]], TARGET[[5, 77]], top=None)
    mean = m.origin.posterior.likelihood.mean
    for k, row in enumerate((5, 77)):
        own = found["change"][(found["query"] == k) & (found["id"] == row)][0]
        f, moved = m["output"][[row]], m["output"][[row]] + m["deviation"][[row]]
        np.testing.assert_allclose(own, (mean(moved) - mean(f))[0], rtol=1e-5, atol=1e-10)


@pytest.mark.slow
def test_networks_are_close_to_refits(net):
    m = drawn(net, "full")
    found = by_query(mm.influence_on(without_root(m), NEW, [0, 1, 2], top=None)).reshape(3, 150, 3)
    rows = np.random.default_rng(0).choice(150, 25, replace=False)
    truth = np.stack([_refit(net, row) for row in rows], axis=1)
    estimate = found[:, rows]
    slope = np.sum(estimate * truth) / np.sum(truth**2)
    error = np.linalg.norm(estimate - truth) / np.linalg.norm(truth)
    assert abs(slope - 1) < 0.15
    assert error < 0.3


def _refit(net, rows):
    """Changes of the mean at the queries by training on without a row, or rows, `[k, c]`."""
    made, rest = copy.deepcopy(net), torch.as_tensor(~np.isin(np.arange(150), rows))
    optimizer = torch.optim.LBFGS(made.parameters(), max_iter=500, tolerance_grad=1e-10, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        penalty = sum((p**2).sum() for p in made.parameters())
        loss = torch.nn.functional.cross_entropy(made(INPUTS[rest]), TARGET[rest], reduction="sum") + 0.5 * penalty
        loss.backward()
        return loss

    optimizer.step(closure)
    with torch.no_grad():
        return (made(NEW).softmax(1) - net(NEW).softmax(1)).numpy()


def test_many_outputs_take_directions(net):
    recipe = mm.Laplace("dual", prior=1.0, directions=2)
    m = mm.memory_map(net, INPUTS, TARGET, likelihood="categorical", posterior=recipe)
    assert capabilities_of(m.origin.posterior).directional is not None
    found = mm.influence_on(m, NEW, [0, 1, 2], top=None)
    exact = mm.influence_on(drawn(net, "full"), NEW, [0, 1, 2], top=None)
    estimate, truth = by_query(found), by_query(exact)
    assert np.linalg.norm(estimate - truth) < 0.05 * np.linalg.norm(truth)


@pytest.mark.slow
def test_groups_of_a_network_are_refitted_or_take_one_step_with_the_exact_curvature(net):
    """By its dense posterior refits where they are a change of the parameters, else the step of the linear systems."""
    groups = np.arange(150) % 10
    dense, systems = (
        mm.influence_on(drawn(net, structure), NEW, [0, 1, 2], groups=groups)
        .to_pandas()
        .sort_values(["query", "group"])
        for structure in ("full", "ekfac")
    )
    stepped = dense["warning"].str.contains("one Newton step").to_numpy()
    assert 0 < stepped.sum() < 30
    for column in ("change", "loss_change"):
        step, own = (np.stack(found[column].to_numpy()) for found in (systems, dense))
        np.testing.assert_allclose(step[stepped], own[stepped], rtol=2e-3, atol=1e-5)
    for name in dense["group"][~stepped].unique()[:3]:
        truth = _refit(net, np.flatnonzero(groups == int(name)))
        step, own = (np.stack(found["change"][found["group"] == name].to_numpy()) for found in (systems, dense))
        assert np.linalg.norm(own - truth) < 0.06 * np.linalg.norm(truth)
        assert np.linalg.norm(own - truth) < 0.25 * np.linalg.norm(step - truth)


@pytest.mark.slow
def test_wrapped_perceptrons_have_the_same_influence():
    kind = {"alpha": 1.0, "solver": "lbfgs", "max_iter": 3000, "tol": 1e-10, "random_state": 0}
    bare = MLPClassifier((5,), **kind).fit(X, LABELS)
    plain = mm.memory_map(bare, X, LABELS)
    piped = make_pipeline(StandardScaler(with_mean=False, with_std=False), MLPClassifier((5,), **kind)).fit(X, LABELS)
    wrapped = mm.memory_map(piped, X, LABELS)
    new = X[[3, 70]] + 0.2
    a, b = (mm.influence_on(m, new, top=None) for m in (plain, wrapped))
    np.testing.assert_allclose(by_query(a), by_query(b), rtol=1e-6, atol=1e-10)
    systems = capabilities_of(wrapped.origin.posterior).cross_covariance.at(new)(X[:4])
    roots = capabilities_of(plain.origin.posterior).covariance_root
    np.testing.assert_allclose(systems, np.einsum("ncr,kdr->nckd", roots(X[:4]), roots(new)), rtol=1e-5, atol=1e-9)


def test_networks_side_by_side_have_block_diagonal_covariances():
    targets = X[:, :2] + 0.1 * np.random.default_rng(0).normal(size=(150, 2))
    kind = MLPRegressor(hidden_layer_sizes=(3,), alpha=1.0, solver="lbfgs", max_iter=3000, tol=1e-10, random_state=0)
    both = MultiOutputRegressor(kind).fit(X[:, 2:], targets)
    able = capabilities_of(mm.memory_map(both, X[:, 2:], targets).origin.posterior)
    new = X[[3, 70], 2:]
    roots = able.covariance_root
    found = able.cross_covariance.at(new)(X[:4, 2:])
    np.testing.assert_allclose(found, np.einsum("ncr,kdr->nckd", roots(X[:4, 2:]), roots(new)), rtol=1e-5, atol=1e-9)
    assert np.all(found[:, 0, :, 1] == 0)


@pytest.mark.slow
def test_losses_averaged_over_the_posterior_are_averaged_at_every_query(net):
    optimizer = torch.optim.Adam(net.parameters(), lr=0.0, weight_decay=1e-3)
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(net(INPUTS), TARGET).backward()
    optimizer.step()
    recipe = mm.FromOptimizer(optimizer, 150, average=True)
    m = mm.memory_map(net, INPUTS, TARGET, likelihood="categorical", posterior=recipe)
    together = mm.influence_on(m, NEW, [0, 1, 2], groups=np.arange(150) % 5)
    for query in range(3):
        alone = mm.influence_on(m, NEW[query : query + 1], [query], groups=np.arange(150) % 5)
        rows = together["query"] == query
        np.testing.assert_allclose(together["loss_change"][rows], alone["loss_change"], rtol=1e-6)


def test_systems_that_do_not_converge_are_refused(net, monkeypatch):
    monkeypatch.setattr("memorymaps.nets.refit.queries._STEPS", 2)
    with pytest.raises(ValueError, match=r"relative residual of .* after 2 steps.*Laplace\('auto'\)"):
        mm.influence_on(without_root(drawn(net, "diag", estimator="first_order")), NEW)
    assert len(mm.influence_on(without_root(drawn(net, "auto")), NEW, top=1)) == 6  # the remedy


@pytest.mark.slow
def test_large_networks_are_not_refused():
    images, y = load_digits(return_X_y=True)
    x = torch.tensor(images[:200] / 16, dtype=torch.float32)
    torch.manual_seed(0)
    wide = torch.nn.Sequential(torch.nn.Linear(64, 400), torch.nn.ReLU(), torch.nn.Linear(400, 10))
    m = mm.memory_map(
        wide, x, torch.tensor(y[:200]), likelihood="categorical", posterior=mm.Laplace("ekfac", prior=5.0)
    )
    assert capabilities_of(m.origin.posterior).covariance_root is None
    found = mm.influence_on(m, torch.tensor(images[200:202] / 16, dtype=torch.float32), y[200:202], top=3)
    assert len(found) == 12
    assert np.isfinite(found["loss_change"]).all()


def test_gauss_newton_curvature_says_what_it_leaves_out(net):
    words = "Gauss-Newton curvature"
    found = mm.influence_on(drawn(net, "full"), NEW, top=3)
    assert words in str(found)
    assert words in str(found.helpful(0))
    assert words in found._repr_html_()
    assert words in mm.influence_on(drawn(net, "kfac"), NEW, top=3).caution
    assert mm.influence_on(drawn(net, "hessian"), NEW, top=3).caution == ""
    last = mm.Laplace("full", subset="last_layer", prior=1.0)  # linear in its parameters
    m = mm.memory_map(net, INPUTS, TARGET, likelihood="categorical", posterior=last)
    assert words not in str(mm.influence_on(m, NEW, top=3))
