"""The seeds at which rows can be compared fairly: rows that all have a value at the same seeds. Pure.

A seed that a row lacks, because it failed or still runs, may be a hard one: the row's mean over its other seeds
flatters it. So rows are compared, and the best is chosen, at the same seeds for all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from analysis.results.intervals import SeedValue

_MOST_SEED_SETS = 64


@dataclass(frozen=True)
class CompleteBlock:
    """Rows, and the seeds at which every one of them has a value."""

    rows: tuple[str, ...]
    """Labels in the table's order, two or more."""
    seeds: tuple[int, ...]
    left_out: tuple[str, ...]
    """Labels of the other rows that have a value."""


def largest_block(rows: Mapping[str, Sequence[SeedValue]]) -> CompleteBlock | None:
    """Choose the rows and seeds with the most values; of equally many those with more rows.

    Args: rows: finite values by label; rows without any are left out unsaid.
    Returns: None if no two rows have a seed in common.
    """
    having = {label: frozenset(value.seed for value in values) for label, values in rows.items() if values}
    own = sorted(set(having.values()), key=lambda seeds: (-len(seeds), sorted(seeds)))[:_MOST_SEED_SETS]
    every = frozenset.intersection(*own) if own else frozenset[int]()
    candidates = dict.fromkeys([every, *own, *(first & second for first, second in combinations(own, 2))])
    blocks = [(seeds, [label for label, has in having.items() if has >= seeds]) for seeds in candidates if seeds]
    blocks = [(seeds, labels) for seeds, labels in blocks if len(labels) > 1]
    if not blocks:
        return None
    seeds, labels = max(blocks, key=lambda block: (len(block[0]) * len(block[1]), len(block[1])))
    return CompleteBlock(tuple(labels), tuple(sorted(seeds)), tuple(label for label in having if label not in labels))
