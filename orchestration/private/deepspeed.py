"""DeepSpeed's private interfaces that this project uses, all seen in DeepSpeed 0.19.8.

Its public `deepspeed.utils.safe_*` functions give whole tensors at any ZeRO stage, but local pieces under ZeRO-3 alone
(deepspeedai/DeepSpeed#4681).
"""
# ruff: noqa: SLF001

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def skip_shared_memory_op() -> None:
    """Declare the CPU's compiled communication op incompatible, which is how DeepSpeed skips it.

    DeepSpeed 0.19 compiles it with g++ at first use, for over a minute, wherever a compiler is, and has no setting
    against that (deepspeedai/DeepSpeed#7625); gloo serves as well at our sizes.
    """
    import deepspeed

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


def local_weight(parameter: Any) -> Tensor | None:
    """Return this worker's fp32 piece of a weight under ZeRO-1 or 2 as a view; None if it owns nothing of it.

    `deepspeed.utils.safe_get_local_fp32_param` takes ZeRO-3's parameters only.
    """
    mapping = parameter._hp_mapping
    return None if mapping is None else mapping.get_hp_fragment().detach()


def init_adam_state(zero: Any, zero_stage: int, num_steps: int) -> None:
    """Create AdamW's state as torch does at its first step: zero moments and a step count, for every local partition.

    DeepSpeed 0.19 creates it at the first step and links it to the parameters then; a public call that does so
    earlier, for a state that is to be loaded, is missing (deepspeedai/DeepSpeed#5104).

    Args: zero: DeepSpeed's ZeRO optimiser, `engine.optimizer`.
    """
    is_stage_3 = zero_stage == 3
    for flat in zero.fp32_partitioned_groups_flat if is_stage_3 else zero.single_partition_of_fp32_groups:
        zero.optimizer.state[flat] = {
            "step": torch.tensor(float(num_steps), device=flat.device),
            "exp_avg": torch.zeros_like(flat, requires_grad=False),
            "exp_avg_sq": torch.zeros_like(flat, requires_grad=False),
        }
    if not is_stage_3:
        zero._hp_optimizer_states_linked = False
        zero._lazy_init_hp_params_optimizer_state()


def local_module_weight(parameter: Any) -> Tensor:
    """Return the piece of a weight that ZeRO-3's forward pass gathers on this worker, padded to equal pieces; 1-D.

    `deepspeed.utils.safe_set_local_fp32_param` writes the optimiser's copy alone, and
    `deepspeed.zero.GatheredParameters` would gather every weight on every worker to write it.
    """
    piece: Tensor = parameter.ds_tensor
    return piece
