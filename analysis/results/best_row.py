"""The best row of a part: the one rule that table, page, `--status` and the model registry share. Pure.

A seed that a row lacks, because it failed or still runs, may be a hard one: the row's mean over its other seeds
flatters it. So rows are compared, and the best is chosen, at the same seeds for all.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

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


@dataclass(frozen=True)
class BestChoice:
    """The rows with the best mean over the seeds that all compared rows have."""

    rows: tuple[str, ...]
    """Their labels, several if they tie."""
    value: float
    """Their mean over those seeds."""
    block: CompleteBlock
    by_all_seeds: tuple[str, ...]
    """Labels of the rows with the best mean over whichever seeds a row has, of all rows."""

    failed: tuple[str, ...] = ()
    """Those of `rows` that failed at seeds that another row has: had these counted as worst, they might not be best."""

    @property
    def agrees(self) -> bool:
        """True if the means that a table prints say the same, and no best row failed at a seed that another has."""
        return set(self.rows) == set(self.by_all_seeds) and not self.failed


def choose_best(
    rows: Mapping[str, Sequence[SeedValue]], better: Literal["lower", "higher"], failed: Collection[str] = ()
) -> BestChoice | None:
    """Choose the best row; a failed or missing seed never helps.

    Args: rows: finite values by label, in the table's order. failed: labels of rows that failed at some seeds, which
        may have been the hard ones.
    Returns: None if no two rows can be compared, or if all that can be are alike.
    """
    block = largest_block(rows)
    if block is None:
        return None
    common = {label: _mean([value.value for value in rows[label] if value.seed in block.seeds]) for label in block.rows}
    if len(set(common.values())) == 1:
        return None
    printed = {label: _mean([value.value for value in values]) for label, values in rows.items() if values}
    best = _best(common, better)
    having = {label: {value.seed for value in values} for label, values in rows.items()}
    every = set[int]().union(*having.values())  # a row that lacks none of these failed where all others did, too
    flattered = tuple(label for label in best if label in failed and having[label] != every)
    return BestChoice(best, common[best[0]], block, _best(printed, better), flattered)


def _best(means: Mapping[str, float], better: Literal["lower", "higher"]) -> tuple[str, ...]:
    target = (min if better == "lower" else max)(means.values())
    return tuple(label for label, mean in means.items() if mean == target)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
