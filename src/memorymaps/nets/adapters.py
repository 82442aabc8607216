"""Registers what the package knows of PyTorch: networks, loaders, data sets and batches."""

from __future__ import annotations

from torch import nn
from torch.utils.data import DataLoader, Dataset

from memorymaps.nets import fit as fit  # registers the posterior of networks
from memorymaps.nets import optimizers as optimizers  # and that of their optimisers
from memorymaps.nets.laplace import LaplaceNetwork
from memorymaps.nets.optimizers import OptimizedNetwork
from memorymaps.nets.sources import from_anything, from_dataset, from_loader
from memorymaps.posteriors import as_examples, examples_for

as_examples.register(DataLoader)(from_loader)
as_examples.register(Dataset)(from_dataset)

for kind in (nn.Module, LaplaceNetwork, OptimizedNetwork):
    examples_for.register(kind)(from_anything)
