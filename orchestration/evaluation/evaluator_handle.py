"""One evaluator as the driver sees it: the actor, the calls that it holds, and the jobs that wait for them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import ray

from orchestration.evaluation.messages import Call, Job, Reports
from orchestration.tasks.task import Task

CALLS_AHEAD = 2
"""Calls that an evaluator holds: the one that it makes, and one so that it never waits for the driver."""


@dataclass
class RunningJob:
    """A family of tasks on the pool."""

    tasks: tuple[Task, ...]
    started: float
    job: Job | None = None
    results: list[Any] = field(default_factory=list)
    num_missing: int = 0
    """Results that have not come yet."""
    attempts: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    reports: Reports = field(default_factory=list)
    """Reports of all attempts."""


@dataclass
class PendingCall:
    """A call and the jobs that wait for it."""

    call: Call
    users: list[tuple[RunningJob, int]]
    """(job, position of the result)."""
    attempts: int = 0
    large: Any = None
    """Reference of a result that stays with Ray."""

    @property
    def jobs(self) -> list[RunningJob]:
        """The jobs that wait for it, each once."""
        return list({id(running): running for running, _ in self.users}.values())


@dataclass
class EvaluatorActor:
    """An actor and the calls that it holds, by the reference of their answer."""

    handle: Any
    starting: Any
    """Reference of its first answer; None once it came."""
    last_answer: float = field(default_factory=time.monotonic)
    """Time of its last answer."""
    calls: dict[Any, PendingCall] = field(default_factory=dict)

    @property
    def is_able(self) -> bool:
        """True if it can take another call."""
        return self.starting is None and len(self.calls) < CALLS_AHEAD

    @property
    def is_idle(self) -> bool:
        return self.starting is None and not self.calls

    @property
    def awaited(self) -> list[Any]:
        """References of the answers that it owes."""
        return [self.starting] if self.starting is not None else list(self.calls)

    def send(self, pending: PendingCall) -> None:
        method = getattr(self.handle, pending.call.method)
        if pending.call.large:
            answer, pending.large = method.options(num_returns=2).remote(*pending.call.arguments)
        else:
            answer = method.remote(*pending.call.arguments)
        self.calls[answer] = pending

    def ready_answers(self) -> list[Any]:
        """References of the answers that have come."""
        awaited = self.awaited
        return ray.wait(awaited, num_returns=len(awaited), timeout=0, fetch_local=False)[0] if awaited else []
