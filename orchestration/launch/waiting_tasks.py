"""The tasks of a plan that were not started yet, and which of them can start."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

from orchestration.launch.context import LaunchContext
from orchestration.plan.completed import tasks_to_run
from orchestration.plan.evaluation_families import AvailableSnapshots, group_into_families
from orchestration.plan.plan import Plan
from orchestration.tasks.task import EvaluateTask, Task, TrainingTask


class WaitingTasks:
    """Tasks to start, by digest, in the order of the plan."""

    def __init__(self, context: LaunchContext) -> None:
        self._context, self._outcome = context, context.outcome
        self._families: deque[list[Task]] = deque()
        """Evaluations that are ready, in families."""
        self.set_plan(context.plan, begun=())

    def set_plan(self, plan: Plan, begun: Collection[str]) -> None:
        """Take the tasks of a plan that are neither completed nor begun."""
        done = self._outcome.done
        self.plan = plan
        self.tasks = {task.digest: task for task in tasks_to_run(plan, done) if task.digest not in begun}
        self.snapshots = AvailableSnapshots(self._context.store, plan, done)

    def ready(self) -> list[Task]:
        """Return the tasks for evaluators whose inputs are there."""
        return [t for t in self.tasks.values() if not isinstance(t, TrainingTask) and not self._missing_inputs(t)]

    def ready_trainings(self) -> list[TrainingTask]:
        return [t for t in self.tasks.values() if isinstance(t, TrainingTask) and not self._missing_inputs(t)]

    def families(self, ready: list[Task]) -> deque[list[Task]]:
        """Group anew only where others are ready than were left: of a thousand it takes longer than to start one."""
        if set(map(id, ready)) != {id(task) for family in self._families for task in family}:
            self._families = deque(group_into_families(ready, keep_samples=self._context.workers.keep_samples))
        return self._families

    def drop_blocked(self) -> None:
        """Fail the tasks whose input failed; an evaluation can still run if its snapshot was made before."""
        failed = self._outcome.failed
        if not failed:
            return
        blocked = [t for t in self.tasks.values() if any(digest in failed for digest in self._missing_inputs(t))]
        for task in blocked:
            del self.tasks[task.digest]
            failed[task.digest] = "an input failed"
            self._context.tracker.fail(task, "an input failed")

    def _missing_inputs(self, task: Task) -> list[str]:
        """Inputs that are not there yet; of a training an evaluation needs the snapshots alone."""
        snapshots = task.snapshots if isinstance(task, EvaluateTask) else ()
        sampled = {train for train, _ in snapshots}
        missing = [digest for digest in task.inputs if digest not in self._outcome.done and digest not in sampled]
        raw = task.config.sampling.weights == "raw"
        return [*missing, *(train for train, step in snapshots if not self.snapshots.has(train, step, raw=raw))]
