"""Registers PyTorch networks, loaders, data sets and batches with the package's dispatch functions."""

from __future__ import annotations

from torch import nn
from torch.utils.data import DataLoader, Dataset

from memorymaps.nets.data.loaders import from_anything, from_dataset, from_loader
from memorymaps.nets.distributed.process_group import group_ranks
from memorymaps.nets.optimizers.from_optimizer import OptimizedNetwork
from memorymaps.nets.other_device import laplace_network_on, optimized_network_on
from memorymaps.nets.parameter_bits import module_state
from memorymaps.nets.recipe import (
    LaplaceNetwork,  # registers the posterior of networks
)
from memorymaps.posteriors.model_state import model_name, parameters_of
from memorymaps.posteriors.processes.ranks import ranks_of_kind
from memorymaps.posteriors.registry import as_examples, examples_for, on_device

as_examples.register(DataLoader)(from_loader)
as_examples.register(Dataset)(from_dataset)

for kind in (nn.Module, LaplaceNetwork, OptimizedNetwork):
    examples_for.register(kind)(from_anything)

on_device.register(LaplaceNetwork)(laplace_network_on)
on_device.register(OptimizedNetwork)(optimized_network_on)

parameters_of.register(nn.Module)(module_state)
for bound in (LaplaceNetwork, OptimizedNetwork):
    ranks_of_kind.register(bound)(group_ranks)
    parameters_of.register(bound)(lambda model: module_state(model.network.module))
    model_name.register(bound)(lambda model: type(model.network.module).__name__)
