"""A plan that grows by a function, where searches stand in a sweep."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from orchestration.control.outcome import Outcome
from orchestration.plan.plan import Plan

Grow = Callable[[Outcome, int], Plan | None]


@dataclass(frozen=True)
class GrowingBy:
    """Grows as the function says."""

    grow: Grow
    decides: Callable[[], bool] = lambda: False
    """Returns whether it decides just now."""

    def advance(self, outcome: Outcome, num_slots: int) -> Plan | None:
        return self.grow(outcome, num_slots)

    @property
    def is_undecided(self) -> bool:
        return self.decides()

    def on_ray(self) -> AbstractContextManager[None]:
        return nullcontext()
