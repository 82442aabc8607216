"""Error messages for non-finite outputs that name the example; the data are read again only after such an error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from memorymaps.core.arrays import Batch
from memorymaps.data.examples import Examples
from memorymaps.nets.autograd.network import Network, NotFiniteError
from memorymaps.nets.autograd.pytree import length, take_rows

_CHUNK = 64


@contextmanager
def name_failing_example(network: Network, examples: Examples) -> Iterator[None]:
    """Context: after a `NotFiniteError`, read the data again and raise one that names the example by its id."""
    try:
        yield
    except NotFiniteError:
        for batch in examples:
            _raise_for_nonfinite(network, batch)
        raise


def _raise_for_nonfinite(network: Network, batch: Batch) -> None:
    for start in range(0, length(batch.inputs), _CHUNK):
        f = _outputs(network, take_rows(batch.inputs, slice(start, start + _CHUNK)))
        nonfinite = torch.nonzero(~torch.isfinite(f).all(1)).flatten().tolist()
        if nonfinite:
            name = batch.ids[start + nonfinite[0] : start + nonfinite[0] + 1].tolist()[0]
            raise NotFiniteError(
                f"the network's output for example {name!r} is not finite: {f[nonfinite[0]].tolist()}. Check its "
                "inputs, and whether training has diverged"
            )


def _outputs(network: Network, inputs: Any) -> Tensor:
    """Outputs `f [n, c]` without checks."""
    with torch.no_grad():
        return network.forward(network.module, network.to_device(inputs)).reshape(length(inputs), -1)
