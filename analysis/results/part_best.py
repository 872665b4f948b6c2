"""The best rows of a sweep: one answer for page, `--status` and the model registry. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from analysis.plan.model import Metric, Part
from analysis.results.sections import Row, Section


@dataclass(frozen=True)
class PartBest:
    """A row that is called best of its part, by the primary metric at the rows' last evaluations."""

    part: Part
    metric: Metric
    index: int
    """Index of the metric in the plan."""
    row: Row
    value: float
    """Mean over the seeds that all compared rows have."""
    num_seeds: int
    num_planned: int
    is_complete: bool
    """True if every row of the part has all its seeds."""

    def __str__(self) -> str:
        seeds = f"{self.num_seeds} seed{'' if self.num_seeds == 1 else 's'} in common"
        planned = "" if self.is_complete else f" of {self.num_planned} planned"
        row = f"{self.row.label} @ {self.row.step}"
        return f"{self.part.name}: {self.metric.title} {self.value:.6g}, {row}, {seeds}{planned}"


def best_of_parts(sections: Sequence[Section]) -> Iterator[PartBest]:
    """Yield the best rows of each part, several if they tie; none of a part in which no row is called best."""
    for section in sections:
        for index, standing in enumerate(section.standings):
            cells = [row.cells[index] for row in section.rows]
            is_complete = all(cell.num_values == cell.num_seeds for cell in cells)
            for row in section.rows:
                if row.label in standing.best and standing.choice is not None:
                    num_seeds, planned = len(standing.choice.block.seeds), row.cells[index].num_seeds
                    value = standing.choice.value
                    yield PartBest(section.part, standing.metric, index, row, value, num_seeds, planned, is_complete)
