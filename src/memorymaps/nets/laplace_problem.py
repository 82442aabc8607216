"""The inputs shared by every step of a Laplace fit: network, covered parameters, prior, data, options."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from memorymaps.core.arrays import Batch
from memorymaps.data.examples import Examples
from memorymaps.nets.autograd.batch_size import BatchSize
from memorymaps.nets.autograd.hooks import ParameterOwner
from memorymaps.nets.autograd.network import Network
from memorymaps.nets.autograd.parameter_blocks import ParameterBlock, ParameterGroup
from memorymaps.nets.autograd.pytree import length, take_rows
from memorymaps.nets.distributed.shares import ranks_in
from memorymaps.nets.jacobian.linearity import is_linear
from memorymaps.nets.jacobian.products import (
    STRATEGIES,
    JacobianSite,
    ProductStrategy,
    select_product_strategy,
)
from memorymaps.nets.jacobian.second_derivatives import has_second_derivatives
from memorymaps.posteriors.origin import check_targets
from memorymaps.posteriors.processes.ranks import Ranks

T = TypeVar("T")


@dataclass(frozen=True)
class FitOptions:
    """What a fit takes from the user's recipe, whatever its curvature structure.

    `fisher` names the root of `Λ` (`output_fisher.FISHER_ROOTS`); `probes` is the number of random vectors of the
    check of approximate curvature, `None`: the default if it is fast; `directions` the number of leading directions of
    each `Λ`, `None`: by the number of outputs.
    """

    fisher: str = "exact"
    probes: int | None = None
    directions: int | None = None


@dataclass(frozen=True)
class LaplaceProblem:
    """The inputs shared by every step of a Laplace fit."""

    network: Network
    options: FitOptions
    examples: Examples
    owners: tuple[ParameterOwner, ...]
    blocks: tuple[ParameterBlock, ...]
    prior: dict[str, Tensor]
    batch_size: BatchSize
    num_outputs: int
    sample: Any  # inputs of the first examples, on the network's device
    prior_by_evidence: bool = False
    refits_unasked: bool = False
    notes: tuple[str, ...] = ()  # for the map's description

    @property
    def ranks(self) -> Ranks:
        """The processes that share the examples: sums over the data are `ranks.total` of sums over `examples`."""
        return ranks_in(self.examples)

    @property
    def num_parameters(self) -> int:
        """Number of covered parameters `P`."""
        return sum(block.size for block in self.blocks)

    @property
    def covered(self) -> dict[str, nn.Parameter]:
        """Covered parameters by name."""
        return {name: value for name, value in self.network.module.named_parameters() if name in self.prior}

    @functools.cached_property
    def site(self) -> JacobianSite:
        """The network at its trained parameters, in the order of the blocks' names."""
        values = dict(self.network.module.named_parameters())
        names = [name for block in self.blocks for name in block.parameters]
        return JacobianSite(self.network, self.owners, self.blocks, {name: values[name].detach() for name in names})

    @functools.cached_property
    def product_strategy(self) -> ProductStrategy:
        """How products with the Jacobian of a whole batch are computed, tried on the first examples."""
        found = self._tried(lambda inputs, _: select_product_strategy(self.site, inputs))
        return max(found, key=STRATEGIES.index)

    @functools.cached_property
    def is_linear(self) -> bool:
        """Whether outputs are linear in the covered parameters, those of one layer, tried on the first examples."""
        if len(self.blocks) > 1:
            return False
        return all(self._tried(lambda inputs, _: is_linear(self.network, self.site.values, inputs)))

    @functools.cached_property
    def has_second_derivatives(self) -> bool:
        """Whether output tangents follow from a differentiated reverse pass, tried on the first examples."""
        return all(self._tried(lambda inputs, _: has_second_derivatives(self.site, inputs)))

    def _tried(self, work: Callable[[Any, slice], T]) -> list[T]:
        """Results for two batches, because operations differ by batch size (`cdist` beyond 25 rows)."""
        batches = self.sample, take_rows(self.sample, slice(0, 2))
        return [found for inputs in batches for found in self.batch_size.run(inputs, work)]

    @property
    def block_groups(self) -> tuple[ParameterGroup, ...]:
        """One group per block."""
        return tuple(ParameterGroup((block,)) for block in self.blocks)

    def target(self, batch: Batch) -> Tensor:
        """Targets of a batch on the network's device; raises `TargetError` for invalid ones."""
        check_targets(self.network.likelihood, batch, self.num_outputs)
        return torch.as_tensor(batch.target, device=self.network.device)

    def weights(self, batch: Batch) -> Tensor:
        """Example weights `[n]` in double precision, ones by default."""
        given = torch.ones(length(batch.inputs)) if batch.weight is None else torch.as_tensor(batch.weight)
        return given.double().to(self.network.device)

    def zeros(self, *shape: int) -> Tensor:
        """Zeros in double precision on the network's device."""
        return torch.zeros(shape, dtype=torch.float64, device=self.network.device)
