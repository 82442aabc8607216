"""Other packages: posteriors of laplace-torch, arguments for cleanlab."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression

import memorymaps as mm
from memorymaps.analysis.cleanlab import for_cleanlab
from memorymaps.data.datasets import demo_model

pytestmark = pytest.mark.filterwarnings("ignore")  # other packages' own deprecations


@pytest.fixture(scope="module")
def problem(torch):
    torch.manual_seed(0)
    nn = torch.nn
    net = nn.Sequential(
        nn.Conv2d(2, 3, 3, bias=False), nn.Tanh(), nn.Flatten(), nn.Linear(27, 6, bias=False), nn.Tanh(),
        nn.Linear(6, 3, bias=False),
    )  # fmt: skip
    return net, torch.randn(40, 2, 5, 5), torch.randint(0, 3, (40,))


@pytest.mark.parametrize(("theirs", "ours"), [("full", "full"), ("diag", "diag"), ("kron", "kfac")])
def test_variances_are_those_of_laplace_torch_on_the_same_factors(problem, theirs, ours, torch):
    laplace = pytest.importorskip("laplace", reason="laplace-torch is not installed")
    net, x, y = problem
    la = laplace.Laplace(net, "classification", subset_of_weights="all", hessian_structure=theirs, prior_precision=0.7)
    data = torch.utils.data
    la.fit(data.DataLoader(data.TensorDataset(x, y), batch_size=40))
    theirs_map = mm.memory_map(la, x, y)
    ours_map = mm.memory_map(net, x, y, likelihood="categorical", posterior=mm.Laplace(ours, prior=0.7))
    v = [m.origin.posterior.marginals(x).variance for m in (theirs_map, ours_map)]
    np.testing.assert_allclose(v[0], v[1], rtol=1e-4, atol=1e-4 * np.abs(v[1]).max())
    np.testing.assert_allclose(theirs_map["leverage"], ours_map["leverage"], rtol=1e-3)
    found, expected = theirs_map.provenance.description, ours_map.provenance.description
    assert "laplace-torch" in found.posterior
    assert found.distance == pytest.approx(expected.distance, rel=0.1)
    assert found.nonlinear


@pytest.mark.parametrize(
    ("subset", "held"),
    [
        ("all", ""),
        ("last_layer", "216 trained parameters not covered"),
        ("subnetwork", "232 trained parameters not covered"),
    ],
)
def test_parameters_beside_those_of_laplace_torch_are_held(problem, subset, held, torch):
    laplace = pytest.importorskip("laplace", reason="laplace-torch is not installed")
    net, x, y = problem
    chosen = {"subnetwork_indices": torch.tensor([0, 9])} if subset == "subnetwork" else {}
    la = laplace.Laplace(net, "classification", subset_of_weights=subset, hessian_structure="full", **chosen)
    data = torch.utils.data
    la.fit(data.DataLoader(data.TensorDataset(x, y), batch_size=40))
    assert mm.memory_map(la, x, y).provenance.description.hyperparameters_held == held


def test_an_unfitted_laplace_torch_object_is_refused(problem):
    laplace = pytest.importorskip("laplace", reason="laplace-torch is not installed")
    net, x, y = problem
    la = laplace.Laplace(net, "classification", subset_of_weights="all", hessian_structure="diag")
    with pytest.raises(ValueError, match="not fitted"):
        mm.memory_map(la, x, y)


def test_leave_one_out_probabilities_find_flipped_labels():
    filters = pytest.importorskip("cleanlab.filter", reason="cleanlab is not installed")
    model, X, y = demo_model()
    m = mm.memory_map(model, X, y)
    issues = filters.find_label_issues(**for_cleanlab(m), return_indices_ranked_by="self_confidence", n_jobs=1)
    wrong = m["loo_prediction"] != m["target"]
    assert wrong[issues].mean() > 0.8


def test_binary_maps_have_two_columns():
    X, y = load_breast_cancer(return_X_y=True)
    X = (X - X.mean(0)) / X.std(0)
    m = mm.memory_map(LogisticRegression().fit(X, y), X, y)
    given = for_cleanlab(m)
    np.testing.assert_array_equal(given["labels"], y)
    np.testing.assert_allclose(given["pred_probs"].sum(1), 1)
    picked = given["pred_probs"][np.arange(len(y)), y]
    np.testing.assert_allclose(-np.log(picked), m["loo_loss"], rtol=1e-8, atol=1e-12)


def test_maps_without_classes_are_refused():
    from sklearn.datasets import load_diabetes
    from sklearn.linear_model import Ridge

    X, y = load_diabetes(return_X_y=True)
    with pytest.raises(ValueError, match="classifier"):
        for_cleanlab(mm.memory_map(Ridge().fit(X, y), X, y))
