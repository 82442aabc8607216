"""The inputs of a Laplace fit: network, covered parameters, their prior, the data and the batch size."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from memorymaps.data.examples import DataError, Examples
from memorymaps.nets.autograd.batch_size import initial_batch_size, is_out_of_memory, retain_allocator_pages
from memorymaps.nets.autograd.hooks import ROOT_MODULE, record_forward, submodule
from memorymaps.nets.autograd.network import Network
from memorymaps.nets.autograd.parameter_blocks import find_blocks, is_matrix_layer
from memorymaps.nets.autograd.parameter_owners import find_owners
from memorymaps.nets.autograd.pytree import leaves, length, take_rows
from memorymaps.nets.autograd.vmap_fallback import select_strategies
from memorymaps.nets.checks.example_count import example_count_notes
from memorymaps.nets.checks.gradient_sums import check_gradient_sums, looped_where_wrong
from memorymaps.nets.checks.network_checks import check_network, check_parameters
from memorymaps.nets.data.datasets import SEVERAL_INPUTS_HINT
from memorymaps.nets.distributed.shares import first_batch
from memorymaps.nets.laplace_problem import LaplaceProblem
from memorymaps.nets.random_state import PrivateRandomState
from memorymaps.nets.recipe import Laplace, LaplaceNetwork

_SAMPLE_ROWS = 64  # examples on which the ways to compute products are tried
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def build_problem(model: LaplaceNetwork, examples: Examples) -> LaplaceProblem:
    """Validate network, recipe and data, and collect the inputs of the fit.

    Raises
    ------
    DataError
        No rows, outputs that are not one row an example, examples that influence each other.
    ValueError
        A subset that names no parameter, a prior that does not cover one, a network without per-example gradients.
    """
    network = model.network
    retain_allocator_pages()
    _check_module(network.module)
    first = first_batch(examples)
    if first is None or length(first.inputs) == 0:
        raise DataError("the data has no rows")
    network = network.with_columns_of(first.inputs)
    notes = example_count_notes(model.prior.examples, examples, "prior_from(optimizer, n={n})")
    inputs = network.to_device(take_rows(first.inputs, slice(0, 4)))
    check_parameters(network)
    with PrivateRandomState():
        _check_call(network, inputs)
    covered = covered_names(network, model.recipe, inputs)
    dtype = check_network(network, covered, first)
    owners = find_owners(network, inputs, covered)
    blocks = find_blocks(network, owners)
    vjp_parameters = (name for block in blocks if not block.is_matrix for name in block.parameters)
    owners = select_strategies(network, owners, vjp_parameters, inputs)
    values = dict(network.module.named_parameters())
    prior = model.prior.tensors({name: values[name] for name in covered})
    check_gradient_sums(network, owners, blocks, inputs, dtype)
    f, calls = record_forward(network, inputs, owners)
    size = initial_batch_size(calls, _num_cotangents(model.recipe, f.shape[1]), len(f))
    sample = network.to_device(take_rows(first.inputs, slice(0, min(size.size, _SAMPLE_ROWS))))
    owners = looped_where_wrong(network, owners, blocks, sample, size, dtype)
    return LaplaceProblem(
        network, model.recipe.options, examples, owners, blocks, prior, size, f.shape[1], sample,
        model.prior.by_evidence, model.structure.chosen_by_size, notes,
    )  # fmt: skip


def _check_module(module: nn.Module) -> None:
    """Raise for networks without per-example gradients: batch statistics, sparse embeddings, no parameters."""
    if not any(True for _ in module.parameters()):
        quantised = any(".quantized" in type(layer).__module__ for layer in module.modules())
        hint = ". Quantised (int8) layers have none: pass the network it was made from" if quantised else ""
        raise ValueError(f"{type(module).__name__} has no parameters: expected a network that was trained{hint}")
    for name, layer in module.named_modules():
        if isinstance(layer, _BATCH_NORMS) and layer.running_mean is None:
            raise DataError(
                f"{name or 'the network'!r} is {type(layer).__name__}(track_running_stats=False): it normalises by the "
                "batch also in eval mode, so that examples influence each other. "
                "Train with track_running_stats=True, or with GroupNorm or LayerNorm"
            )
        if isinstance(layer, (nn.Embedding, nn.EmbeddingBag)) and layer.sparse and layer.weight.requires_grad:
            raise ValueError(
                f"{name or 'the network'!r} has sparse gradients, which have no per-example form: set "
                f"net.get_submodule({name!r}).sparse = False for the map; the network computes the same"
            )


def _check_call(network: Network, inputs: Any) -> None:
    try:
        with torch.no_grad():
            network.outputs(inputs)
    except (TypeError, LookupError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise
        kinds = [tuple(leaf.shape) for leaf in leaves(inputs)]
        raise DataError(
            f"the network cannot be called on the inputs {kinds} of a batch: {error}. A batch is (inputs, target), "
            f"(inputs, target, ids), or a mapping with labels. {SEVERAL_INPUTS_HINT}. Laplace(forward=…) specifies "
            "how to call a network. Every input has one row for each example: pad graphs, whose nodes are "
            "concatenated, with torch_geometric.utils.to_dense_batch(x, batch)[0]"
        ) from error


def _num_cotangents(recipe: Laplace, c: int) -> int:
    """Largest number of reverse passes whose cotangents are stored at once."""
    curvature = {"exact": c, "leading": 4}.get(recipe.fisher or "exact", 1)
    return max(curvature, recipe.directions + 2 if recipe.directions else c if c <= 32 else 4)


def covered_names(network: Network, recipe: Laplace, inputs: Any) -> tuple[str, ...]:
    """Names of the parameters that the recipe's `subset` selects.

    Raises
    ------
    ValueError
        It selects none, or a frozen one by name.
    """
    trainable = [name for name, value in network.module.named_parameters() if value.requires_grad]
    if recipe.subset == "all":
        chosen = trainable
    elif recipe.subset == "last_layer":
        chosen = _last_layer_names(network, inputs, trainable)
    else:
        chosen = _names_matching(network.module, recipe.subset)
    if not chosen:
        raise ValueError("no parameter to cover: none requires a gradient. For the map, net.requires_grad_(True)")
    return tuple(chosen)


def _last_layer_names(network: Network, inputs: Any, trainable: list[str]) -> list[str]:
    """Parameters of the layer that is called last: the last matrix layer if there is one, else the last layer."""
    calls = record_forward(network, inputs, find_owners(network, inputs, trainable))[1]
    layers = [call.owner for call in calls if call.owner.module != ROOT_MODULE]
    linear = [owner for owner in layers if is_matrix_layer(submodule(network, owner))]
    if not layers:
        raise ValueError(
            "subset='last_layer': no layer with parameters of its own is called inside this network. "
            "Name them: Laplace(subset=[...])"
        )
    return list(dict.fromkeys((linear or layers)[-1].parameters.values()))


def _names_matching(module: nn.Module, subset: str | Iterable[str]) -> list[str]:
    wanted = [subset] if isinstance(subset, str) else list(subset)
    values = dict(module.named_parameters())
    chosen = [name for name in values if any(name == w or name.startswith(w.rstrip(".") + ".") for w in wanted)]
    frozen = [name for name in chosen if not values[name].requires_grad]
    if not chosen or frozen:
        got = f"{frozen} are frozen: call requires_grad_(True)" if frozen else f"{wanted} names no parameter"
        raise ValueError(f"subset: {got}. Parameters: {', '.join(list(values)[:12])}, …")
    return chosen
