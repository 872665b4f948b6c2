"""Checkpoints in a store, saved and read whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from dfm_core.training.curve import CurveRow
from dfm_core.training.engine import STATE_KINDS, StateKind, TrainingEngine
from dfm_core.training.pieces import PieceState
from orchestration.artifacts.training_artifacts import ResumePoint, TrainingArtifacts, TrainingCost
from orchestration.storage.store import DamagedArtifactError
from orchestration.training.checkpoint_upload import StateUploads


class CheckpointUploads:
    """Uploads the checkpoints of one worker of a training, and nothing else."""

    def __init__(self, artifacts: TrainingArtifacts, engine: TrainingEngine[Any], attempt: str, keep: int) -> None:
        self._artifacts, self._engine, self._keep = artifacts, engine, keep
        self._uploads = StateUploads(artifacts.store, engine, attempt)

    def save(
        self,
        step: int,
        curve: Sequence[CurveRow] = (),
        scale_std: Sequence[float] = (),
        cost: TrainingCost | None = None,
    ) -> None:
        checkpoint = self._artifacts.checkpoint(self._engine, step, self._keep, curve, scale_std, cost)
        self._uploads.save(step, [checkpoint])

    def finish(self) -> None:
        self._uploads.finish()


def whole(state: PieceState) -> Mapping[StateKind, Mapping[str, Tensor]]:
    """Return all tensors of a state, flattened."""
    tensors: dict[StateKind, dict[str, Tensor]] = {kind: {} for kind in STATE_KINDS}
    for kind, by_name in tensors.items():
        for name, size in state.sizes(kind).items():
            by_name[name] = torch.empty(size)
            state.fill(by_name[name], kind, name, 0)
    return tensors


def read_checkpoint(
    artifacts: TrainingArtifacts, step: int
) -> tuple[ResumePoint, Mapping[StateKind, Mapping[str, Tensor]]]:
    """Return a checkpoint and its tensors, flattened, all of them verified."""
    with artifacts.opened_checkpoint(step) as point:
        return point, whole(point.state)


def newest_sound_step(artifacts: TrainingArtifacts, at_most: int) -> int:
    """Return the newest checkpoint up to a step that can be read whole; 0 if there is none."""
    for step in reversed([step for step in artifacts.checkpoint_steps() if step <= at_most]):
        try:
            read_checkpoint(artifacts, step)
        except DamagedArtifactError:
            continue
        return step
    return 0
