"""DeepSpeed's private interfaces that this project uses, all seen in DeepSpeed 0.19.8.

Its public `deepspeed.utils.safe_*` functions give whole tensors at any ZeRO stage, but local pieces under ZeRO-3 alone
(deepspeedai/DeepSpeed#4681), and under no stage where a piece lies in its tensor.
"""
# ruff: noqa: SLF001

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

import torch
from torch import Tensor


def import_deepspeed() -> ModuleType:
    """Import DeepSpeed without MLflow, which only its autotuner asks for and does without.

    Every worker imports DeepSpeed, and none talks to MLflow: this saves each 1.1 s of a core and 33 MB.
    """
    if "deepspeed" not in sys.modules and "mlflow" not in sys.modules:
        sys.modules["mlflow"] = None  # type: ignore[assignment]  # Python's own way to say that it cannot be imported
        try:
            return importlib.import_module("deepspeed")
        finally:
            del sys.modules["mlflow"]
    return importlib.import_module("deepspeed")


def skip_shared_memory_op() -> None:
    """Declare the CPU's compiled communication op incompatible, which is how DeepSpeed skips it.

    DeepSpeed 0.19 compiles it with g++ at first use, for over a minute, wherever a compiler is, and has no setting
    against that (deepspeedai/DeepSpeed#7625); gloo serves as well at our sizes.
    """
    import_deepspeed().ops.__compatible_ops__["deepspeed_shm_comm"] = False


def local_piece(parameter: Any, rank: int, optimizer_state: str | None = None) -> tuple[int, Tensor] | None:
    """Return where this worker's fp32 piece of a weight, or of a moment of it, begins in the flattened weight, and the
    piece as a view; None if it owns nothing of it.

    `deepspeed.utils.safe_get_local_fp32_param` takes ZeRO-3's parameters only.
    """
    if hasattr(parameter, "ds_id"):  # ZeRO-3, which pads every weight to equal pieces
        piece = parameter._z3_optimizer.get_local_fp32_param(parameter, optimizer_state).detach()
        offset = piece.numel() * rank
        length = min(piece.numel(), parameter.ds_numel - offset)
        return (offset, piece[:length]) if length > 0 else None
    mapping = parameter._hp_mapping
    if mapping is None:
        return None
    return mapping.lp_fragment_address.start, mapping.get_hp_fragment(optimizer_state).detach()


def local_module_weight(parameter: Any, rank: int) -> tuple[int, Tensor]:
    """Return what this worker keeps of a weight for the forward pass, 1-D, after its place in the flattened weight: all
    of it, or under ZeRO-3 the piece that others gather from it, which may be empty.

    `deepspeed.utils.safe_set_local_fp32_param` writes the optimiser's copy alone, and
    `deepspeed.zero.GatheredParameters` would gather every weight on every worker to write it.
    """
    if not hasattr(parameter, "ds_id"):
        return 0, parameter.data.view(-1)
    piece = parameter.ds_tensor.data
    offset = min(piece.numel() * rank, parameter.ds_numel)
    return offset, piece.view(-1)[: parameter.ds_numel - offset]


def init_adam_state(zero: Any, zero_stage: int) -> None:
    """Create AdamW's state as torch does at its first step: zero moments and a step count, for every local partition.

    DeepSpeed 0.19 creates it at the first step and links it to the parameters then; a public call that does so
    earlier, for a state that is to be loaded, is missing (deepspeedai/DeepSpeed#5104).

    Args: zero: DeepSpeed's ZeRO optimiser, `engine.optimizer`.
    """
    for flat in _partitions(zero, zero_stage):
        zero.optimizer.state[flat] = {
            "step": torch.tensor(0.0, device=flat.device),
            "exp_avg": torch.zeros_like(flat, requires_grad=False),
            "exp_avg_sq": torch.zeros_like(flat, requires_grad=False),
        }
    if zero_stage != 3:
        zero._hp_optimizer_states_linked = False
        zero._lazy_init_hp_params_optimizer_state()


def set_adam_step(zero: Any, zero_stage: int, num_steps: int) -> None:
    """Set the step count of every local partition."""
    for flat in _partitions(zero, zero_stage):
        zero.optimizer.state[flat]["step"].fill_(num_steps)


def _partitions(zero: Any, zero_stage: int) -> list[Tensor]:
    partitions: list[Tensor] = (
        zero.fp32_partitioned_groups_flat if zero_stage == 3 else zero.single_partition_of_fp32_groups
    )
    return partitions
