"""Memory for batches that is used again: fresh memory costs a page fault every 4 kB, as much as filling it."""

from __future__ import annotations

import threading
import weakref
from typing import Any

import numpy as np

_MOST_FREE = 8
"""Arrays that are kept; what a stream has on its way, and one for a last batch that is smaller."""


class Buffers:
    """Uninitialised arrays; one comes back when it, and every view and tensor made from it, is gone."""

    def __init__(self) -> None:
        self._free: list[np.ndarray[Any, np.dtype[Any]]] = []
        self._lock = threading.Lock()

    def array(self, shape: tuple[int, ...], dtype: np.dtype[Any] | type[np.generic]) -> np.ndarray[Any, np.dtype[Any]]:
        """May be called by several threads."""
        memory = self._fitting(shape, np.dtype(dtype))
        if memory is None:
            memory = np.empty(shape, dtype)
        view = memory[:]  # whatever is made from the view keeps it, and nothing but it, alive
        weakref.finalize(view, self._give_back, memory).atexit = False
        return view

    def _fitting(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, np.dtype[Any]] | None:
        with self._lock:
            for at in reversed(range(len(self._free))):  # what was used last may still be in the processor's cache
                if self._free[at].shape == shape and self._free[at].dtype == dtype:
                    return self._free.pop(at)
            if len(self._free) >= _MOST_FREE:
                self._free.pop(0)  # of a size that nobody asks for any more
        return None

    def _give_back(self, memory: np.ndarray[Any, np.dtype[Any]]) -> None:
        """Without the lock, which this thread may hold when an array ends. It only appends: no place above changes."""
        if len(self._free) < _MOST_FREE:
            self._free.append(memory)
