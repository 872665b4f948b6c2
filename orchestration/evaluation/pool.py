"""A pool of warm evaluators that runs jobs: whoever is free takes the next call, and a killed one is replaced."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import ObjectLostError, RayError, RayTaskError, TaskCancelledError

from orchestration.config.runtime import RuntimeConfig
from orchestration.control.failure_policy import LOST_DATA, LOST_WORKER, failure_of
from orchestration.control.progress_board import find_progress_board
from orchestration.evaluation.jobs import job_of
from orchestration.evaluation.messages import Call, Job, JobContext, Reports
from orchestration.evaluation.worker import Evaluator
from orchestration.storage.store import Store
from orchestration.tasks.task import Task

_OF_THE_CALL = (RayTaskError, ObjectLostError, TaskCancelledError)
"""What Ray raises about a call; all else is about the evaluator, also that it was killed for its memory."""
_CALLS_AHEAD = 2
"""Calls that an evaluator holds: the one that it makes, and one so that it never waits for the driver."""


@dataclass
class _Running:
    """A family of tasks on the pool."""

    tasks: tuple[Task, ...]
    started: float
    job: Job | None = None
    results: list[Any] = field(default_factory=list)
    num_missing: int = 0
    attempts: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    reports: Reports = field(default_factory=list)
    """Of all attempts."""


@dataclass
class _Pending:
    """A call and who waits for it."""

    call: Call
    users: list[tuple[_Running, int]]
    """(job, position of the result)."""
    attempts: int = 0
    large: Any = None
    """Reference of a result that stays with Ray."""


@dataclass
class _Actor:
    handle: Any
    starting: Any
    """Reference of its first answer; None once it came."""
    calls: dict[Any, _Pending] = field(default_factory=dict)


class EvaluationPool:
    """`num_evaluators` actors that stay."""

    def __init__(
        self,
        store: Store,
        runtime: RuntimeConfig,
        num_evaluators: int,
        board: str,
        stumbled: Callable[[str], None],
        kind: type[Evaluator] = Evaluator,
    ) -> None:
        """Args: stumbled: is told in a line when an evaluator is replaced. kind: of all evaluators."""
        workers = self._workers = runtime.workers
        self._store, self._stumbled, self._board = store, stumbled, find_progress_board(board)
        actor: Any = ray.remote(kind)
        resources = {"num_cpus": workers.cpus_per_worker, "num_gpus": workers.gpus_per_evaluator}
        arguments = (store.root, store.options, runtime, board)
        self._make: Callable[[], Any] = lambda: actor.options(**resources).remote(*arguments)
        self._actors: list[_Actor] = []
        self._pending: deque[_Pending] = deque()
        self._jobs: list[_Running] = []
        self._ended: list[tuple[Task, str]] = []
        self._num_lost_starting = 0
        self._last_able = time.monotonic()
        for _ in range(num_evaluators):
            self._start_actor()

    @property
    def busy(self) -> bool:
        return bool(self._jobs or self._ended)

    @property
    def starting(self) -> bool:
        """Whether an evaluator has not answered yet."""
        return any(actor.starting is not None for actor in self._actors)

    @property
    def wants_work(self) -> bool:
        """Whether another job would keep an evaluator from idling, also while the driver is at other things."""
        return len(self._under_way()) < (_CALLS_AHEAD + 1) * len(self._actors)

    def submit(self, tasks: Sequence[Task]) -> None:
        """Starts a task, or a family of evaluations of one snapshot."""
        running = _Running(tuple(tasks), time.monotonic())
        self._jobs.append(running)
        self._begin(running)

    def collect(self) -> list[tuple[Task, str]]:
        """Moves jobs on. Returns the tasks that ended since the last call, each with its error, or "" if it is done."""
        self._hand_out()
        self._take_answers()
        self._hand_out()
        self._watch_start()
        ended, self._ended = self._ended, []
        return ended

    def wait(self, seconds: float) -> None:
        """Returns when an evaluator has answered, or after so long."""
        asked = [answer for actor in self._actors for answer in (actor.starting, *actor.calls) if answer is not None]
        if asked and not self._ended:
            ray.wait(asked, num_returns=1, timeout=seconds, fetch_local=False)

    def close(self) -> None:
        """Gives the evaluators' resources back."""
        assert not self._jobs, "the pool was closed with work in it"
        for actor in self._actors:
            ray.kill(actor.handle)

    def abandon(self) -> None:
        """Ends the evaluators in the middle of their work. What they wrote into the store is found again."""
        self._jobs.clear()
        self._pending.clear()
        self.close()

    def _begin(self, running: _Running) -> None:
        context = JobContext(
            store=self._store,
            reports=running.reports,
            keep_features=self._workers.keep_features,
            keep_samples=self._workers.keep_samples,
            clock=lambda: time.monotonic() - running.started,
            reached=lambda task, units, part: self._board.reached.remote(task.digest, units, part),
            failed=lambda task, reason: running.failed.update({task.digest: reason}),
        )
        running.failed.clear()
        running.job = job_of(running.tasks, context)
        self._step(running, None)

    def _step(self, running: _Running, results: list[Any] | None) -> None:
        """Sends a job what it waits for and queues what it calls next."""
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
                self._pending.append(_Pending(call, [(running, position)]))
            else:
                twin.users.append((running, position))

    def _twin(self, key: str) -> _Pending | None:
        """A call under way with the same key."""
        return next((pending for pending in self._under_way() if key and pending.call.key == key), None)

    def _under_way(self) -> list[_Pending]:
        return [*self._pending, *(pending for actor in self._actors for pending in actor.calls.values())]

    def _finish(self, running: _Running, reason: str) -> None:
        """Ends a job: all its tasks are done, or have failed for this reason or one of their own."""
        self._jobs.remove(running)
        self._forget(running)
        self._ended.extend((task, running.failed.get(task.digest, reason)) for task in running.tasks)

    def _hand_out(self) -> None:
        while self._pending:
            able = [a for a in self._actors if a.starting is None and len(a.calls) < _CALLS_AHEAD]
            if not able:
                return
            actor = min(able, key=lambda one: len(one.calls))
            pending = self._pending.popleft()
            method = getattr(actor.handle, pending.call.method)
            if pending.call.large:
                answer, pending.large = method.options(num_returns=2).remote(*pending.call.arguments)
            else:
                answer = method.remote(*pending.call.arguments)
            actor.calls[answer] = pending

    def _take_answers(self) -> None:
        for actor in list(self._actors):
            waiting = [actor.starting] if actor.starting is not None else list(actor.calls)
            if not waiting:
                continue
            ready, _ = ray.wait(waiting, num_returns=len(waiting), timeout=0, fetch_local=False)
            for answer in ready:
                if (gone := self._take(actor, answer)) is not None:
                    self._replace(actor, str(failure_of(gone)))
                    break

    def _take(self, actor: _Actor, answer: Any) -> RayError | None:
        """Takes an answer. Returns the error if it says that the evaluator is gone."""
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

    def _call_failed(self, pending: _Pending, error: RayError) -> None:
        """The error of a job, unless beginning it anew can help: what is in the store already is not made again."""
        failure = failure_of(error)
        may_pass = failure.kind in (LOST_DATA, LOST_WORKER)
        for running in {id(running): running for running, _ in pending.users}.values():
            if running not in self._jobs:
                continue
            running.attempts += 1
            if may_pass and running.attempts <= self._workers.max_failures:
                self._stumbled(f"{running.tasks[0].kind} {running.tasks[0].title}: {failure}; going on")
                self._forget(running)
                self._begin(running)
            else:
                self._finish(running, str(failure))

    def _forget(self, running: _Running) -> None:
        """A job no longer waits for its calls: their answers would be taken for those of later ones."""
        for pending in self._under_way():
            pending.users = [user for user in pending.users if user[0] is not running]
        self._pending = deque(pending for pending in self._pending if pending.users)

    def _replace(self, actor: _Actor, reason: str) -> None:
        """Another evaluator in the place of one that is gone; its calls are made again by whoever is free."""
        self._actors.remove(actor)
        ray.kill(actor.handle)  # it may only have been out of reach
        self._start_actor()
        self._num_lost_starting += actor.starting is not None
        if self._num_lost_starting > self._workers.max_failures:
            self._num_lost_starting = 0
            self._give_up(f"evaluators cannot start: {reason}")
            return
        self._stumbled(f"an evaluator ended ({reason}); another takes its place")
        lost = [pending for pending in actor.calls.values() if pending.users]
        for pending in lost[:1]:
            pending.attempts += 1  # calls are made in order: the others had not begun
        for pending in reversed(lost):
            if not any(running in self._jobs for running, _ in pending.users):
                continue  # a call before it has just ended the job
            if pending.attempts <= self._workers.max_failures:
                self._pending.appendleft(pending)
                continue
            message = f"evaluators ended {pending.attempts} times in {pending.call.method}: {reason}"
            for running in {id(running): running for running, _ in pending.users}.values():
                if running in self._jobs:
                    self._finish(running, message)

    def _start_actor(self) -> None:
        handle = self._make()
        self._actors.append(_Actor(handle, handle.ready.remote()))

    def _watch_start(self) -> None:
        """Work that no evaluator can take is an error that says so, not a wait for ever."""
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
