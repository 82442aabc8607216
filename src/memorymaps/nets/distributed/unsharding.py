"""Networks whose parameters are spread over processes by FSDP2 (`fully_shard`), as networks of each process.

A map takes many passes with hooks, vectorised over cotangents: every process has to hold all parameters, once. The
copy has them and none of FSDP's hooks; what a mixed-precision policy casts, it computes in the parameters' precision.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

_FORWARD_HOOKS = ("_forward_pre_hooks", "_forward_hooks")
_STATE_HOOKS = (
    "_state_dict_pre_hooks", "_state_dict_hooks", "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks",
)  # fmt: skip
_STATE_KEY = "__composable_api_state_key"  # beginning of the attributes in which FSDP keeps its own objects


def is_fully_sharded(module: nn.Module) -> bool:
    """Whether `fully_shard` has been applied to a module or to a part of it."""
    return any(_own_class(each) is not type(each) for each in module.modules())


def unsharded_copy(module: nn.Module) -> nn.Module:
    """A copy with all parameters in every process; all processes of the parameters' mesh have to call this.

    Raises
    ------
    TypeError
        A module that cannot be copied.
    """
    memo: dict[int, Any] = {
        id(value): nn.Parameter(whole(value).detach().clone(), value.requires_grad) for value in module.parameters()
    }
    with _without_sharding(module):
        try:
            return copy.deepcopy(module, memo)
        except Exception as error:  # of whatever a user's module contains
            raise TypeError(
                f"{type(module).__name__} is spread over processes (FSDP2) and cannot be copied ({error}): gather it "
                "into a module of one process, net.load_state_dict(get_model_state_dict(sharded, "
                "options=StateDictOptions(full_state_dict=True))) from torch.distributed.checkpoint.state_dict"
            ) from error


def whole(value: Any) -> Any:
    """A tensor that is spread over processes with all its numbers; anything else as it is."""
    gather = getattr(value, "full_tensor", None)
    return value if gather is None else gather()


def _own_class(module: nn.Module) -> type:
    """A module's class before `fully_shard`, which puts one of its own and `FSDPModule` before it."""
    bases = type(module).__mro__
    return bases[2] if len(bases) > 2 and bases[1].__name__ == "FSDPModule" else bases[0]


@contextmanager
def _without_sharding(module: nn.Module) -> Iterator[None]:
    """The modules as of their own classes and without FSDP's objects and hooks, which cannot be copied."""
    sharded = {each: (type(each), dict(vars(each))) for each in module.modules() if _own_class(each) is not type(each)}
    for each in sharded:
        each.__class__ = _own_class(each)
        _drop_sharding(vars(each))
    try:
        yield
    finally:
        for each, (kind, attributes) in sharded.items():
            each.__class__ = kind
            vars(each).clear()
            vars(each).update(attributes)


def _drop_sharding(attributes: dict[str, Any]) -> None:
    for name in [name for name in attributes if name.startswith(_STATE_KEY)]:
        del attributes[name]
    for name in _FORWARD_HOOKS:
        attributes[name] = OrderedDict((k, hook) for k, hook in attributes[name].items() if not _is_of_sharding(hook))
    for name in _STATE_HOOKS:
        attributes[name] = OrderedDict()


def _is_of_sharding(hook: Any) -> bool:
    return type(getattr(hook, "__self__", None)).__name__ == "FSDPState"
