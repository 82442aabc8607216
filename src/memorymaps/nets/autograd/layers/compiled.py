"""Context manager under which modules inside a network that were compiled run eagerly, so that hooks see them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def eager_modules(module: nn.Module) -> Iterator[None]:
    """Context: modules made by `torch.compile(layer)` or `layer.compile()` call the original; restored afterwards."""
    library = sys.modules.get("torch._dynamo.eval_frame")  # loaded by the first torch.compile
    kinds = () if library is None else (library.OptimizedModule,)
    compiled = [each for each in module.modules() if isinstance(each, kinds)]
    replaced = [(vars(each), "forward", each._orig_mod) for each in compiled]
    replaced += [(vars(each), "_compiled_call_impl", None) for each in module.modules() if _is_compiled_in_place(each)]
    before = [attributes[name] for attributes, name, _ in replaced]
    for attributes, name, value in replaced:
        attributes[name] = value
    try:
        yield
    finally:
        for (attributes, name, _), value in zip(replaced, before, strict=True):
            attributes[name] = value


def _is_compiled_in_place(module: nn.Module) -> bool:
    return vars(module).get("_compiled_call_impl") is not None
