"""Maps from draws of networks: deep ensembles, snapshots of one training run (SWAG), MC dropout, Markov chains.

Only a chain's draws are the posterior's; the spread of the others has no unit of leaving an example out. Each returns
a `memorymaps.models.Sampler`: `memory_map(ensemble(nets, ExpectedLikelihood(Categorical())), X, y)`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.models.draws.draws import Sampler
from memorymaps.models.draws.importance_sampling import ImportanceSampler
from memorymaps.nets.autograd.batch_size import to_numpy
from memorymaps.nets.autograd.network import Forward, Network, call_module, evaluation_mode
from memorymaps.nets.checks.module_wrappers import unwrapped
from memorymaps.nets.checks.network_checks import check_outputs
from memorymaps.nets.parameter_bits import module_state, tensor_state
from memorymaps.posteriors.approximation import Approximation

_CAUTION = (
    "{draws}, which are not draws of a posterior, so that their differences have no unit of leaving an example out. "
    "Read ranks of the sensitivity only; Laplace(...) of one network, or retraining, gives sizes"
)
_DROPOUT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


def ensemble(
    nets: Sequence[nn.Module],
    likelihood: Likelihood,
    *,
    forward: Forward = call_module,
    importance: ImportanceSampler | None = None,
) -> Sampler:
    """A deep ensemble: each network is one draw.

    Raises
    ------
    TypeError
        Not networks.
    DataError
        When a map is computed: a network whose outputs are random or depend on the batch, or equal networks.

    Examples
    --------
    >>> import torch, memorymaps as mm
    >>> from memorymaps.core.likelihoods.categorical import Categorical
    >>> x, y = torch.randn(30, 2), torch.arange(30) % 3
    >>> m = mm.memory_map(ensemble([torch.nn.Linear(2, 3) for _ in range(5)], Categorical()), x, y)
    >>> m.provenance.description.model
    'deep ensemble of 5 Linear'
    """
    nets = tuple(nets)
    strange = [type(net).__name__ for net in nets if not isinstance(net, nn.Module)]
    if strange or not nets:
        raise TypeError(f"an ensemble of {strange or 'nothing'}: expected torch.nn.Module objects")
    members = [Network(unwrapped(net, forward is not call_module), likelihood, forward) for net in nets]
    name = f"deep ensemble of {len(nets)} {type(nets[0]).__name__}"
    return Sampler(
        _Draws(members, members), likelihood, importance, name,
        (_CAUTION.format(draws="a deep ensemble: its members are trained networks"),),
        state=lambda: [module_state(member.module) for member in members],
        approximation=Approximation.OTHER_DRAWS,
    )  # fmt: skip


def snapshots(
    net: nn.Module, states: Sequence[Mapping[str, Tensor]], likelihood: Likelihood, *, forward: Forward = call_module,
    importance: ImportanceSampler | None = None,
) -> Sampler:  # fmt: skip
    """One network at several `state_dict`s, each one draw: snapshots of a run, or samples of SWAG.

    Of a Markov chain that samples the posterior (SGLD, HMC) see `chain`.

    Raises
    ------
    RuntimeError
        A state that does not fit the network (raised by torch).
    DataError
        When a map is computed: outputs that are random or depend on the batch, states that are all the same.
    """
    caution = _CAUTION.format(draws="snapshots of a run: they differ by its learning rate")
    found = _at_states(net, states, likelihood, forward)
    return replace(
        found, importance=importance, name=f"{len(states)} snapshots of {type(net).__name__}", cautions=(caution,),
        approximation=Approximation.OTHER_DRAWS,
    )  # fmt: skip


def chain(
    net: nn.Module, states: Sequence[Mapping[str, Tensor]], likelihood: Likelihood, *, forward: Forward = call_module,
    importance: ImportanceSampler | None = None,
) -> Sampler:  # fmt: skip
    """One network at the `state_dict`s of a Markov chain that samples its posterior: SGLD, SGHMC, HMC.

    Its burn-in is left out, and the temperature is one: draws of `exp(−Σℓ_i − δ‖θ‖²/2)`, which cannot be seen from
    them. A run of SGD is no such chain: see `snapshots`.

    Raises
    ------
    RuntimeError
        A state that does not fit the network (raised by torch).
    DataError
        When a map is computed: outputs that are random or depend on the batch, states that are all the same.
    """
    found = _at_states(net, states, likelihood, forward)
    return replace(found, importance=importance, name=f"chain of {len(states)} draws of {type(net).__name__}")


def _at_states(
    net: nn.Module, states: Sequence[Mapping[str, Tensor]], likelihood: Likelihood, forward: Forward
) -> Sampler:
    """One network at several states, each one draw of a posterior."""
    module = copy.deepcopy(net)
    members = [Network(module, likelihood, _at_state(forward, state)) for state in states]
    return Sampler(_Draws(members, members[:1]), likelihood, state=lambda: [tensor_state(state) for state in states])


def mc_dropout(
    net: nn.Module, likelihood: Likelihood, *, draws: int = 100, seed: int = 0, forward: Forward = call_module,
    importance: ImportanceSampler | None = None,
) -> Sampler:  # fmt: skip
    """A network with active dropout, evaluated with `draws` masks [Gal & Ghahramani 2016].

    One mask of units is used for *all* examples of a draw, whatever the batches, so that each draw is one function `f`.

    Raises
    ------
    TypeError
        The network has no dropout layer (`nn.Dropout` or one of its kind).
    DataError
        When a map is computed: outputs that are random beside the dropout layers, or depend on the batch.
    """
    if not any(isinstance(layer, _DROPOUT) and layer.p > 0 for layer in net.modules()):
        raise TypeError(
            f"{type(net).__name__} has no nn.Dropout layer with p > 0: all its draws would be the same. "
            "Map the network itself, posterior=Laplace(prior=δ)"
        )
    members = [Network(net, likelihood, _with_mask(forward, seed + k)) for k in range(draws)]
    caution = _CAUTION.format(draws="masks of dropout: they differ by its rate, whatever the number of examples")
    return Sampler(
        _Draws(members, members[:1]), likelihood, importance, f"MC-dropout, {draws} masks of {type(net).__name__}",
        (caution,), state=lambda: module_state(net), approximation=Approximation.OTHER_DRAWS,
    )  # fmt: skip


@dataclass
class _Draws:
    """Outputs `[s, n, c]` of all members; the `unchecked` ones are asked first whether each output row is its own."""

    members: Sequence[Network]
    unchecked: Sequence[Network]

    def __call__(self, inputs: Any) -> Array:
        for member in self.unchecked:
            check_outputs(member, inputs)
        self.unchecked = ()
        return np.stack([_outputs(member, inputs) for member in self.members])


def _at_state(forward: Forward, state: Mapping[str, Tensor]) -> Forward:
    def call(module: nn.Module, inputs: Any) -> Tensor:
        module.load_state_dict(state)
        return forward(module, inputs)

    return call


def _with_mask(forward: Forward, seed: int) -> Forward:
    def call(module: nn.Module, inputs: Any) -> Tensor:
        with _fixed_dropout_masks(module, seed):
            return forward(module, inputs)

    return call


def _outputs(network: Network, inputs: Any) -> Array:
    with evaluation_mode(network.module), torch.no_grad():
        return to_numpy(network.outputs(network.to_device(inputs)))


@contextmanager
def _fixed_dropout_masks(net: nn.Module, seed: int) -> Iterator[None]:
    """Context: every dropout layer uses one mask per seed for all examples of one call, in eval mode."""
    generator = torch.Generator().manual_seed(seed)
    hooks = [
        layer.register_forward_hook(_dropout_hook(generator)) for layer in net.modules() if isinstance(layer, _DROPOUT)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _dropout_hook(generator: torch.Generator) -> Callable[[Any, tuple[Tensor, ...], Tensor], Tensor]:
    def change(layer: Any, inputs: tuple[Tensor, ...], _: Tensor) -> Tensor:
        x = inputs[0]
        shape = x.shape[1:] if type(layer) is nn.Dropout else (x.shape[1], *[1] * (x.ndim - 2))
        mask = torch.rand(shape, generator=generator) >= layer.p
        return x * (mask.to(x) / (1 - layer.p))

    return change
