"""DeepSpeed's private interfaces do what `orchestration.private.deepspeed` says, in a process of its own."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing

from orchestration.private.deepspeed import init_adam_state, local_module_weight, local_weight, skip_shared_memory_op
from tests.support.process_group import join, leave


def test_deepspeeds_private_interfaces_are_as_they_were(tmp_path: Path) -> None:
    meeting = tmp_path / f"meeting-{uuid.uuid4().hex}"
    torch.multiprocessing.spawn(_check, (str(meeting),), nprocs=1)  # raises what the process raised


def _check(rank: int, meeting: str) -> None:
    join(rank, 1, meeting)
    os.environ["DS_ACCELERATOR"] = "cpu"
    import deepspeed
    from deepspeed.comm.torch import build_shm_op

    skip_shared_memory_op()
    assert build_shm_op() is None, "the op is not skipped"
    deepspeed.init_distributed(dist_backend="gloo", verbose=False)
    for stage in (1, 2, 3):
        _check_stage(deepspeed, stage)
    leave()


def _check_stage(deepspeed: Any, stage: int) -> None:
    from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state, safe_set_full_fp32_param

    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2, bias=False)
    weight = model.weight.detach().clone()
    engine, *_ = deepspeed.initialize(
        model=model,
        optimizer=torch.optim.AdamW(model.parameters(), lr=0.0, weight_decay=0.0),
        config={
            "train_batch_size": 1,
            "zero_optimization": {"stage": stage, "overlap_comm": False},
            "zero_allow_untested_optimizer": True,
            "zero_force_ds_cpu_optimizer": False,
        },
    )
    (parameter,) = model.parameters()
    init_adam_state(engine.optimizer, stage, num_steps=7)
    for moment in ("exp_avg", "exp_avg_sq"):
        state = safe_get_full_optimizer_state(parameter, moment)
        torch.testing.assert_close(state, torch.zeros_like(weight), msg=f"ZeRO-{stage}: {moment}")
    assert [float(one["step"]) for one in engine.optimizer.optimizer.state.values()] == [7.0]
    if stage == 3:
        piece = local_module_weight(parameter)
        torch.testing.assert_close(piece.flatten()[:6], weight.flatten())
        piece.data.copy_(2 * piece)
        torch.testing.assert_close(engine(torch.eye(3)), 2 * weight.T)
    else:
        fragment = local_weight(parameter)
        assert fragment is not None
        torch.testing.assert_close(fragment.flatten(), weight.flatten())
        safe_set_full_fp32_param(parameter, 3 * weight)
        torch.testing.assert_close(fragment.flatten(), 3 * weight.flatten(), msg="the piece is no view")
    torch.testing.assert_close(safe_get_full_fp32_param(parameter), weight if stage == 3 else 3 * weight)
    engine.destroy()
