"""Cost of the tasks of a sweep so far: read from the store alone, without any heavy library."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from orchestration.artifacts.checkpoint_index import newest_checkpoint
from orchestration.artifacts.task_record import TaskRecord, cost_in, read_record
from orchestration.control.heartbeat import DamagedHeartbeatError, read_heartbeat
from orchestration.plan.plan import Plan
from orchestration.storage.layout import CHECKPOINTS, RESULTS
from orchestration.storage.store import Store
from orchestration.tasks.task import TrainTask

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Progress:
    """Cost so far and steps made of the tasks of a plan."""

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


def progress_of(store: Store, plan: Plan, done: Mapping[str, TaskRecord]) -> Progress:
    """Return the progress by records, checkpoints and the last driver's heartbeat.

    An unfinished training costs what its newest checkpoint says; the heartbeat alone counts what came after it.
    """
    seconds: dict[str, float] = {}
    steps: dict[str, int] = {}
    # Two listings tell where to look: a large sweep that has not begun costs no request for each of its tasks.
    recorded, checkpointed = set(store.names(RESULTS)), set(store.names(CHECKPOINTS))
    for digest, task in plan.tasks.items():
        record = done.get(digest) or (read_record(store, digest) if digest in recorded else None)
        cost = cost_in(record.metrics) if record is not None else 0.0
        if isinstance(task, TrainTask) and digest not in done and digest in checkpointed:
            newest = newest_checkpoint(store, digest)
            if newest is not None:
                cost = max(cost, newest.accelerator_seconds)
                steps[digest] = min(newest.step, task.until_step)
        if cost > 0:
            seconds[digest] = cost
    return Progress(seconds, steps, _counted(store, plan.spec.name))


def _counted(store: Store, sweep: str) -> float:
    """Return the accelerator-seconds that the sweep's last driver had counted; 0 if its heartbeat is damaged."""
    try:
        heartbeat = read_heartbeat(store, sweep)
    except DamagedHeartbeatError as error:
        _LOG.warning("%s; what was spent without a record is not counted", error)
        return 0.0
    return 0.0 if heartbeat is None else heartbeat.accelerator_seconds
