"""The loop that walks a plan: starts what is ready and fits, collects what ended, goes on past failures."""

from __future__ import annotations

import time
from collections.abc import Callable

from orchestration.artifacts.task_record import COST_METRIC, TaskRecord
from orchestration.cluster.capacity import Capacity
from orchestration.common.cleanup import always
from orchestration.common.redaction import reason_of, shown
from orchestration.control.failure_policy import FirstMistakes, failure_of
from orchestration.control.outcome import EarlyExit
from orchestration.control.progress_board import start_progress_board
from orchestration.evaluation.pool import EvaluationPool
from orchestration.launch.gauges import SweepGauges
from orchestration.launch.launch_context import LaunchContext
from orchestration.launch.progress import ProgressReader
from orchestration.launch.running_tasks import RunningTasks
from orchestration.launch.shutdown import end_early
from orchestration.launch.waiting_notice import WaitingNotice
from orchestration.launch.waiting_tasks import WaitingTasks
from orchestration.plan.completed import completed_record
from orchestration.plan.estimate import is_short
from orchestration.plan.plan import Plan
from orchestration.tasks.task import EvaluateTask, Task, TrainingTask
from orchestration.training.train_request import request_of
from orchestration.training.worker_group import WorkerGroup
from orchestration.training.worker_group_pool import WorkerGroupPool

_POLL_SECONDS = 0.3


class Launcher:
    """One launch of a plan on a connected cluster."""

    def __init__(
        self, context: LaunchContext, capacity: Callable[[], Capacity], early_exit: Callable[[], EarlyExit | None]
    ) -> None:
        """Args: capacity: of the cluster now. early_exit: why to end before the plan is done, None: go on; both are
        called in every round.
        """
        store, workers = context.store, context.workers
        told = context.plan.spec.runtime.tracking.system_metrics
        self._context, self._capacity_now, self._early_exit = context, capacity, early_exit
        self._board_name, self._progress_board = start_progress_board()
        self._running = RunningTasks(
            WorkerGroupPool(
                workers,
                lambda task: request_of(task, store, workers, self._board_name, system_metrics=told),
                lambda only: WorkerGroup(store, workers, only),
                lambda task: is_short(task, workers, context.speeds),
            )
        )
        self._waiting = WaitingTasks(context)
        self._progress = ProgressReader(context, self._running, self._waiting, self._progress_board)
        self._gauges = SweepGauges(context, self._running)
        self._waiting_notice = WaitingNotice(context.display)
        self._first_mistakes = FirstMistakes()
        self._fit_to(capacity())

    def run(self) -> Plan:
        """Return the plan as it is by then, when every task is done or has failed, or after an early exit.

        However it ends, nothing of it calls Ray any more.
        """
        with always(self._leave):
            return self._walk()

    def _leave(self) -> None:
        early_exit = self._context.outcome.early_exit or self._early_exit()
        self._running.leave(cluster_is_lost=early_exit is not None and early_exit.cluster_is_lost)

    def _walk(self) -> Plan:
        while self._waiting.tasks or self._running or self._is_undecided:
            early_exit = self._early_exit()
            if early_exit is not None and early_exit.cluster_is_lost:  # before any call to Ray
                return self._end_early(early_exit)
            self._progress.read()
            self._collect_trainings()
            self._collect_evaluations()
            self._tick()
            self._grow()
            self._waiting.drop_blocked()
            self._resize()
            early_exit = self._early_exit() or self._first_mistakes.early_exit
            left = self._waiting.tasks or self._running.trainings or self._running.measured or self._is_undecided
            if early_exit is not None and left:
                return self._end_early(early_exit)
            self._start_evaluations()
            self._start_trainings()
            self._running.release_idle()
            self._wait()
        if self._running.pool:
            self._running.pool.close()
            self._running.pool = None
        self._running.groups.close_idle()
        return self._waiting.plan

    @property
    def _is_undecided(self) -> bool:
        return self._context.searches is not None and self._context.searches.is_undecided

    def _end_early(self, early_exit: EarlyExit) -> Plan:
        def collect() -> None:
            self._progress.read()
            self._collect_trainings()
            self._tick()

        end_early(early_exit, self._context, self._running, self._progress_board, collect)
        return self._waiting.plan

    def _fit_to(self, capacity: Capacity) -> None:
        """Set how much can run at the same time, nodes that can come included: asking for them makes them come."""
        workers, self._capacity = self._context.workers, capacity
        # At least one: where nothing fits now, what it waits for is told.
        self._max_trainings = self._running.groups.most = max(1, capacity.concurrent_trainings(workers))
        self._fits_both = capacity.fits_both(workers)
        self._num_slots = self._max_trainings + (1 if self._fits_both else 0)  # one is measured while others train
        self._num_evaluators = capacity.num_evaluators(workers)

    def _resize(self) -> None:
        """Adapt to nodes that came or went: evaluators that would keep a training waiting make room for it."""
        capacity, running = self._capacity_now(), self._running
        if capacity == self._capacity:
            return
        if (capacity.nodes, capacity.coming) != (self._capacity.nodes, self._capacity.coming):
            self._context.display.say(f"Ray has {capacity} now.")
        self._fit_to(capacity)
        if self._fits_both or running.pool is None or not running.trainings:
            return
        running.pool.abandon()  # what they wrote is found again
        running.pool = None
        for task in running.measured.values():
            self._waiting.tasks[task.digest] = task
            self._context.meter.ended(task.digest, None)
            self._context.display.ended(task, "waits for the trainings")
        running.measured.clear()

    def _wait(self) -> None:
        """Return when an evaluator answers, or it is time to look at the trainings again."""
        if self._running.pool and self._running.pool.busy:
            self._running.pool.wait(_POLL_SECONDS)
        else:
            time.sleep(_POLL_SECONDS)

    def _grow(self) -> None:
        """Take the tasks of a plan that has grown, and trainings in it that go further than before."""
        searches, outcome = self._context.searches, self._context.outcome
        plan = searches.advance(outcome, self._num_slots) if searches else None
        if plan is not None:
            self._waiting.set_plan(
                plan, begun={*self._running.measured, *self._running.training_digests, *outcome.failed}
            )

    def _start_evaluations(self) -> None:
        """Start reference tasks first: they need no training, and try the feature network before hours are spent."""
        running = self._running
        if running.pool is not None and not running.pool.wants_work:
            return
        if not self._fits_both and running.trainings:
            return
        ready = self._waiting.ready()
        if ready and not self._fits_both and self._short_training_waits():
            # References, then all trainings, then all evaluations: to change places takes as long as a short training.
            ready = [task for task in ready if not isinstance(task, EvaluateTask)]
        if not ready:
            return
        if not self._fits_both:
            running.groups.close_idle()
        if running.pool is None:
            running.pool = EvaluationPool(
                self._context.store,
                self._context.plan.spec.runtime,
                self._num_evaluators,
                self._board_name,
                self._context.display.evaluator_retried,
            )
        families = self._waiting.families(ready)
        while families and running.pool.wants_work:
            family = families.popleft()
            running.pool.submit(family)  # first: telling MLflow takes a while
            for task in family:
                self._begin(task)
                running.measured[task.digest] = task

    def _short_training_waits(self) -> bool:
        workers, speeds = self._context.workers, self._context.speeds
        return any(is_short(task, workers, speeds) for task in self._waiting.ready_trainings())

    def _start_trainings(self) -> None:
        running = self._running
        ready = self._affordable(self._waiting.ready_trainings())
        if not ready or len(running.trainings) >= self._max_trainings:
            return
        if not self._fits_both and running.pool is not None:
            if running.pool.busy:
                return
            running.pool.close()
            running.pool = None
        for task in ready[: self._max_trainings - len(running.trainings)]:
            self._begin(task)
            running.trainings[running.groups.submit(task)] = task

    def _affordable(self, trainings: list[TrainingTask]) -> list[TrainingTask]:
        """Return those that have not spent their limit; fail the others without starting them."""
        waiting = self._waiting.tasks
        for task in trainings:
            if reason := self._context.meter.exhausted(task.digest):
                del waiting[task.digest]
                self._end(task, reason)
        return [task for task in trainings if task.digest in waiting]

    def _begin(self, task: Task) -> None:
        del self._waiting.tasks[task.digest]
        self._context.tracker.begin(task)
        self._context.display.started(task, task.total_units, self._context.steps.get(task.digest, 0))

    def _tick(self) -> None:
        running, context = self._running, self._context
        held, _ = running.accelerators(context.workers)
        context.meter.tick(running.training_digests, running.measured, self._num_evaluators, held)
        self._gauges.show(len(self._waiting.tasks))
        self._waiting_notice.look(self._capacity_now())

    def _collect_trainings(self) -> None:
        self._progress.report_retries()
        trainings = self._running.trainings
        for future in [future for future in trainings if future.done()]:
            task = trainings.pop(future)
            self._progress.read()
            error = future.exception()
            failure = failure_of(error) if error else None
            reason = self._progress.failures.pop(task.digest, "") or (str(failure) if failure else "")
            self._first_mistakes.ended(failure)
            self._end(task, reason)

    def _collect_evaluations(self) -> None:
        if self._running.pool:
            for task, reason in self._running.pool.collect():
                del self._running.measured[task.digest]
                self._end(task, reason)

    def _end(self, begun: Task, reason: str) -> None:
        """Tell everybody of a task that ended. Args: reason: why it failed; "": it did not say so."""
        context, stopped_at = self._context, self._progress.stopped.get(begun.digest)
        task = self._waiting.plan.tasks[begun.digest]  # as it is wanted by now
        record, reason = self._record_of(task, shown(reason, context.store.options))  # goes into records and the report
        if record is None and not reason and (stopped_at is not None or context.outcome.early_exit is not None):
            # A progress board that is lost while trainings stop cannot say where.
            where = ", goes on from its last checkpoint" if stopped_at is None else f" at step {stopped_at}"
            context.mark_stopped(task, f"stopped{where}")
            return
        context.meter.ended(task.digest, record.metrics.get(COST_METRIC) if record is not None else None)
        if record is not None:
            context.outcome.done[task.digest] = record
            self._waiting.snapshots.trained(task)
            context.tracker.complete(task, record, self._waiting.plan.training_of(task))
            context.display.ended(task, "done")
        elif not reason and task.demand != begun.demand:
            self._waiting.tasks[task.digest] = task
            context.display.ended(task, "goes on")
        else:
            reason = reason or "it ended without a complete result"
            context.outcome.failed[task.digest] = reason
            if context.notifier is not None:
                context.notifier.tell("task_failed", f"{task.kind} {task.title} failed: {reason}")
            context.tracker.fail(task, reason)
            context.display.ended(task, f"FAILED: {reason}")

    def _record_of(self, task: Task, reason: str) -> tuple[TaskRecord | None, str]:
        """Return (record, "") of a task that ended well, else (None, why it failed if that is known)."""
        store = self._context.store
        if reason:
            return None, reason
        try:
            return completed_record(store, task), ""
        except Exception as error:  # noqa: BLE001  any storage library: the task is told as failed, the sweep goes on
            return None, f"its record cannot be read ({reason_of(error, store.options)})"
