"""What the tasks of a sweep have cost so far: asked of the store alone, without any heavy library."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestration.heartbeat import DamagedHeartbeatError, read_heartbeat
from orchestration.layout import CHECKPOINTS, RESULTS, TaskPaths, step_of
from orchestration.plan import Plan
from orchestration.results import TaskResult, read_result
from orchestration.storage import Store

_LOG = logging.getLogger(__name__)
COST = "accelerator_seconds"
"""The name under which records and checkpoints say what they cost, over all attempts that led to them."""


@dataclass(frozen=True)
class Checkpointed:
    """The newest published checkpoint of a training; its files are not verified."""

    step: int
    accelerator_seconds: float


def newest_checkpoint(store: Store, digest: str) -> Checkpointed | None:
    """None if the training has no checkpoint."""
    paths = TaskPaths(digest)
    steps = [step for name in store.names(paths.checkpoints) if (step := step_of(name)) is not None]
    for step in sorted(steps, reverse=True):
        manifest = store.manifest(paths.checkpoint(step))
        if manifest is not None:
            about = manifest["about"]
            return Checkpointed(step, _cost(about.get("spent") if isinstance(about, Mapping) else None))
    return None


@dataclass(frozen=True)
class Standing:
    """How far the tasks of a plan are."""

    seconds: Mapping[str, float]
    """Accelerator-seconds behind each task, whichever sweep spent them; tasks that cost nothing are left out."""
    steps: Mapping[str, int]
    """Steps of unfinished trainings that need not be made again."""
    counted: float = 0.0
    """Accelerator-seconds that the sweep's last driver had counted, those that left no record among them."""

    @property
    def spent(self) -> float:
        """Accelerator-seconds of the sweep: what was stopped, failed or was lost has cost too."""
        return max(sum(self.seconds.values()), self.counted)


def standing(store: Store, plan: Plan, done: Mapping[str, TaskResult]) -> Standing:
    """Asks records, checkpoints and the last driver's heartbeat.

    An unfinished training cost what its newest checkpoint says; what came after it, the heartbeat alone knows.
    """
    seconds: dict[str, float] = {}
    steps: dict[str, int] = {}
    # Two listings tell where to look: a large sweep that has not begun costs no request for each of its tasks.
    recorded, checkpointed = set(store.names(RESULTS)), set(store.names(CHECKPOINTS))
    for digest, task in plan.tasks.items():
        record = done.get(digest) or (read_result(store, digest) if digest in recorded else None)
        cost = _cost(record.metrics) if record is not None else 0.0
        unfinished = task.kind == "train" and digest not in done and digest in checkpointed
        if unfinished and (newest := newest_checkpoint(store, digest)) is not None:
            cost = max(cost, newest.accelerator_seconds)
            steps[digest] = min(newest.step, task.until_step)
        if cost > 0:
            seconds[digest] = cost
    return Standing(seconds, steps, _counted(store, plan.spec.name))


def _counted(store: Store, sweep: str) -> float:
    try:
        beat = read_heartbeat(store, sweep)
    except DamagedHeartbeatError as error:
        _LOG.warning("%s; what was spent without a record is not counted", error)
        return 0.0
    return 0.0 if beat is None else beat.accelerator_seconds


def _cost(spent: Any) -> float:
    """What a record or a checkpoint says; nothing if it says none, as the first versions did."""
    value = spent.get(COST) if isinstance(spent, Mapping) else None
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else 0.0
