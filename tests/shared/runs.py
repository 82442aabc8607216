"""A small network whose training was recorded, which several tests read."""

import torch
from networks import case
from torch import nn
from torch.utils.data import TensorDataset

from memorymaps.training.tracker import Tracker


def trained(tmp_path, steps=12, shuffle=True, **options):
    net, x, y = case("mlp", 30)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05, weight_decay=0.01)
    options = {"every": 4, "likelihood": "categorical", "path": tmp_path / "run"} | options
    with Tracker(net, optimizer, TensorDataset(x, y), **options) as tracker:
        for _ in range(steps):
            rows = torch.randperm(len(x))[:10] if shuffle else slice(None)
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
            optimizer.step()
            tracker.step()
    return tracker, net, optimizer, x, y
