"""Left-out losses along training by sampled curvature, beside the optimiser's state and the test loss."""

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from sklearn.datasets import load_digits
from torch import nn

import memorymaps as mm
from memorymaps.nets.sampled.structure import Sampled

N, DECAY, SAVED = 300, 1e-3, (2, 10, 20, 40, 80)


@pytest.mark.slow
def test_left_out_losses_by_sampled_curvature_follow_the_test_loss_where_those_of_adams_state_do_not(tmp_path):
    x, y = load_digits(return_X_y=True)
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(x), generator=generator)
    x, y = torch.tensor(x / 16).float()[order], torch.tensor(y)[order]
    noise = torch.rand(len(y), generator=generator) < 0.2
    y[noise] = torch.randint(0, 10, (int(noise.sum()),), generator=generator)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10))
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    recipes = {"sampled": mm.Laplace(Sampled(rows=400), prior=N * DECAY), "adam": None}
    trackers = {
        name: mm.Tracker(
            net, optimizer, x[:N], y[:N], every=[6 * epoch for epoch in SAVED], likelihood="categorical",
            path=tmp_path / name, posterior=recipe, test=(x[N:], y[N:]), **({} if recipe else {"prior": N * DECAY}),
        )
        for name, recipe in recipes.items()
    }  # fmt: skip
    for _ in range(max(SAVED)):
        for rows in torch.randperm(N).split(50):
            optimizer.zero_grad()
            penalty = DECAY / 2 * sum(v.square().sum() for v in net.parameters())
            (nn.functional.cross_entropy(net(x[rows]), y[rows]) + penalty).backward()
            optimizer.step()
            for tracker in trackers.values():
                tracker.step()
    agreement = {}
    for name, tracker in trackers.items():
        losses = tracker.trajectory().losses()
        agreement[name] = np.corrcoef(losses["loo_loss"], losses["test_loss"])[0, 1]
    assert agreement["sampled"] > 0.7
    assert agreement["adam"] < 0
