"""Walks the plan: starts what is ready and fits, keeps records and tracking in step, goes on past failures."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

import ray

from orchestration.artifacts.task_record import COST_METRIC
from orchestration.cluster.capacity import Capacity
from orchestration.common.redaction import reason_of, shown
from orchestration.config.workers import WorkersConfig
from orchestration.control.budget_meter import BudgetMeter
from orchestration.control.failure_policy import FirstMistakes, failure_of
from orchestration.control.outcome import EarlyExit, Outcome
from orchestration.control.progress_board import start_progress_board
from orchestration.evaluation.pool import EvaluationPool
from orchestration.launch.progress_display import Display
from orchestration.launch.shutdown import shut_down
from orchestration.plan.completed import completed_record, tasks_to_run
from orchestration.plan.evaluation_families import AvailableSnapshots, group_into_families
from orchestration.plan.plan import Plan
from orchestration.storage.store import Store
from orchestration.tasks.task import EvaluateTask, Task, TrainingTask
from orchestration.tracking.tracker import TaskTracker
from orchestration.training.train_request import request_of
from orchestration.training.worker_groups import WorkerGroup, WorkerGroupPool

_POLL_SECONDS = 0.3


class Launcher:
    """One launch of a plan on a connected cluster."""

    def __init__(
        self,
        plan: Plan,
        outcome: Outcome,
        store: Store,
        tracker: TaskTracker,
        capacity: Callable[[], Capacity],
        display: Display,
        meter: BudgetMeter,
        wanted_end: Callable[[], EarlyExit | None],
    ) -> None:
        """Args: outcome: holds what is done, and is kept up to date. capacity: is asked all the time what the cluster
        has by now. wanted_end: and whether, and why, to end before the plan is done.
        """
        self._meter, self._wanted_end = meter, wanted_end
        self._grown: Callable[[Outcome, int], Plan | None] | None = None
        self._store, self._tracker, self._display = store, tracker, display
        self._plan, self._runtime = plan, plan.spec.runtime
        self._workers: WorkersConfig = self._runtime.workers
        self._outcome = outcome
        self._todo = {task.digest: task for task in tasks_to_run(plan, outcome.done)}
        self._trainings: dict[Future[None], Task] = {}
        self._measured: dict[str, Task] = {}
        self._capacity_now = capacity
        self._pool: EvaluationPool | None = None
        self._board_name, self._board = start_progress_board()
        self._groups = WorkerGroupPool(
            self._workers,
            lambda task: request_of(task, store, self._workers, self._board_name),
            lambda: WorkerGroup(store, self._workers),
        )
        self._fit_to(capacity())
        self._waiting: deque[list[Task]] = deque()
        """Evaluations that are ready, in families."""
        self._failures: dict[str, str] = {}
        self._first_mistakes = FirstMistakes()
        self._stopped: dict[str, int] = {}
        self._told_restarts: dict[str, int] = {}
        self._snapshots = AvailableSnapshots(store, plan, outcome.done)

    def grows_by(self, grown: Callable[[Outcome, int], Plan | None]) -> None:
        """Args: grown: is asked all the time for the plan, if there is more in it by now than it was; it is told what
        became of the tasks and how many trials to keep going, and fills in what is known of new tasks."""
        self._grown = grown

    def run(self) -> None:
        """Returns when every task is done or has failed, or when it is to end before."""
        while self._todo or self._trainings or (self._pool and self._pool.busy):
            ending = self._wanted_end()
            if ending is not None and ending.cluster_is_lost:  # before anything of Ray is asked
                self._end_early(ending)
                return
            self._read_board()
            self._collect_trainings()
            self._collect_evaluations()
            self._tick()
            self._take_more()
            self._drop_blocked()
            self._resize()
            ending = self._wanted_end() or self._first_mistakes.ending
            if ending is not None and (self._todo or self._trainings or self._measured):
                self._end_early(ending)
                return
            self._start_evaluations()
            self._start_trainings()
            self._wait()
        if self._pool:
            self._pool.close()
        self._groups.close_idle()

    def _fit_to(self, capacity: Capacity) -> None:
        """What can run at the same time."""
        self._capacity = capacity
        # At least one: where nothing fits now, asking for it makes a cluster grow, or names what is missing.
        self._max_trainings = self._groups.most = max(1, capacity.concurrent_trainings(self._workers))
        self._together = capacity.fits_both(self._workers)
        self._num_slots = self._max_trainings + (1 if self._together else 0)  # one is measured while others train
        self._num_evaluators = capacity.num_evaluators(self._workers)

    def _resize(self) -> None:
        """Where nodes came or went: evaluators that would keep a training waiting make room for it."""
        capacity = self._capacity_now()
        if capacity == self._capacity:
            return
        self._display.say(f"Ray has {capacity} now.")
        self._fit_to(capacity)
        if self._together or self._pool is None or not self._trainings:
            return
        self._pool.abandon()  # what they wrote is found again
        self._pool = None
        for task in self._measured.values():
            self._todo[task.digest] = task
            self._meter.ended(task.digest, None)
            self._display.ended(task, "waits for the trainings")
        self._measured.clear()

    def _wait(self) -> None:
        """Until an evaluator answers, or it is time to look at the trainings again."""
        if self._pool and self._pool.busy:
            self._pool.wait(_POLL_SECONDS)
        else:
            time.sleep(_POLL_SECONDS)

    def _take_more(self) -> None:
        """The tasks of a plan that has grown, and trainings in it that go further than before."""
        plan = self._grown(self._outcome, self._num_slots) if self._grown else None
        if plan is None:
            return
        self._plan = plan
        begun = {*self._measured, *(task.digest for task in self._trainings.values()), *self._outcome.failed}
        self._todo = {task.digest: task for task in tasks_to_run(plan, self._outcome.done) if task.digest not in begun}
        self._snapshots = AvailableSnapshots(self._store, plan, self._outcome.done)

    def _tick(self) -> None:
        trainings = [task.digest for task in self._trainings.values()]
        self._meter.tick(trainings, self._measured, self._num_evaluators)

    def _end_early(self, ending: EarlyExit) -> None:
        """Nothing new starts; what runs stops where it can go on later."""
        if ending.cluster_is_lost:
            self._end_without_cluster(ending)
            return
        self._outcome.ending = ending
        self._display.say(f"Stopping: {ending.reason}; trainings write a checkpoint.")
        if self._pool:
            self._pool.abandon()
        for task in self._measured.values():
            self._told_stopped(task, "stopped")
        self._measured.clear()

        def look() -> None:
            self._read_board()
            self._collect_trainings()
            self._tick()

        shut_down(self._board, lambda: len(self._trainings), look)
        for task in self._trainings.values():
            self._told_stopped(task, "stopped, goes on from its last checkpoint")
        self._groups.close_idle()

    def _end_without_cluster(self, ending: EarlyExit) -> None:
        """Nobody is there who could be asked to stop, or be waited for."""
        self._outcome.ending = ending
        self._groups.abandon()
        for task in (*self._trainings.values(), *self._measured.values()):
            self._told_stopped(task, "stopped, goes on from what it last wrote")

    def _told_stopped(self, task: Task, how: str) -> None:
        self._outcome.stopped[task.digest] = how
        self._meter.ended(task.digest, None)
        self._display.ended(task, how)

    def _ready(self) -> list[Task]:
        """All tasks whose inputs are there, except trainings."""
        return [task for task in self._todo.values() if not isinstance(task, TrainingTask) and not self._lacks(task)]

    def _ready_trainings(self) -> list[TrainingTask]:
        return [task for task in self._todo.values() if isinstance(task, TrainingTask) and not self._lacks(task)]

    def _lacks(self, task: Task) -> list[str]:
        """Inputs that are not there yet; of a training an evaluation needs the snapshots alone."""
        snapshots = task.snapshots if isinstance(task, EvaluateTask) else ()
        sampled = {train for train, _ in snapshots}
        lacking = [digest for digest in task.inputs if digest not in self._outcome.done and digest not in sampled]
        raw = task.config.sampling.weights == "raw"
        return [*lacking, *(train for train, step in snapshots if not self._snapshots.has(train, step, raw=raw))]

    def _start_evaluations(self) -> None:
        """Reference tasks first: they need no training, and try the feature network before hours are spent."""
        if self._pool is not None and not self._pool.wants_work:
            return
        ready = self._ready()
        trainings_wait = bool(self._trainings) or bool(self._ready_trainings())
        if not self._together and trainings_wait:
            # The machine is too small for both: references, then all trainings, then all evaluations.
            ready = [] if self._trainings else [task for task in ready if not isinstance(task, EvaluateTask)]
        if not ready:
            return
        if not self._together:
            self._groups.close_idle()
        if self._pool is None:
            self._pool = EvaluationPool(
                self._store, self._runtime, self._num_evaluators, self._board_name, self._display.evaluator_stumbled
            )
        waiting = self._in_families(ready)
        while waiting and self._pool.wants_work:
            family = waiting.popleft()
            self._pool.submit(family)  # first: telling MLflow takes a while
            for task in family:
                self._begin(task)
                self._measured[task.digest] = task

    def _in_families(self, ready: list[Task]) -> deque[list[Task]]:
        """Grouped anew only where others are ready than were left: of a thousand it takes longer than to start one."""
        if set(map(id, ready)) != {id(task) for family in self._waiting for task in family}:
            self._waiting = deque(group_into_families(ready, keep_samples=self._workers.keep_samples))
        return self._waiting

    def _start_trainings(self) -> None:
        ready = self._affordable(self._ready_trainings())
        if not ready or len(self._trainings) >= self._max_trainings:
            return
        if not self._together and self._pool is not None:
            if self._pool.busy:
                return
            self._pool.close()
            self._pool = None
        for task in ready[: self._max_trainings - len(self._trainings)]:
            self._begin(task)
            self._trainings[self._groups.submit(task)] = task

    def _affordable(self, trainings: list[TrainingTask]) -> list[TrainingTask]:
        """Those that have not spent their limit; the others fail without being started."""
        for task in trainings:
            if reason := self._meter.exhausted(task.digest):
                del self._todo[task.digest]
                self._end(task, reason)
        return [task for task in trainings if task.digest in self._todo]

    def _begin(self, task: Task) -> None:
        del self._todo[task.digest]
        self._tracker.begin(task)
        self._display.started(task, task.total_units)

    def _read_board(self) -> None:
        try:
            news = ray.get(self._board.news.remote())
        except ray.exceptions.RayActorError:
            return  # the board starts again by itself; it holds nothing that is not in the store too
        for digest, rows in news.rows.items():
            task = next((t for t in self._trainings.values() if t.digest == digest), None)
            if task is not None:
                self._tracker.curve(task, rows)
                self._display.loss(digest, rows[-1]["loss"])
        self._snapshots.published(news.snapshots)
        for digest, done in news.done.items():
            self._display.reached(digest, done)
        for digest, stumbles in news.stumbles.items():
            for line in stumbles:
                self._display.stumbled(digest, line)
        self._failures.update(news.failures)
        self._stopped.update(news.stopped)

    def _tell_retries(self) -> None:
        """Where a whole node went, none of the workers could say a word."""
        while self._groups.retries:
            digest, reason = self._groups.retries.popleft()
            if self._display.restarts[digest] == self._told_restarts.get(digest, 0):
                self._display.stumbled(digest, shown(reason, self._store.options))
            self._told_restarts[digest] = self._display.restarts[digest]

    def _collect_trainings(self) -> None:
        self._tell_retries()
        for future in [future for future in self._trainings if future.done()]:
            task = self._trainings.pop(future)
            self._read_board()
            error = future.exception()
            failure = failure_of(error) if error else None
            reason = self._failures.pop(task.digest, "") or (str(failure) if failure else "")
            self._first_mistakes.ended(failure)
            self._end(task, reason)

    def _collect_evaluations(self) -> None:
        if self._pool:
            for task, reason in self._pool.collect():
                del self._measured[task.digest]
                self._end(task, reason)

    def _end(self, begun: Task, reason: str) -> None:
        task, result = self._plan.tasks[begun.digest], None  # as it is wanted by now
        reason = shown(reason, self._store.options)  # it goes into records, MLflow and the report
        if not reason:
            try:
                result = completed_record(self._store, task)
            except Exception as error:  # noqa: BLE001  any storage library: the task is told as failed, the sweep goes on
                reason = f"its record cannot be read ({reason_of(error, self._store.options)})"
        if result is None and not reason and task.digest in self._stopped:
            self._told_stopped(task, f"stopped at step {self._stopped[task.digest]}")
            return
        self._meter.ended(task.digest, result.metrics.get(COST_METRIC) if result is not None else None)
        if result is None and not reason and task.demand != begun.demand:
            self._todo[task.digest] = task
            self._display.ended(task, "goes on")
            return
        if result is not None:
            self._outcome.done[task.digest] = result
            self._snapshots.trained(task)
            self._tracker.complete(task, result, self._plan.training_of(task))
            self._display.ended(task, "done")
            return
        reason = reason or "it ended without a complete result"
        self._outcome.failed[task.digest] = reason
        self._tracker.fail(task, reason)
        self._display.ended(task, f"FAILED: {reason}")

    def _drop_blocked(self) -> None:
        """A task whose input failed cannot run; an evaluation can if its snapshot was made before."""
        failed = self._outcome.failed
        if not failed:
            return
        for task in [t for t in self._todo.values() if any(digest in failed for digest in self._lacks(t))]:
            del self._todo[task.digest]
            failed[task.digest] = "an input failed"
            self._tracker.fail(task, "an input failed")
