"""The best row of a part: the one rule that table, page, `--status` and the model registry share. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from analysis.results.complete_block import CompleteBlock, largest_block
from analysis.results.intervals import SeedValue


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
    """Those of `rows` that failed at other seeds: had these counted as worst, they would not be best."""

    @property
    def agrees(self) -> bool:
        """True if the means that a table prints say the same, and none failed; otherwise no row is called best."""
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
    flattered = tuple(label for label in best if label in failed and not set(block.rows) <= set(failed))
    return BestChoice(best, common[best[0]], block, _best(printed, better), flattered)


def _best(means: Mapping[str, float], better: Literal["lower", "higher"]) -> tuple[str, ...]:
    target = (min if better == "lower" else max)(means.values())
    return tuple(label for label, mean in means.items() if mean == target)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
