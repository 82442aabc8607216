"""Are the network and the data of all processes the same? Compared by hashes, before anything is added up."""

from __future__ import annotations

import torch
from torch import nn

from memorymaps.data.examples import DataError, Examples
from memorymaps.data.fingerprint import digest_of
from memorymaps.posteriors.processes.ranks import Ranks


def check_same_network(ranks: Ranks, module: nn.Module) -> None:
    """Raise if parameters differ; buffers become those of the first process, as in a pass of DistributedDataParallel.

    BatchNorm's running statistics are those of each process' own batches until then.

    Raises
    ------
    ValueError
        Other parameters.
    """
    parameters, buffers = dict(module.named_parameters()), dict(module.named_buffers())
    found = ranks.gathered([tuple(_digest(values) for values in (parameters, buffers))])
    if len({digest for digest, _ in found}) > 1:
        raise ValueError(
            f"the parameters of {type(module).__name__} differ between processes: expected the same network in each. "
            "Take the first process' parameters, for p in net.parameters(): torch.distributed.broadcast(p.data, 0)"
        )
    if len({digest for _, digest in found}) > 1:
        first = ranks.agreed({name: value.detach() for name, value in buffers.items()})
        with torch.no_grad():
            for name, value in buffers.items():
                value.copy_(first[name])


def check_same_data(ranks: Ranks, examples: Examples) -> None:
    """Raise if processes were given different numbers of examples, or others to begin with.

    Raises
    ------
    DataError
        They were.
    """
    first = next(iter(examples), None)
    digest = "" if first is None else digest_of({"target": first.target, "ids": first.ids})
    found = ranks.gathered([(len(examples), digest)])
    if len(set(found)) > 1:
        counts = [count for count, _ in found]
        got = f"{counts} examples" if len(set(counts)) > 1 else f"{counts[0]:,} examples each, but others"
        raise DataError(
            f"the processes were given {got}: expected all training examples in each of them, of which each takes its "
            "own part by itself. Pass the whole data set, without a part of it for each process"
        )


def _digest(values: dict[str, torch.Tensor]) -> str:
    return digest_of({name: value.detach().reshape(-1) for name, value in values.items()})
