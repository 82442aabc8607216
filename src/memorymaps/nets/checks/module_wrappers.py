"""Networks inside wrappers: compiled, data-parallel and averaged modules are unwrapped, others refused in words."""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from memorymaps.nets.distributed.unsharding import is_fully_sharded, unsharded_copy

_PARALLEL = (nn.DataParallel, nn.parallel.DistributedDataParallel, AveragedModel)


def is_compiled(module: nn.Module) -> bool:
    """Whether a module is the result of `torch.compile(net)`."""
    library = sys.modules.get("torch._dynamo.eval_frame")  # loaded by the first torch.compile
    return library is not None and isinstance(module, library.OptimizedModule)


def unwrapped(module: nn.Module, keep_parallel: bool = False) -> nn.Module:
    """The network inside `torch.compile`, `DataParallel`, `DistributedDataParallel` and `AveragedModel`.

    A network that is spread over processes by `fully_shard` (FSDP2) is copied, with all parameters in every process.

    `keep_parallel`: only a compiled module is unwrapped, for a user's own `forward`, which is written for the wrapper.

    Raises
    ------
    TypeError
        A module with TorchScript layers, exported or prepared for quantisation, parameters that are spread over
        processes by FSDP1, complex or without numbers, or torch's inference mode.
    """
    while True:
        if is_compiled(module):
            module = module._orig_mod
        elif isinstance(module, _PARALLEL) and not keep_parallel:
            module = module.module
        else:
            break
    if is_fully_sharded(module):
        module = unsharded_copy(module)
    _refuse_unsupported(module)
    return module


def _refuse_unsupported(module: nn.Module) -> None:
    kind = type(module).__name__
    _refuse_inference_mode(module)
    scripted = [name for name, each in module.named_modules() if isinstance(each, torch.jit.ScriptModule)]
    if scripted:
        what = f"{kind} is a TorchScript module" if not scripted[0] else f"{scripted[0]!r} is a TorchScript module"
        raise TypeError(
            f"{what}, which allows neither hooks nor per-example gradients: pass the nn.Module it was made from, with "
            "its weights, net.load_state_dict(scripted.state_dict())"
        )
    if _has_base(type(module), "_StatefulGraphModule"):
        raise TypeError(
            f"{kind} is an exported program, which cannot be called in eval mode: pass the nn.Module it was made from, "
            "with its weights, net.load_state_dict(exported.state_dict())"
        )
    _refuse_observers(module)
    _refuse_numbers(module)
    if _is_sharded(module):
        raise TypeError(
            f"the parameters of {kind} are spread over processes (FSDP): gather them into a module of one process, "
            "net.load_state_dict(get_model_state_dict(sharded, options=StateDictOptions(full_state_dict=True))) from "
            "torch.distributed.checkpoint.state_dict, and pass net"
        )


def _refuse_inference_mode(module: nn.Module) -> None:
    if torch.is_inference_mode_enabled():
        raise TypeError(
            "a map needs gradients, and torch.inference_mode() is on: call it outside of that block (torch.no_grad() "
            "may be on)"
        )
    made = [name for name, value in module.named_parameters() if value.is_inference()]
    if made:
        raise TypeError(
            f"parameter {made[0]!r} was made inside torch.inference_mode() and takes no gradient: make the network "
            "outside of it and load the weights, net.load_state_dict(state)"
        )


def _refuse_observers(module: nn.Module) -> None:
    """Fake quantisation that adapts its range in every forward pass, so that two passes differ."""
    for name, each in module.named_modules():
        if _has_base(type(each), "FakeQuantizeBase") and bool(each.observer_enabled[0]):
            raise TypeError(
                f"{name!r} ({type(each).__name__}) adapts its range at every forward pass, and a map takes several: "
                "stop that for the map, net.apply(torch.ao.quantization.disable_observer)"
            )


def _refuse_numbers(module: nn.Module) -> None:
    """Trainable parameters that are complex, and parameters without numbers."""
    for name, value in module.named_parameters():
        if value.is_meta:
            raise TypeError(
                f"parameter {name!r} is on the device 'meta' and has no numbers: net.to_empty(device='cpu'), then "
                "net.load_state_dict(state)"
            )
        if value.is_complex() and value.requires_grad:
            raise TypeError(
                f"parameter {name!r} is complex, and curvatures are of real parameters: make it "
                "nn.Parameter(torch.view_as_real(weight)), and torch.view_as_complex(self.weight) in forward"
            )


def _is_sharded(module: nn.Module) -> bool:
    kinds: list[Any] = [*(type(each) for each in module.modules()), *(type(each) for each in module.parameters())]
    return any(_has_base(kind, "FullyShardedDataParallel", "DTensor") for kind in kinds)


def _has_base(kind: type, *names: str) -> bool:
    """Whether a class is one of these or derived from it; by name, since their modules may not be imported."""
    return any(base.__name__ in names for base in kind.__mro__)
