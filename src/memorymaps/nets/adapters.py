"""Registers what the package knows of PyTorch: networks, loaders and data sets."""

from __future__ import annotations

from torch.utils.data import DataLoader, Dataset

from memorymaps.nets import fit as fit  # registers the posterior of networks
from memorymaps.nets import optimizers as optimizers  # and that of their optimisers
from memorymaps.nets.data import from_dataset, from_loader
from memorymaps.posteriors import as_examples

as_examples.register(DataLoader)(from_loader)
as_examples.register(Dataset)(from_dataset)
