"""The searcher that Tune asks: it hands on what a search has proposed."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray.tune.search import Searcher

from orchestration.exploration.trainable import NUMBER

_MOST_SECONDS = 600.0


class Proposals(Searcher):  # type: ignore[misc]  # Ray has no types
    """Proposals of a search that Tune has no trial of yet. The search puts them in; Tune's thread takes them out."""

    def __init__(self, metric: str, mode: str, most_open: int) -> None:
        """Args: most_open: number of trials that Tune may have at the same time; each is a process."""
        super().__init__(metric=metric, mode=mode)
        self._changed = threading.Condition(threading.RLock())
        self._waiting: deque[Mapping[str, Any]] = deque()
        self._most_open, self._open = most_open, dict[str, int]()
        self._answered: set[int] = set()
        self.is_sealed = False

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what Tune cannot store: a search is never restored from Tune's own files."""
        return {}

    def put(self, config: Mapping[str, Any]) -> None:
        with self._changed:
            self._waiting.append(config)
            self._changed.notify_all()

    def note_answered(self, number: int) -> None:
        """Say that nothing more is to be computed for a trial: the next one waits for its process."""
        with self._changed:
            self._answered.add(number)

    def seal(self) -> None:
        """Say that there are no more."""
        with self._changed:
            self.is_sealed = True
            self._changed.notify_all()

    def close(self) -> None:
        """Say that none of them is wanted any more."""
        with self._changed:
            self._waiting.clear()
            self.seal()

    @property
    def is_done(self) -> bool:
        """Return whether every proposal became a trial that ended, and no more come."""
        return self.is_sealed and not self._waiting and not self._open

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        with self._changed:
            if not self._open:  # Tune would ask again after a second only
                self._changed.wait_for(lambda: self._waiting or self.is_sealed, _MOST_SECONDS)
            if self.is_sealed and not self._waiting:
                return str(Searcher.FINISHED)
            if not self._waiting or len(self._open) >= self._most_open:
                return None
            if not self._answered.isdisjoint(self._open.values()):  # Tune would start a process, and throw it away
                return None
            proposal = dict(self._waiting.popleft())
            self._open[trial_id] = proposal[NUMBER]
            return proposal

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:  # noqa: ARG002
        self._open.pop(trial_id, None)

    def save(self, checkpoint_path: str) -> None:
        Path(checkpoint_path).touch()

    def restore(self, checkpoint_path: str) -> None:
        raise AssertionError(f"a search goes on from its study, not from {checkpoint_path}")
