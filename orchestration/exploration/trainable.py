"""A trial of Ray Tune as it runs in its own process: it computes nothing, it asks for its next rung and reports it.

The process takes no CPU. Asking for the next rung is the permission to train on to it. This module imports Ray alone.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import ray
from ray import tune

NUMBER, DESK = "number", "rung_desk"
"""Keys of a trial's config for Tune: its number, and the name of the actor that it asks."""
TIME = "rung_time"
"""Key of a result's time: 1.0 at the first rung."""
_MOST_WAITING = 10_000
"""Trials that may wait for an answer at the same time; without it a call of the launcher would queue behind them."""


class TrialFailedError(RuntimeError):
    """A trial whose training or evaluation failed."""


@dataclass(frozen=True)
class RungAnswer:
    """A trial's values at a rung, or the news that there is nothing more to come."""

    time: float
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Reported to Tune; none if there is nothing to report."""
    is_last: bool = False
    error: str = ""


class _RungDesk:
    """Answers of the launcher, until trials fetch them; an actor whose calls wait without a thread."""

    def __init__(self) -> None:
        self._answers: dict[int, list[RungAnswer]] = defaultdict(list)
        self._decided: dict[int, float] = defaultdict(float)
        self._news: dict[int, asyncio.Event] = defaultdict(asyncio.Event)
        self._is_closed = False

    async def tell(self, number: int, answer: RungAnswer) -> None:
        self._answers[number].append(answer)
        self._news[number].set()

    async def decided(self, number: int, time: float) -> None:
        """Hear that a rung was decided: a trial that is started anew goes on after it."""
        self._decided[number] = max(self._decided[number], time)

    async def next_rung(self, number: int, after: float) -> RungAnswer:
        """Return a trial's first answer after a time, once there is one."""
        while not self._is_closed:
            start = max(after, self._decided[number])
            answers = self._answers[number]
            following = next((one for one in answers if one.time > start), None)
            if following is not None:
                return following
            if answers and answers[-1].is_last:  # paused after its last rung
                break
            self._news[number].clear()
            await self._news[number].wait()
        return RungAnswer(after, is_last=True)

    async def close(self) -> None:
        """Send every waiting trial home."""
        self._is_closed = True
        for news in self._news.values():
            news.set()


def start_rung_desk(name: str, node_resource: str, share: float) -> Any:
    """Start the actor on the node that has a resource."""
    options = {"num_cpus": 0, "resources": {node_resource: share}, "max_concurrency": _MOST_WAITING}
    return ray.remote(_RungDesk).options(name=name, **options).remote()


def explore(config: Mapping[str, Any]) -> None:
    """Report rung after rung. Raises: TrialFailedError if the trial can have no value."""
    desk, reached = ray.get_actor(config[DESK]), 0.0
    while True:
        answer = ray.get(desk.next_rung.remote(config[NUMBER], reached))
        if answer.error:
            raise TrialFailedError(answer.error)
        if answer.metrics:
            tune.report(dict(answer.metrics))  # returns when the trial scheduler lets it go on
        if answer.is_last:
            return
        reached = answer.time
