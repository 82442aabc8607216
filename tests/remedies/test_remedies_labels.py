"""What messages of wrong labels and of scores of the literature say to type, typed."""

import numpy as np
import pytest
from remedies import remedy
from sklearn.linear_model import LogisticRegression

import memorymaps as mm
from memorymaps import measures

torch = pytest.importorskip("torch")
from runs import trained  # noqa: E402
from torch import nn  # noqa: E402

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 3))
BITS = (X[:, 0] + 0.5 * RNG.normal(size=30) > 0).astype(int)
WORDS = torch.as_tensor(RNG.integers(0, 3, (20, 2)))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("labels"), steps=4, every=2)[0].trajectory()


@remedy("label_issues(run) of a recorded run takes none")
def test_folds_of_a_run(said, run):
    with said:
        mm.label_issues(run, folds=5)
    assert len(mm.label_issues(run)) == 30


@remedy("is not fitted in stages: expected boosted trees, or a network's run. Record one with Tracker(")
def test_the_margins_of_a_model_without_stages(said, run):
    m = mm.memory_map(LogisticRegression().fit(X, BITS), X, BITS)
    with said:
        measures.area_under_margin(m)
    assert len(measures.area_under_margin(mm.Trajectory.load(run.run))) == 30


@remedy("(more than 100 outputs): label_issues(run.at(run.steps[-1])) ranks by the last map")
def test_runs_of_many_outputs(said, tmp_path):
    net, x, y = nn.Linear(3, 101), torch.as_tensor(X, dtype=torch.float32), torch.as_tensor(BITS)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    nn.functional.cross_entropy(net(x), y).backward()
    optimizer.step()
    with mm.Tracker(net, optimizer, (x, y), every=1, likelihood="categorical", path=tmp_path / "run") as tracker:
        tracker.step()
    wide = tracker.trajectory()
    with said:
        measures.area_under_margin(wide)
    assert len(mm.label_issues(wide.at(wide.steps[-1]))) == 30


def tokens(loss, outputs):
    net = nn.Sequential(nn.Linear(2, outputs)).double()
    likelihood = mm.Custom(loss, predict=lambda f: f[:, :2])
    return mm.memory_map(net, WORDS.double(), WORDS, likelihood=likelihood, posterior=mm.Laplace("full", prior=1.0))


def cross_entropy(f, y):
    return nn.functional.cross_entropy(f.view(-1, 2, 3).transpose(1, 2), y.long(), reduction="none").sum(1)


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
