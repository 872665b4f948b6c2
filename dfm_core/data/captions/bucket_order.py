"""The shape of each step's images, and the rows that it reads: pure functions of the seed and the step.

A step draws its shape; its rows are the next of that shape's own order. So all workers have one shape, every image of a
shape is seen before any is seen again, and which worker reads which part of a batch changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dfm_core.data.captions.buckets import Bucket
from dfm_core.seeding import sample_generator

_BLOCK = 1024
"""Steps whose shapes are drawn at once."""
Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class BucketGroup:
    """The images of one shape."""

    side: int
    """Side that the shape belongs to, a key of `data.sides`."""
    bucket: Bucket
    num_samples: int


@dataclass(frozen=True)
class StepPlace:
    """The images that a step reads."""

    group: int
    """Position of the shape in `BucketOrder.groups`."""
    earlier: int
    """Steps before this one that read the same shape."""


class BucketOrder:
    """The order of the shapes. Used by one thread at a time."""

    def __init__(self, seed: int, groups: Sequence[BucketGroup], shares: Mapping[int, float]) -> None:
        """Args: groups: those without images are never drawn. shares: of the steps, by side; they need not sum to 1.

        Raises: ValueError if a side has no image.
        """
        self.groups, self._seed = tuple(groups), seed
        totals = {side: sum(one.num_samples for one in groups if one.side == side) for side in shares}
        if missing := sorted(side for side, total in totals.items() if not total):
            raise ValueError(f"no image is large enough for data.sides {', '.join(map(str, missing))}")
        weights = [
            shares.get(one.side, 0.0) * one.num_samples / totals[one.side] if totals.get(one.side) else 0.0
            for one in groups
        ]
        self.shares = np.array(weights) / sum(weights)
        """Share of the steps that each group has, [G]."""
        self._ends = np.cumsum(self.shares)
        self._before: list[Array] = [np.zeros(len(groups), np.int64)]
        """Steps of each group before each block that was reached."""
        self._latest: tuple[int, Array] = (-1, np.empty(0, np.int64))
        """Block that was drawn last, and the groups of its steps."""

    def place(self, step: int) -> StepPlace:
        """Return where a step reads. Steps begin with 0."""
        block, at = divmod(step, _BLOCK)
        while len(self._before) <= block:
            drawn = np.bincount(self._drawn(len(self._before) - 1), minlength=len(self.groups))
            self._before.append(self._before[-1] + drawn)
        groups = self._drawn(block)
        group = int(groups[at])
        return StepPlace(group, int(self._before[block][group] + np.count_nonzero(groups[:at] == group)))

    def _drawn(self, block: int) -> Array:
        """Return the groups of a block's steps, [_BLOCK]."""
        if self._latest[0] != block:
            self._latest = block, self._draw(block)
        return self._latest[1]

    def _draw(self, block: int) -> Array:
        draws = sample_generator(self._seed, "bucket_order", block).random(_BLOCK)
        # A draw next to 1 may lie past the last end, which rounding leaves below 1.
        last = int(np.flatnonzero(self.shares)[-1])
        return np.minimum(np.searchsorted(self._ends, draws, side="right"), last)
