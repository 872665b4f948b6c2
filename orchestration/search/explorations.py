"""Explorations of all searches of a sweep by Ray Tune: begun, begun anew where they fail, and ended."""

from __future__ import annotations

import contextlib
import logging
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial

from orchestration.cluster.address import through_client
from orchestration.search.single_level import SingleLevelSearch
from orchestration.search.tune_link import Explore
from orchestration.search.two_level import TwoLevelSearch
from orchestration.spec.search.rows import PartSearch
from orchestration.storage.store import Store

_LOG = logging.getLogger(__name__)
_VERDICT_SECONDS = 0.1
_MOST_SECONDS_UNDECIDED = 300.0
"""Seconds for Ray Tune to decide once every running trial waits for it; it takes less than one."""
_MOST_FAILURES = 3
"""Failures of Ray Tune after which a search does without: a lost thread is made anew, a broken callback is not."""
AnySearch = SingleLevelSearch[PartSearch] | TwoLevelSearch


class Explorations:
    """The explorations of a sweep's searches: without Ray at first, by a Tuner each while the launcher runs."""

    def __init__(self, sweep: str, searches: Sequence[AnySearch], store: Store) -> None:
        self._sweep, self._searches, self._store = sweep, searches, store
        self._by_part: dict[str, Explore] = {}
        self._failures: Counter[str] = Counter()
        self._stalled_since: dict[str, float] = {}
        for search in searches:
            _begin_without_ray(search)

    @contextlib.contextmanager
    def on_ray(self) -> Iterator[None]:
        """Let Ray Tune explore while the block runs, on the cluster that this process is connected to.

        Through a Ray Client a Tuner would run elsewhere: there the driver's thread goes on deciding.
        """
        active = [search for search in self._searches if search.running or search.wants_more]
        if through_client() or not active:
            yield
            return
        from orchestration.exploration.tuner import TunerExploration  # needs Ray Tune

        try:
            for search in active:
                part = search.part.part
                self._by_part[part] = partial(TunerExploration, f"{self._sweep}-{part}", self._store)
                _begin(search, self._by_part[part])
            yield
        finally:
            self._by_part.clear()
            for search in active:
                search.tune.close()

    def revive(self) -> None:
        """Begin explorations anew that have failed; where that does not help, their searches go on without Tune."""
        for search in self._searches:
            part, failure = search.part.part, search.tune.failure or self._stall(search)
            if not failure:
                continue
            self._failures[part] += 1
            if self._failures[part] < _MOST_FAILURES:
                _LOG.warning("Ray Tune explores %s anew: %s", part, failure)
                _begin(search, self._by_part[part])
            else:
                _LOG.warning("Ray Tune failed %d times, and %s goes on without it: %s", _MOST_FAILURES, part, failure)
                search.tune.close()
                _begin_without_ray(search)

    def _stall(self, search: AnySearch) -> str:
        """Return why a search is begun anew although its Tuner runs: for long nothing but its verdicts is missing."""
        part, now = search.part.part, time.monotonic()
        is_waiting = part in self._by_part and len(search.undecided) >= len(search.running) > 0
        if not is_waiting:
            self._stalled_since.pop(part, None)
        elif now - self._stalled_since.setdefault(part, now) > _MOST_SECONDS_UNDECIDED:
            del self._stalled_since[part]
            return f"no verdict on any of {len(search.running)} trials for {_MOST_SECONDS_UNDECIDED:.0f} s"
        return ""

    def wait_for_verdict(self) -> bool:
        """Wait a moment if a trial waits for the verdict of a trial scheduler. Return whether one does."""
        search = next((search for search in self._searches if search.undecided), None)
        if search is not None:
            search.tune.wait(_VERDICT_SECONDS)
        return search is not None


def _begin_without_ray(search: AnySearch) -> None:
    """Let the rules of a trial scheduler decide in this thread; a search without one needs nobody."""
    if search.part.spec.config.trial_scheduler.kind != "none":
        from orchestration.exploration.single_thread import SingleThreadExploration  # needs Ray Tune

        _begin(search, SingleThreadExploration)


def _begin(search: AnySearch, explore: Explore) -> None:
    search.tune.begin(explore, search.part.spec, search.proposals, wants_more=search.wants_more)
