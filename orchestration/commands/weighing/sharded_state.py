"""Memory of a training's state on one worker, as DeepSpeed deals it out.

Counted on DeepSpeed itself: tests/orchestration/training/test_deepspeed_step.py.
"""

from __future__ import annotations

from orchestration.config.workers import WorkersConfig
from orchestration.training.deepspeed_engine import reduced_at_once

_FP32 = 4
_LIVE_PARAMETERS, _FETCHED_AT_ONCE = 10**9, 5 * 10**7
"""DeepSpeed's defaults for `stage3_max_live_parameters` and `stage3_prefetch_bucket_size`."""


def state_bytes(
    num_parameters: int, workers: WorkersConfig, num_trained: int | None = None, *, has_average: bool = True
) -> int:
    """Return the bytes of fp32 weights and gradients, the weights that the optimiser steps, two moments and the
    average, sharded as the ZeRO stage says.

    Args: num_trained: parameters that have gradients and moments; None: all.
    """
    size, shards = num_parameters * _FP32, workers.num_workers
    moving = size if num_trained is None else num_trained * _FP32
    weights = size // shards if workers.zero_stage == 3 else size
    # ZeRO-2 adds those of a micro-batch to those of the ones before when it has all of them.
    gradients = {1: moving, 2: 2 * moving // shards, 3: moving // shards}[workers.zero_stage]
    return weights + gradients + (4 if has_average else 3) * moving // shards


def gathered_bytes(num_parameters: int) -> int:
    """Return the bytes of weights that ZeRO-3 gathers: all that it may keep until they are used again, and those that
    arrive, in a buffer of their own."""
    return (min(num_parameters, _LIVE_PARAMETERS) + min(num_parameters, _FETCHED_AT_ONCE)) * _FP32


def sent_bytes(num_trained: int, workers: WorkersConfig) -> int:
    """Return the bytes of DeepSpeed's buffers of gradients: two where sending overlaps the backward pass of ZeRO 1 and
    2."""
    buffers = 2 if workers.use_gpu and workers.zero_stage < 3 else 1
    return buffers * reduced_at_once(num_trained) * _FP32
