"""The link of a search to Ray Tune: what both hear of each other, while there is a Tune to hear it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from orchestration.spec.search.section import SearchSpec
from orchestration.spec.search.trial import Exploit, SearchTrial

if TYPE_CHECKING:
    from orchestration.exploration.exploration import Exploration

Explore = Callable[[SearchSpec, Sequence[SearchTrial]], "Exploration"]
"""(search, trials so far, by number) -> their exploration by Ray Tune."""


class TuneLink:
    """Tune's exploration of a search, or none: then nobody decides on trials, and all calls do nothing."""

    def __init__(self) -> None:
        self._exploration: Exploration | None = None

    def begin(self, explore: Explore, search: SearchSpec, trials: Sequence[SearchTrial], *, wants_more: bool) -> None:
        """Let Tune explore from now on; an exploration that there is ends."""
        self.close()
        self._exploration = explore(search, trials)
        if not wants_more:
            self._exploration.seal()

    def close(self) -> None:
        if self._exploration is not None:
            self._exploration.close()
            self._exploration = None

    def added(self, trial: SearchTrial, *, wants_more: bool) -> None:
        """Tell of a proposal. Args: wants_more: whether others will follow."""
        if self._exploration is not None:
            self._exploration.add(trial)
            if not wants_more:
                self._exploration.seal()

    def verdict(self, trial: SearchTrial, rung: int, value: float) -> bool | None:
        """Tell a value at a rung. Return whether the trial is trained on; None: that is not decided yet."""
        return None if self._exploration is None else self._exploration.decide(trial, rung, value)

    def exploit(self, number: int, rung: int) -> Exploit | None:
        """Return whose training a trial goes on from after a rung that was decided; None: from its own."""
        return None if self._exploration is None else self._exploration.exploit(number, rung)

    def is_paused(self, number: int) -> bool:
        """Return whether a trial waits for others, whose values come later."""
        return self._exploration is not None and self._exploration.is_paused(number)

    def ended(self, trial: SearchTrial) -> None:
        """Tell of the end of a trial that was added."""
        if self._exploration is not None and trial.state not in ("running", "refused"):
            self._exploration.end(trial)

    def wait(self, seconds: float) -> None:
        """Return when a verdict may have come, or after some seconds."""
        if self._exploration is not None:
            self._exploration.wait(seconds)

    @property
    def failure(self) -> str:
        """Reason why Tune explores no more, "" if it does."""
        return "" if self._exploration is None else self._exploration.failure
