"""A pool of warm evaluators that runs jobs: a free one takes the next call, and a killed one is replaced."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import ray
from ray.exceptions import ObjectLostError, RayError, RayTaskError, TaskCancelledError

from orchestration.config.runtime import RuntimeConfig
from orchestration.control.failure_policy import LOST_DATA, LOST_WORKER, failure_of
from orchestration.control.progress_board import find_progress_board
from orchestration.evaluation.evaluator_handle import CALLS_AHEAD, EvaluatorActor, PendingCall, RunningJob
from orchestration.evaluation.jobs import job_of
from orchestration.evaluation.messages import JobContext
from orchestration.evaluation.worker import Evaluator
from orchestration.storage.store import Store
from orchestration.tasks.task import Task

_OF_THE_CALL = (RayTaskError, ObjectLostError, TaskCancelledError)
"""Errors that Ray raises about a call; all others are about the evaluator, also that it was killed for its memory."""


class EvaluationPool:
    """Evaluators that stay between jobs, and the queue of calls that they make."""

    def __init__(
        self,
        store: Store,
        runtime: RuntimeConfig,
        num_evaluators: int,
        progress_board: str,
        retried: Callable[[str], None],
        kind: type[Evaluator] = Evaluator,
    ) -> None:
        """Args: retried: called with a line when an evaluator is replaced. kind: class of all evaluators."""
        workers = self._workers = runtime.workers
        self._store, self._retried, self._progress_board = store, retried, find_progress_board(progress_board)
        actor: Any = ray.remote(kind)
        resources = {"num_cpus": workers.cpus_per_worker, "num_gpus": workers.gpus_per_evaluator}
        arguments = (store.root, store.options, runtime, progress_board)
        self._make: Callable[[], Any] = lambda: actor.options(**resources).remote(*arguments)
        self._actors: list[EvaluatorActor] = []
        self._pending: deque[PendingCall] = deque()
        self._jobs: list[RunningJob] = []
        self._ended: list[tuple[Task, str]] = []
        self._num_lost_starting = 0
        self._last_able = time.monotonic()
        self._most = num_evaluators
        for _ in range(num_evaluators):
            self._start_actor()

    @property
    def busy(self) -> bool:
        return bool(self._jobs or self._ended)

    @property
    def num_evaluators(self) -> int:
        """Number of evaluators that hold resources: they have answered."""
        return sum(actor.starting is None for actor in self._actors)

    @property
    def num_idle(self) -> int:
        """Number of evaluators without a call."""
        return sum(actor.is_idle for actor in self._actors)

    @property
    def wants_work(self) -> bool:
        """True if another job would keep an evaluator from idling, also while the driver is busy elsewhere."""
        return len(self._under_way()) < (CALLS_AHEAD + 1) * self._most

    def submit(self, tasks: Sequence[Task]) -> None:
        """Start a task, or a family of evaluations of one snapshot."""
        running = RunningJob(tuple(tasks), time.monotonic())
        self._jobs.append(running)
        self._begin(running)

    def collect(self) -> list[tuple[Task, str]]:
        """Advance all jobs. Returns the tasks that ended since the last call, each with its error, "" if it is done."""
        self._hand_out()
        self._take_answers()
        self._hand_out()
        self._watch_start()
        ended, self._ended = self._ended, []
        return ended

    def wait(self, seconds: float) -> None:
        """Return when an evaluator has answered, or after so many seconds."""
        awaited = [answer for actor in self._actors for answer in actor.awaited]
        if self._ended:
            return
        if awaited:
            ray.wait(awaited, num_returns=1, timeout=seconds, fetch_local=False)
        else:  # nothing to wait for must not become a loop without a pause
            time.sleep(seconds)

    def release_idle(self, for_seconds: float) -> None:
        """Free the resources of evaluators that had no call for so long; others start when there are calls again."""
        now = time.monotonic()
        for actor in [one for one in self._actors if one.is_idle and now - one.last_answer >= for_seconds]:
            self._actors.remove(actor)
            ray.kill(actor.handle)

    def close(self) -> None:
        """Free the evaluators' resources."""
        assert not self._jobs, "the pool was closed with work in it"
        for actor in self._actors:
            ray.kill(actor.handle)

    def abandon(self) -> None:
        """End the evaluators in the middle of their work; the next submission finds what they wrote into the store."""
        self._jobs.clear()
        self._pending.clear()
        self.close()

    def _begin(self, running: RunningJob) -> None:
        context = JobContext(
            store=self._store,
            reports=running.reports,
            keep_features=self._workers.keep_features,
            keep_samples=self._workers.keep_samples,
            clock=lambda: time.monotonic() - running.started,
            reached=lambda task, units, part: self._progress_board.reached.remote(task.digest, units, part),
            failed=lambda task, reason: running.failed.update({task.digest: reason}),
        )
        running.failed.clear()
        running.job = job_of(running.tasks, context)
        self._step(running, None)

    def _step(self, running: RunningJob, results: list[Any] | None) -> None:
        """Send a job its results and queue its next calls."""
        assert running.job is not None, "a job is begun before it moves on"
        try:
            calls = running.job.send(results)  # type: ignore[arg-type]  # None starts a generator
            while not calls:
                calls = running.job.send([])
        except StopIteration:
            self._finish(running, "")
            return
        except Exception as error:  # noqa: BLE001  the driver's own part of a job, e.g. a store that cannot be listed
            self._finish(running, str(failure_of(error)))
            return
        running.results, running.num_missing = [None] * len(calls), len(calls)
        for position, call in enumerate(calls):
            twin = self._twin(call.key)
            if twin is None:
                self._pending.append(PendingCall(call, [(running, position)]))
            else:
                twin.users.append((running, position))

    def _twin(self, key: str) -> PendingCall | None:
        """Return a call under way with the same key."""
        return next((pending for pending in self._under_way() if key and pending.call.key == key), None)

    def _under_way(self) -> list[PendingCall]:
        return [*self._pending, *(pending for actor in self._actors for pending in actor.calls.values())]

    def _finish(self, running: RunningJob, reason: str) -> None:
        """End a job: all its tasks are done, or have failed for this reason or one of their own."""
        self._jobs.remove(running)
        self._forget(running)
        self._ended.extend((task, running.failed.get(task.digest, reason)) for task in running.tasks)

    def _hand_out(self) -> None:
        while len(self._actors) < min(self._most, len(self._pending)):
            self._start_actor()
        while self._pending:
            able = [actor for actor in self._actors if actor.is_able]
            if not able:
                return
            min(able, key=lambda actor: len(actor.calls)).send(self._pending.popleft())

    def _take_answers(self) -> None:
        for actor in list(self._actors):
            for answer in actor.ready_answers():
                if (gone := self._take(actor, answer)) is not None:
                    self._replace(actor, str(failure_of(gone)))
                    break

    def _take(self, actor: EvaluatorActor, answer: Any) -> RayError | None:
        """Take an answer. Returns the error if it says that the evaluator is gone."""
        actor.last_answer = time.monotonic()
        try:
            value = ray.get(answer)
        except RayError as error:
            if answer is actor.starting or not isinstance(error, _OF_THE_CALL):
                return error
            self._call_failed(actor.calls.pop(answer), error)
            return None
        if answer is actor.starting:
            actor.starting, self._num_lost_starting = None, 0
            return None
        pending = actor.calls.pop(answer)
        result = value if pending.large is None else pending.large
        for running, position in pending.users:
            running.results[position] = result
            running.num_missing -= 1
            if running.num_missing == 0:
                self._step(running, running.results)
        return None

    def _call_failed(self, pending: PendingCall, error: RayError) -> None:
        """End the jobs of a failed call, or restart them where that can help: what the store holds is kept."""
        failure = failure_of(error)
        may_pass = failure.kind in (LOST_DATA, LOST_WORKER)
        for running in pending.jobs:
            if running not in self._jobs:
                continue
            running.attempts += 1
            if may_pass and running.attempts <= self._workers.max_failures:
                self._retried(f"{running.tasks[0].kind} {running.tasks[0].title}: {failure}; going on")
                self._forget(running)
                self._begin(running)
            else:
                self._finish(running, str(failure))

    def _forget(self, running: RunningJob) -> None:
        """Detach a job from its calls: their answers would be taken for those of later ones."""
        for pending in self._under_way():
            pending.users = [user for user in pending.users if user[0] is not running]
        self._pending = deque(pending for pending in self._pending if pending.users)

    def _replace(self, actor: EvaluatorActor, reason: str) -> None:
        """Start another evaluator in the place of one that is gone, and queue its calls again."""
        self._actors.remove(actor)
        ray.kill(actor.handle)  # it may only have been out of reach
        self._start_actor()
        self._num_lost_starting += actor.starting is not None
        if self._num_lost_starting > self._workers.max_failures:
            self._num_lost_starting = 0
            self._give_up(f"evaluators cannot start: {reason}")
            return
        self._retried(f"an evaluator ended ({reason}); another takes its place")
        lost = [pending for pending in actor.calls.values() if pending.users]
        for pending in lost[:1]:
            pending.attempts += 1  # calls are made in order: the others had not begun
        for pending in reversed(lost):
            if not any(running in self._jobs for running in pending.jobs):
                continue  # a call before it has just ended the job
            if pending.attempts <= self._workers.max_failures:
                self._pending.appendleft(pending)
                continue
            message = f"evaluators ended {pending.attempts} times in {pending.call.method}: {reason}"
            for running in pending.jobs:
                if running in self._jobs:
                    self._finish(running, message)

    def _start_actor(self) -> None:
        handle = self._make()
        self._actors.append(EvaluatorActor(handle, handle.ready.remote()))

    def _watch_start(self) -> None:
        """Fail all jobs, with a reason, if no evaluator could start for `workers.wait_for_workers_seconds`."""
        if not self._pending or any(actor.starting is None for actor in self._actors):
            self._last_able = time.monotonic()
        elif time.monotonic() - self._last_able > self._workers.wait_for_workers_seconds:
            needs = f"{self._workers.cpus_per_worker} CPU(s) and {self._workers.gpus_per_evaluator:g} GPU"
            self._give_up(
                f"no evaluator could start for {self._workers.wait_for_workers_seconds:g} s: each needs {needs}"
            )

    def _give_up(self, reason: str) -> None:
        for running in list(self._jobs):
            self._finish(running, reason)
