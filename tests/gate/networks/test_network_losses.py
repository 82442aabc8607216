"""Losses of the user's own: one number of each example alone, with curvature, finite; ignored targets count nowhere."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import nn
from torch.nn import functional

import memorymaps as mm
from memorymaps.core.likelihoods.exponential_family import Gaussian

N = 24


def data(c=1):
    torch.manual_seed(0)
    x = torch.randn(N, 4, dtype=torch.float64)
    net = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, c)).double()
    return net, x, (x[:, 0] + 0.3 * torch.randn(N)).double()


def mapped(net, x, y, likelihood, structure="full", **options):
    return mm.memory_map(net, x, y, likelihood=likelihood, posterior=mm.Laplace(structure, prior=1.0), **options)


def cox(f, y):
    """Partial likelihood with the batch as risk set."""
    later = y[None, :] >= y[:, None]
    return torch.logsumexp(torch.where(later, f[:, 0][None, :], -torch.inf), 1) - f[:, 0]


def info_nce(f, y):
    return functional.cross_entropy(f @ f.T, torch.arange(len(f)), reduction="none")


def batch_mean(f, y):
    return functional.mse_loss(f[:, 0], y).expand(len(f))


def standardised(f, y):
    return (f[:, 0] - y) ** 2 / (f[:, 0] - y).detach().var(unbiased=False).clamp(min=1e-3)


def ranked(f, y):
    return functional.softplus(f[:, 0].roll(1) - f[:, 0])


@pytest.mark.parametrize("structure", ["full", "kfac", "diag"])
@pytest.mark.parametrize("loss", [cox, info_nce, batch_mean, standardised, ranked])
def test_losses_that_couple_examples_are_refused(loss, structure):
    net, x, y = data()
    with pytest.raises(mm.DataError, match=r"loss of an example changes.*reduction='none'.*PHReg"):
        mapped(net, x, y, mm.Custom(loss, predict=lambda f: f[:, 0]), structure)


def test_reduction_none_is_the_remedy_of_a_mean():
    net, x, y = data()
    each = mm.Custom(lambda f, y: functional.mse_loss(f[:, 0], y, reduction="none") / 2, predict=lambda f: f[:, 0])
    np.testing.assert_allclose(
        mapped(net, x, y, each)["leverage"], mapped(net, x, y, Gaussian(dispersion=1.0))["leverage"], rtol=1e-9
    )


def test_phreg_is_the_remedy_of_coxs_loss():
    phreg = pytest.importorskip("statsmodels.duration.hazard_regression").PHReg
    _, x, y = data()
    found = phreg(np.exp(y.numpy()), x.numpy(), status=np.ones(N)).fit()
    assert np.isfinite(mm.memory_map(found)["leverage"]).all()


def test_fixed_negatives_are_the_remedy_of_a_contrastive_loss():
    net, x, _ = data(3)
    anchors = torch.randn(5, 3, dtype=torch.float64)
    loss = mm.Custom(
        lambda f, y: functional.cross_entropy(f @ anchors.T, y.long(), reduction="none"),
        predict=lambda f: (f @ anchors.T).softmax(1),
    )
    assert mapped(net, x, torch.arange(N) % 5, loss)["leverage"].sum() > 0


def test_random_losses_are_refused():
    net, x, y = data()
    loss = mm.Custom(lambda f, y: (f[:, 0] - y) ** 2 + 0.1 * torch.rand(len(f)), predict=lambda f: f[:, 0])
    with pytest.raises(mm.DataError, match="loss is random"):
        mapped(net, x, y, loss)


LOSSES_WITHOUT_CURVATURE = {
    "l1": lambda f, y: (f[:, 0] - y).abs(),
    "quantile": lambda f, y: torch.maximum(0.9 * (y - f[:, 0]), 0.1 * (f[:, 0] - y)),
    "hinge": lambda f, y: (1 - f[:, 0] * y.sign()).clamp(min=0),
    "linear": lambda f, y: f[:, 0] * y,
}


@pytest.mark.parametrize("structure", ["full", "kfac", "diag"])
@pytest.mark.parametrize("name", LOSSES_WITHOUT_CURVATURE)
def test_losses_without_curvature_say_so(name, structure):
    net, x, y = data()
    with pytest.raises(mm.DataError, match=r"no curvature at any example.*softplus"):
        mapped(net, x, y, mm.Custom(LOSSES_WITHOUT_CURVATURE[name], predict=lambda f: f[:, 0]), structure)


def test_smooth_forms_are_the_remedies():
    net, x, y = data()
    s, q = 0.1, 0.9
    for loss in (
        lambda f, y: torch.sqrt((f[:, 0] - y) ** 2 + s**2),
        lambda f, y: q * (y - f[:, 0]) + s * functional.softplus((f[:, 0] - y) / s),
    ):
        m = mapped(net, x, y, mm.Custom(loss, predict=lambda f: f[:, 0]))
        assert m["leverage"].sum() > 0.1


def test_a_loss_with_curvature_at_one_example_only_is_mapped():
    net, x, y = data()
    y = y + 10 * torch.ones(N)
    y[-1] = net(x)[-1, 0].detach()
    huber = mm.Custom(lambda f, y: functional.huber_loss(f[:, 0], y, reduction="none", delta=0.1))
    assert mapped(net, x, y, huber)["leverage"][-1] > 0


def focal(f, y):
    p = f.softmax(1).gather(1, y.long()[:, None])[:, 0]
    return -((1 - p) ** 0.5) * torch.log(p)


def bounded_focal(f, y):
    log_p = f.log_softmax(1).gather(1, y.long()[:, None])[:, 0]
    return -((1 - log_p.exp()).clamp(min=1e-3) ** 0.5) * log_p


@pytest.mark.parametrize("structure", ["full", "kfac", "diag"])
def test_curvature_that_is_not_finite_is_refused_and_the_bounded_loss_is_mapped(structure):
    torch.manual_seed(0)
    net, x, _ = data(2)
    net[2].weight.data *= 60
    y = net(x).argmax(1)
    with pytest.raises(mm.TargetError, match=r"curvature of nll.*clamp\(min=1e-3\).*log_softmax"):
        mapped(net, x, y, mm.Custom(focal, predict=lambda f: f.softmax(1)), structure)
    m = mapped(net, x, y, mm.Custom(bounded_focal, predict=lambda f: f.softmax(1)), structure)
    assert np.isfinite(m["leverage"]).all()


def test_gradients_that_are_not_finite_are_refused():
    loss = mm.Custom(lambda f, y: torch.sqrt((f[:, 0] - y).abs()), predict=lambda f: f[:, 0])
    with pytest.raises(mm.TargetError, match=r"gradient of nll.*row 1"):
        loss.error(np.array([[1.0], [2.0]]), np.array([0.0, 2.0]))


# --- ignored targets -----------------------------------------------------------------------------------------------

T, K = 4, 3


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.layer = nn.Embedding(11, 6).double(), nn.GRU(6, 5, batch_first=True).double()
        self.out = nn.Linear(5, K).double()

    def forward(self, x):
        return self.out(self.layer(self.embedding(x))[0]).flatten(1)


def token_loss(ignore):
    def loss(f, y):
        logits = f.view(len(f), T, K).transpose(1, 2)
        return functional.cross_entropy(logits, y.long(), ignore_index=ignore, reduction="none").sum(1)

    return loss


def predicted(f):
    return f.view(len(f), T, K).argmax(2).double()


@pytest.mark.parametrize("ignore", [-100, 255])
def test_ignored_tokens_count_nowhere(ignore):
    torch.manual_seed(1)
    x, y = torch.randint(0, 11, (30, T)), torch.randint(0, K, (30, T))
    y[::3, 2:] = ignore
    net = Tokens()
    likelihood = mm.Custom(token_loss(ignore), predict=predicted, ignore_index=ignore)
    m = mapped(net, x, y, likelihood)
    known = (y != ignore).numpy()
    residual = np.where(known, predicted(net(x)).detach().numpy() - y.numpy(), 0)
    np.testing.assert_allclose(m["error"], np.linalg.norm(residual, axis=1), rtol=1e-12)
    np.testing.assert_allclose(m.leave_one_out().score, np.sqrt(np.mean(np.sum(residual**2, axis=1))), rtol=1e-12)
    whole = y[1::3]
    np.testing.assert_allclose(m["error"][1::3], np.linalg.norm(predicted(net(x)).detach()[1::3] - whole, axis=1))


def test_examples_without_any_label_have_no_error():
    x, y = torch.randint(0, 11, (12, T)), torch.randint(0, K, (12, T))
    y[3] = -100
    m = mapped(Tokens(), x, y, mm.Custom(token_loss(-100), predict=predicted))
    assert m["error"][3] == m["loss"][3] == m["leverage"][3] == m["sensitivity"][3] == 0


def test_class_numbers_may_be_ignored_one_by_one():
    net, x, _ = data(3)
    y = torch.arange(N) % 3
    y[5] = -100
    loss = mm.Custom(lambda f, y: functional.cross_entropy(f, y.long(), reduction="none"), lambda f: f.softmax(1))
    m = mapped(net, x, y, loss)
    assert m["error"][5] == 0
    rest = [i for i in range(N) if i != 5]
    plain = mapped(net, x[rest], y[rest], "categorical")
    np.testing.assert_allclose(m["leverage"][rest], plain["leverage"], rtol=1e-9)


def test_minus_100_that_is_a_number_to_the_loss_is_refused_and_none_maps_it():
    net, x, _ = data()
    y = torch.arange(N) - 100

    def squares(f, y):
        return (f[:, 0] - y) ** 2 / 200

    with pytest.raises(mm.TargetError, match="ignore_index=None"):
        mapped(net, x, y, mm.Custom(squares, predict=lambda f: f[:, 0]))
    m = mapped(net, x, y, mm.Custom(squares, predict=lambda f: f[:, 0], ignore_index=None))
    np.testing.assert_allclose(m["error"][0], abs(float(net(x)[0, 0].detach()) + 100), rtol=1e-9)
