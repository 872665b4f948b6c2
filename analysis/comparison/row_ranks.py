"""Ranks of the rows of a part by each metric, over the seeds that all rows have. Pure.

A rank says who is ahead, not by how much, so that metrics of different units stand in one table. It is an estimate: no
claim is made by it, and metrics that measure alike count as often as they are listed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from analysis.plan.model import Metric
from analysis.results.sections import Section
from analysis.results.standings import Standing

Array = np.ndarray


@dataclass(frozen=True)
class PartRanks:
    """Ranks of the rows of a part, 1 the best."""

    metrics: tuple[Metric, ...]
    """Metrics by which two rows or more compare."""
    num_seeds: tuple[int, ...]
    """Seeds that the rows have in common, by metric."""
    ranks: Mapping[str, tuple[float | None, ...]]
    """Mean rank over those seeds by row, one per metric; None if the row was not compared by it."""

    def mean_rank(self, row: str) -> float | None:
        """Return the mean over all metrics; None if the row lacks one, since it would be a mean of other things."""
        known = [rank for rank in self.ranks[row] if rank is not None]
        return math.fsum(known) / len(known) if known and len(known) == len(self.metrics) else None


def rank_values(values: Array, better: Literal["lower", "higher"]) -> Array:
    """Return the ranks of rows, 1 the best; equal rows share the mean of their places.

    Args: values: [R] or [R, N], rows first; each column is ranked for itself. Returns: an array of the same shape.
    """
    signed = values if better == "lower" else -values
    ahead = (signed[None] < signed[:, None]).sum(axis=1)
    level = (signed[None] == signed[:, None]).sum(axis=1)
    return np.asarray(ahead + (level + 1) / 2)  # scipy.stats has it, but takes half a second to import


def rank_rows(section: Section) -> PartRanks | None:
    """Rank the rows of a part; None if no metric compares two of them, and for searches, whose trials are many."""
    standings = [standing for standing in section.standings if standing.tests is not None]
    if not standings or section.part.search is not None:
        return None
    columns: list[Mapping[str, float]] = []
    for standing in standings:
        assert standing.tests is not None, "standings without tests were left out"
        means = rank_values(standing.tests.values, standing.metric.better).mean(axis=1)
        columns.append(dict(zip(standing.tests.block.rows, map(float, means), strict=True)))
    labels = [row.label for row in section.rows if any(row.label in column for column in columns)]
    ranks = {label: tuple(column.get(label) for column in columns) for label in labels}
    return PartRanks(tuple(one.metric for one in standings), _num_seeds(standings), ranks)


def _num_seeds(standings: Sequence[Standing]) -> tuple[int, ...]:
    return tuple(standing.tests.num_seeds for standing in standings if standing.tests is not None)
