"""Every cell of a part with all its statistics, beside the paper's number, as CSV at full precision. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from analysis.comparison.compare import MetricComparison, PartComparison
from analysis.comparison.row_ranks import PartRanks
from analysis.contract.published_numbers import PublishedPart, published_parts
from analysis.plan.model import Metric
from analysis.results.cells import Cell, interquartile_mean, mean_without_bias
from analysis.results.intervals import variance
from analysis.results.sampling_error import sampling_variance
from analysis.results.sections import Section
from analysis.text.aggregate_tables import rank_lines
from analysis.text.csv_text import csv_text
from analysis.text.difference_tables import difference_lines

Line = Mapping[str, Any]

CELL_COLUMNS = (
    "part", "row", "metric", "better", "status", "mean", "half_width_95", "interval_of", "num_seeds_done",
    "num_seeds", "deviation_over_seeds", "standard_error_of_samples", "error_method",
    "mean_without_bias", "claim", "best", "num_common_seeds",
    "difference_from_best", "adjusted_p", "separable_from_best", "no_practical_difference",
    "reference", "difference", "interval_low",
    "interval_high", "interval_is", "probability_of_improvement", "interquartile_mean", "mean_rank", "step",
    "training_flops", "evaluations_per_image", "evaluate_digests", "sources", "paper", "paper_metric", "verdict",
    "reason", "paper_ratio", "paper_ratio_low", "paper_ratio_high", "kendall_tau", "kendall_rows", "kendall_low",
    "kendall_high", "kendall_p",
)  # fmt: skip
PAPER_COLUMNS = (
    "table", "part", "guidance", "row", "metric", "value", "source", "correction", "data", "resolution", "backbone",
    "training_steps", "num_samples", "sampling", "page", "section", "remark",
)  # fmt: skip
NOT_OURS = "not in the sweep"


def cell_csv(section: Section, compared: PartComparison | None, ranks: PartRanks | None = None) -> str:
    """Write a part, a line for each row and metric; rows that only the paper has come last."""
    return csv_text(
        CELL_COLUMNS, [*_own_lines(section, compared, ranks), *(_paper_lines(compared) if compared else ())]
    )


def published_csv() -> str:
    """Write all numbers of the paper, with their protocols."""
    parts = (_published_lines(part) for part in published_parts())
    return csv_text(PAPER_COLUMNS, [line for lines in parts for line in lines])


def _own_lines(section: Section, compared: PartComparison | None, ranks: PartRanks | None) -> Iterator[Line]:
    beside = {column.metric.name: column for column in compared.metrics} if compared else {}
    differences = [difference_lines(standing) for standing in section.standings]
    rank_of = {(row, metric): rank for row, metric, rank, _ in rank_lines(ranks)}
    for place, row in enumerate(section.rows):
        for index, comparability in enumerate(section.comparability):
            cell, metric = row.cells[index], comparability.metric
            if cell.status == "not planned":
                continue
            yield {
                "part": section.part.name,
                "row": row.label,
                **_cell_line(metric, cell),
                "claim": "primary" if section.standings[index].makes_claims else "exploratory",
                **differences[index].get(row.label, {}),
                "mean_rank": rank_of.get((row.label, metric.name)),
                "step": row.step,
                "training_flops": row.training_flops,
                "evaluations_per_image": row.num_evaluations,
                "evaluate_digests": " ".join(cell.digests),
                "sources": " ".join(link.source for link in row.runs if link.digest in cell.digests),
                **(_beside_line(beside[metric.name], place) if metric.name in beside else {}),
            }


def _cell_line(metric: Metric, cell: Cell) -> Line:
    spread, sampling = variance([value.value for value in cell.values]), sampling_variance(cell.values)
    return {
        "metric": metric.name,
        "better": metric.better,
        "status": cell.status,
        "mean": cell.mean,
        "half_width_95": cell.half_width,
        "interval_of": cell.basis,
        "num_seeds_done": cell.num_values,
        "num_seeds": cell.num_seeds,
        "deviation_over_seeds": None if spread is None else math.sqrt(spread),
        "standard_error_of_samples": None if sampling is None else math.sqrt(sampling),
        "error_method": "; ".join(sorted({value.error.method for value in cell.values if value.error})),
        "mean_without_bias": mean_without_bias(cell.values),
        "interquartile_mean": interquartile_mean([value.value for value in cell.values]),
        "best": "yes" if cell.best else "no",
    }


def _beside_line(column: MetricComparison, place: int) -> Line:
    row, tau = column.rows[place], column.agreement
    line: dict[str, Any] = {}
    if tau is not None:
        line |= {"kendall_tau": tau.tau, "kendall_rows": tau.num_rows, "kendall_low": tau.low, "kendall_high": tau.high}
        line["kendall_p"] = tau.p_value
    if row.published is not None:
        line |= {"paper": row.published.printed, "paper_metric": column.published_name}
    if row.verdict is not None:
        line |= {
            "verdict": row.verdict.name,
            "reason": row.verdict.reason,
            "paper_ratio": row.verdict.ratio,
            "paper_ratio_low": row.verdict.low,
            "paper_ratio_high": row.verdict.high,
        }
    return line


def _paper_lines(compared: PartComparison) -> Iterator[Line]:
    """Yield the paper's numbers of rows that are not ours."""
    for row in compared.lacking:
        for column in compared.metrics:
            yield {
                "part": compared.section.part.name,
                "row": row,
                "metric": column.metric.name,
                "better": column.metric.better,
                "status": NOT_OURS,
                "paper": compared.published.values[row, column.published_name].printed,
                "paper_metric": column.published_name,
            }


def _published_lines(part: PublishedPart) -> Iterator[Line]:
    for (row, metric), value in part.values.items():
        yield {
            "table": part.table,
            "part": part.part,
            "guidance": part.guidance,
            "row": row,
            "metric": metric,
            "value": value.printed,
            "source": value.source,
            "correction": value.correction,
            **vars(part.protocol),
        }
