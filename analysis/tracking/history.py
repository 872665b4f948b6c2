"""The history of a metric: one value for each step, kept as two arrays, since a sweep can have ten million points."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

LARGEST_FLOAT = 1.7976931348623157e308


class Points(Sequence[tuple[int, float]]):
    """A sequence of (step, value), by step.

    steps: [N], int64, rising. values: [N], float64.
    """

    __slots__ = ("steps", "values")

    def __init__(self, steps: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        self.steps, self.values = steps, values

    @classmethod
    def newest(cls, steps: NDArray[np.int64], timestamps: NDArray[np.int64], values: NDArray[np.float64]) -> Points:
        """What counts of a history: after a resume both attempts have points of a step, and the one logged last counts.

        Args: steps, timestamps in ms, values: [N], in any order; of equal timestamps the later entry counts.
        """
        order = np.lexsort((timestamps, steps))  # stable
        steps, values = steps[order], values[order]
        last = np.append(steps[1:] != steps[:-1], True) if len(steps) else np.zeros(0, bool)
        return cls(steps[last], as_logged(values[last]))

    @classmethod
    def of_logged(cls, logged: Iterable[tuple[int, int, float]]) -> Points:
        """As `newest`, from (step, timestamp in ms, value) of each point."""
        rows = list(logged)
        return cls.newest(
            np.array([step for step, _, _ in rows], np.int64),
            np.array([timestamp for _, timestamp, _ in rows], np.int64),
            np.array([value for _, _, value in rows], np.float64),
        )

    @classmethod
    def of(cls, pairs: Iterable[tuple[int, float]]) -> Points:
        """From pairs that are in order already."""
        found = list(pairs)
        return cls(np.array([step for step, _ in found], np.int64), np.array([value for _, value in found], np.float64))

    def __len__(self) -> int:
        return len(self.steps)

    @overload
    def __getitem__(self, index: int) -> tuple[int, float]: ...
    @overload
    def __getitem__(self, index: slice) -> Points: ...
    def __getitem__(self, index: int | slice) -> tuple[int, float] | Points:
        if isinstance(index, slice):
            return Points(self.steps[index], self.values[index])
        return int(self.steps[index]), float(self.values[index])

    def __iter__(self) -> Iterator[tuple[int, float]]:
        return zip(self.steps.tolist(), self.values.tolist(), strict=True)

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Sequence) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Points({list(self)!r})"

    def to_bytes(self) -> bytes:
        return self.steps.astype("<i8").tobytes() + self.values.astype("<f8").tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> Points:
        size = len(data) // 16
        return cls(np.frombuffer(data, "<i8", size), np.frombuffer(data, "<f8", size, size * 8))


def as_logged(values: Any) -> Any:
    """MLflow's databases store infinity as the largest float; values: a number or an array, NaN stays."""
    infinite = np.abs(values) >= LARGEST_FLOAT
    return (
        np.where(infinite, np.copysign(np.inf, values), values)
        if np.ndim(values)
        else (float(np.copysign(np.inf, values)) if infinite else float(values))
    )
