"""DeepSpeed's private interfaces do what `orchestration.private.deepspeed` says, in a process of its own."""

from __future__ import annotations

import os
import sys
import uuid
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing

from orchestration.private.deepspeed import (
    import_deepspeed,
    init_adam_state,
    local_module_weight,
    local_piece,
    set_adam_step,
    skip_shared_memory_op,
)
from tests.support.process_group import join, leave


def test_deepspeeds_private_interfaces_are_as_they_were(tmp_path: Path) -> None:
    meeting = tmp_path / f"meeting-{uuid.uuid4().hex}"
    torch.multiprocessing.spawn(_check, (str(meeting),), nprocs=1)  # raises what the process raised


def _check(rank: int, meeting: str) -> None:
    join(rank, 1, meeting)
    os.environ["DS_ACCELERATOR"] = "cpu"
    assert not {"deepspeed", "mlflow"} & set(sys.modules), "imported before it was asked for"
    deepspeed = import_deepspeed()
    assert "mlflow" not in sys.modules, "DeepSpeed's autotuner brought MLflow into a worker"
    import mlflow  # it can still be imported afterwards

    assert mlflow.__version__
    from deepspeed.comm.torch import build_shm_op

    skip_shared_memory_op()
    assert build_shm_op() is None, "the op is not skipped"
    deepspeed.init_distributed(dist_backend="gloo", verbose=False)
    for stage in (1, 2, 3):
        _check_stage(deepspeed, stage)
    leave()


def _check_stage(deepspeed: Any, stage: int) -> None:
    from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

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
    init_adam_state(engine.optimizer, stage)
    set_adam_step(engine.optimizer, stage, 7)
    for moment in ("exp_avg", "exp_avg_sq"):
        state = safe_get_full_optimizer_state(parameter, moment)
        torch.testing.assert_close(state, torch.zeros_like(weight), msg=f"ZeRO-{stage}: {moment}")
    assert [float(one["step"]) for one in engine.optimizer.optimizer.state.values()] == [7.0]
    begin, whole = local_module_weight(parameter, 0)
    torch.testing.assert_close(whole, weight.flatten())
    whole.copy_(2 * whole)
    torch.testing.assert_close(engine(torch.eye(3)), 2 * weight.T)
    for moment, value in ((None, 3.0), ("exp_avg", 4.0), ("exp_avg_sq", 5.0)):
        piece = local_piece(parameter, 0, moment)
        assert piece is not None
        assert (begin, piece[0], len(piece[1])) == (0, 0, 6)
        piece[1].fill_(value)
        state = safe_get_full_optimizer_state(parameter, moment) if moment else safe_get_full_fp32_param(parameter)
        torch.testing.assert_close(state, torch.full_like(weight, value), msg="the piece is no view")
    engine.destroy()
