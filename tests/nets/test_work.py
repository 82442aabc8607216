"""Counted multiplications equal those computed by hand."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch
from torch import nn

import memorymaps as mm
from memorymaps.nets.cost_model import forward_macs


class Last(nn.Module):
    """The last output of a recurrent layer."""

    def __init__(self):
        super().__init__()
        self.steps = nn.LSTM(5, 4, batch_first=True)

    def forward(self, x):
        return self.steps(x)[0][:, -1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("net", "x", "each"),
    [
        (nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 4)), torch.randn(7, 6), 6 * 9 + 9 * 4 + 9 + 4),
        (
            nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.Flatten(), nn.Linear(75, 4)),
            torch.randn(7, 2, 5, 5),
            25 * 3 * 18 + 75 * 4,
        ),
        (Last(), torch.randn(7, 10, 5), 10 * 16 * (4 + 5)),
    ],
    ids=["MLP", "CNN", "LSTM"],
)
def test_multiplications_of_a_pass(net, x, each):
    recipe = mm.Laplace("diag", prior=1.0, probes=0)
    m = mm.memory_map(net, x, torch.arange(7) % 4, likelihood="categorical", posterior=recipe)
    assert forward_macs(m.origin.posterior.problem) == pytest.approx(7 * each, rel=0.15)


@pytest.mark.slow
def test_a_compiled_network_is_counted_alike_and_without_a_warning():
    net, x = nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 4)), torch.randn(7, 6)
    compiled = torch.compile(net, backend="eager")
    maps = [
        mm.memory_map(each, x, torch.arange(7) % 4, likelihood="categorical", posterior=mm.Laplace("kfac", prior=1.0))
        for each in (net, compiled)
    ]
    assert len({forward_macs(m.origin.posterior.problem) for m in maps}) == 1
    assert len({m.provenance.estimator for m in maps}) == 1
