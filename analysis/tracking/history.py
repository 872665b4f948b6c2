"""The history of a metric: one value for each step, held as two arrays, since a sweep can have ten million points."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

LARGEST_FLOAT = 1.7976931348623157e308


class MetricHistory(Sequence[tuple[int, float]]):
    """A sequence of (step, value), by step.

    steps: [N], int64, rising. values: [N], float64.
    """

    __slots__ = ("steps", "values")

    def __init__(self, steps: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        self.steps, self.values = steps, values

    @classmethod
    def of_logged(cls, logged: Iterable[tuple[int, int, float]]) -> MetricHistory:
        """Return one point for each step: after a resume both attempts logged it, and the one logged last counts.

        Args: logged: (step, timestamp in ms, value), in any order; of equal timestamps the later entry counts.
        """
        rows = sorted(logged, key=lambda row: row[:2])
        return cls.of({step: as_logged(value) for step, _, value in rows}.items())

    @classmethod
    def of(cls, pairs: Iterable[tuple[int, float]]) -> MetricHistory:
        """Return the history of pairs that are in order already."""
        rows = list(pairs)
        return cls(np.array([step for step, _ in rows], np.int64), np.array([value for _, value in rows], np.float64))

    def __len__(self) -> int:
        return len(self.steps)

    @overload
    def __getitem__(self, index: int) -> tuple[int, float]: ...
    @overload
    def __getitem__(self, index: slice) -> MetricHistory: ...
    def __getitem__(self, index: int | slice) -> tuple[int, float] | MetricHistory:
        if isinstance(index, slice):
            return MetricHistory(self.steps[index], self.values[index])
        return int(self.steps[index]), float(self.values[index])

    def __iter__(self) -> Iterator[tuple[int, float]]:
        return zip(self.steps.tolist(), self.values.tolist(), strict=True)

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Sequence) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"MetricHistory({list(self)!r})"

    def to_bytes(self) -> bytes:
        return self.steps.astype("<i8").tobytes() + self.values.astype("<f8").tobytes()

    @classmethod
    def from_bytes(cls, data: bytes | memoryview) -> MetricHistory:
        size = len(data) // 16
        return cls(np.frombuffer(data, "<i8", size), np.frombuffer(data, "<f8", size, size * 8))


def as_logged(value: float) -> float:
    """Return infinity where MLflow's databases store the largest float; NaN stays."""
    return math.copysign(math.inf, value) if abs(value) >= LARGEST_FLOAT else float(value)
