"""Wrong labels of tokens are found at their positions; other losses of several targets are refused."""

import numpy as np
import pytest

import memorymaps as mm

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

T, K, N = 5, 3, 40


class Tagger(nn.Module):
    """Logits of each token from its own number."""

    def __init__(self, words):
        super().__init__()
        self.table = nn.Embedding(words, K).double()

    def forward(self, x):
        return self.table(x).flatten(1)


def cross_entropy(f, y):
    logits = f.view(len(f), T, K).transpose(1, 2)
    return functional.cross_entropy(logits, y.long(), reduction="none").sum(1)


def tags(f):
    return f.view(len(f), T, K).argmax(2).double()


@pytest.fixture(scope="module")
def tagged():
    torch.manual_seed(0)
    x = torch.randint(0, 9, (N, T))
    y = x % K
    y[7, 2], y[30, 4] = (y[7, 2] + 1) % K, (y[30, 4] + 2) % K
    y[::4, 3] = -100
    net = Tagger(9)
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = cross_entropy(net(x), y).sum() + 0.5 * net.table.weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return net, x, y


def mapped(net, x, y, loss=cross_entropy):
    return mm.memory_map(
        net, x, y, likelihood=mm.Custom(loss, predict=tags), posterior=mm.Laplace("full", prior=1.0), estimator="cavity"
    )


def test_the_wrong_tokens_come_first_with_the_right_ones_suggested(tagged):
    net, x, y = tagged
    m = mapped(net, x, y)
    found = mm.label_issues(m)
    first = set(zip(found["id"][:2].tolist(), found["position"][:2].tolist(), strict=True))
    assert first == {(7, 2), (30, 4)}
    words = x.numpy()[found["id"], found["position"]]
    np.testing.assert_array_equal(found["suggested"][:2], words[:2] % K)
    assert len(found) == int((y != -100).sum())
    f = net(x).detach().numpy()
    f = f + m["deviation"] if found.ranked_by == "left-out error" else f
    p = torch.as_tensor(f).view(N, T, K).softmax(2).numpy()[found["id"], found["position"]]
    np.testing.assert_allclose(found["score"], np.linalg.norm(p - np.eye(K)[found["given"]], axis=1), rtol=1e-9)
    assert "ranked by" in str(found)
    with pytest.raises(TypeError, match="without folds"):
        mm.label_issues(m, folds=5)


def test_other_losses_of_several_targets_are_refused_and_whole_examples_are_ranked(tagged):
    net, x, _ = tagged
    m = mapped(net, x, x % K, lambda f, y: (f.view(len(f), T, K).sum(2) - y).square().sum(1))
    with pytest.raises(TypeError, match=r"no cross entropy of logits"):
        mm.label_issues(m)
    assert len(m.top(3, by="loss")) == 3


def test_outputs_that_are_no_logits_of_the_tokens_are_refused(tagged):
    _, x, _ = tagged
    net = nn.Sequential(nn.Linear(T, T)).double()
    loss = mm.Custom(lambda f, y: (f - y).square().sum(1))
    m = mm.memory_map(net, x.double(), x, likelihood=loss, posterior=mm.Laplace("full", prior=1.0))
    with pytest.raises(TypeError, match="expected class numbers of T tokens"):
        mm.label_issues(m)
    assert len(m.top(3, by="loss")) == 3
