"""Costs of the sweep, and the machines and code that it ran with. Pure."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.comparison.flops_to_target import RowReached, Target
from analysis.contract.record_schema import ACCELERATOR_SECONDS, IMAGES_PER_SECOND, NETWORK_EVALUATIONS, SECONDS
from analysis.plan.model import EvaluateTask, PublishedPlan
from analysis.records.record import MISSING, Record
from analysis.text.caveats import some_of
from analysis.text.numbers import scientific
from analysis.text.text_tables import NOTHING, PlainTable

_BUSY = "accelerator time"
_MOST_VALUES = 3
_LONGEST_VALUE = 300


@dataclass(frozen=True)
class ProvenanceGroup:
    """Provenance by the runs' own files, one nested object; the name is empty for entries at the top of the file."""

    name: str
    entries: tuple[tuple[str, str], ...]


def training_ledger(plan: PublishedPlan, records: Mapping[str, Record]) -> PlainTable:
    """List every training once, with its planned costs and the time that it took."""
    labels = plan.training_labels()
    rows, times, busy = [], [], []
    for digest, task in plan.trainings.items():
        record = records.get(digest, MISSING)
        times.append(record.metrics.get(SECONDS))
        busy.append(record.metrics.get(ACCELERATOR_SECONDS))
        reached = max((curve[-1][0] for curve in record.curves.values() if curve), default=0)
        steps = f"{task.until_step:,}" if record.status == "done" else f"{reached:,} of {task.until_step:,}"
        costs = f"{task.num_parameters:,}", f"{task.num_images:,}", scientific(task.flops)
        rows.append((labels[digest], record.status, steps, *costs, duration(times[-1]), duration(busy[-1])))
    tasks = plan.trainings.values()
    images, flops = sum(task.num_images for task in tasks), sum(task.flops for task in tasks)
    sums = f"{images:,}", scientific(flops), _total(times), _total(busy)
    total = ("all", _done(records, plan.trainings), "", "", *sums)
    header = ("training", "status", "steps", "parameters", "images", "FLOPs", "wall time", _BUSY)
    return PlainTable(header, tuple(rows), total, _runs(plan.trainings, records))


REACH_COLUMNS = (
    "part", "metric", "target", "declared", "baseline", "row", "flops", "end", "share", "share_low", "share_high",
    "share_reached", "num_common_seeds",
)  # fmt: skip
REACH_LEGEND = (
    "Training FLOPs at which the mean of a row, over the seeds that all rows have, first is as good as the target, on "
    "straight lines between evaluations; × is the share of what the baseline took, in brackets the middle 95% of 500 "
    "bootstrap draws and the share of them in which it is reached; where the baseline does not reach a declared target "
    "in a draw, it counts as if it did at its last evaluation."
)


def reach_text(row: RowReached) -> str:
    """Write "2.10 × 10¹², 0.48 × (0.31 to 0.95; reached in 97%)", or that the target was not reached."""
    share = "" if row.share is None else f", {row.share:.2f} ×"
    if (draws := row.draws) is not None:
        ends = f"{draws.low:.2f} to {draws.high:.2f}" if math.isfinite(draws.high) else f"from {draws.low:.2f}"
        share += f" ({f'{ends}; ' if math.isfinite(draws.low) else ''}reached in {draws.share_reached:.0%})"
    if row.reached.end == "at least":
        return f"not reached by {scientific(row.reached.x)}{share}"
    return f"{'≤ ' if row.reached.end == 'at most' else ''}{scientific(row.reached.x)}{share}"


def make_reach_table(targets: Sequence[Target]) -> PlainTable | None:
    """Return a line for each row, and a column for each target of a part; None without any."""
    if not targets:
        return None
    titles = (
        f"{target.metric.title} {target.value:.4g}{'' if target.is_declared else f', best of {target.holder}'}"
        f"{f', without {some_of(target.left_out)}' if target.left_out else ''}"
        for target in targets
    )
    texts = [{row.label: reach_text(row) for row in target.rows} for target in targets]
    labels = [label for label in targets[0].part.rows if any(label in column for column in texts)]
    rows = tuple((label, *(column.get(label, NOTHING) for column in texts)) for label in labels)
    return PlainTable(("training FLOPs to", *titles), rows)


def reach_lines(targets: Sequence[Target]) -> Iterator[Mapping[str, Any]]:
    """Yield the columns `REACH_COLUMNS` of each row and target; ends of intervals that are not finite are None."""
    for target in targets:
        for row in target.rows:
            draws = row.draws
            low, high = (draws.low, draws.high) if draws else (None, None)
            yield {
                "part": target.part.name,
                "metric": target.metric.name,
                "target": target.value,
                "declared": "yes" if target.is_declared else "no",
                "baseline": target.holder,
                "row": row.label,
                "flops": row.reached.x,
                "end": row.reached.end,
                "share": row.share,
                "share_low": low if low is not None and math.isfinite(low) else None,
                "share_high": high if high is not None and math.isfinite(high) else None,
                "share_reached": draws.share_reached if draws else None,
                "num_common_seeds": target.num_seeds,
            }


def money_text(plan: PublishedPlan, records: Mapping[str, Record]) -> str:
    """Say what the tasks on record cost by the plan's prices of node types; empty without prices."""
    if not plan.prices:
        return ""
    seconds = math.fsum(record.metrics.get(ACCELERATOR_SECONDS, 0.0) for record in records.values())
    costs = (f"{plan.currency} {seconds / 3600 * price:,.2f} on {name}" for name, price in sorted(plan.prices.items()))
    return f"Tasks on record took {seconds / 3600:,.3g} accelerator-hours: {', '.join(costs)}; idle time is not in it."


def evaluation_ledger(plan: PublishedPlan, records: Mapping[str, Record]) -> PlainTable:
    """List every evaluation once."""
    rows, busy, flops = [], [], []
    for digest, task in plan.evaluations.items():
        record = records.get(digest, MISSING)
        busy.append(record.metrics.get(ACCELERATOR_SECONDS))
        flops.append(task.sampling_flops * _share_made(task, record))
        speed = record.metrics.get(IMAGES_PER_SECOND)
        costs = f"{task.num_samples:,}", f"{task.num_evaluations:,}", scientific(flops[-1])
        took = duration(busy[-1]), NOTHING if speed is None else f"{speed:.3g}"
        rows.append((task.title, record.status, *costs, *took))
    samples = sum(task.num_samples for task in plan.evaluations.values())
    sums = f"{samples:,}", "", scientific(sum(flops)), _total(busy), ""
    total = ("all", _done(records, plan.evaluations), *sums)
    made = ("samples", "network evaluations / image", "FLOPs")
    header = ("evaluation", "status", *made, _BUSY, "images / s")
    return PlainTable(header, tuple(rows), total, _runs(plan.evaluations, records))


def _runs(digests: Mapping[str, object], records: Mapping[str, Record]) -> tuple[tuple[str, str], ...]:
    return tuple((record.run_id, record.url) for record in (records.get(digest, MISSING) for digest in digests))


def _share_made(task: EvaluateTask, record: Record) -> float:
    """Return the share of an evaluation's network evaluations that were made for it.

    Steps in common with others count in equal shares, samples that existed already not at all.
    """
    alone, made = task.num_samples * task.num_evaluations, record.metrics.get(NETWORK_EVALUATIONS)
    return 1.0 if made is None or not math.isfinite(made) or not alone else made / alone


def _done(records: Mapping[str, Record], digests: Mapping[str, object]) -> str:
    done = sum(records.get(digest, MISSING).status == "done" for digest in digests)
    return f"{done} of {len(digests)} done"


def _total(times: Sequence[float | None]) -> str:
    known = [seconds for seconds in times if seconds is not None and math.isfinite(seconds)]
    return duration(math.fsum(known)) if known else NOTHING


def duration(seconds: float | None) -> str:
    """Format seconds as 12.3 s, 4 min 05 s, 3 h 20 min."""
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds) // 60
    return f"{minutes} min {round(seconds) % 60:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def merge_provenance(records: Mapping[str, Record]) -> tuple[ProvenanceGroup, ...]:
    """Merge all runs' provenance files, each entry once; a group for each nested object."""
    groups: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for digest in sorted(records):
        for key, value in records[digest].provenance.items():
            if isinstance(value, Mapping):
                for inner, entry in value.items():
                    groups[str(key)][str(inner)][_plain(entry)] += 1
            else:
                groups[""][str(key)][_plain(value)] += 1
    return tuple(
        ProvenanceGroup(name, tuple((key, _values(counts)) for key, counts in sorted(groups[name].items())))
        for name in sorted(groups)
    )


def _plain(value: Any) -> str:
    """Format a value as one short line; long ones, such as a diff, are only named."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
    if len(text) > _LONGEST_VALUE or "\n" in text.strip():
        return f"{len(text.splitlines()):,} lines, {len(text):,} characters; kept in MLflow"
    return text.strip() or NOTHING


def _values(counts: Counter[str]) -> str:
    """Return the value or, where runs differ, the commonest ones with their numbers of runs."""
    if len(counts) == 1:
        return next(iter(counts))
    commonest = sorted(counts, key=lambda value: (-counts[value], value))
    shown = [f"{value} (n={counts[value]})" for value in commonest[:_MOST_VALUES]]
    return "; ".join([*shown, *([f"{len(counts) - _MOST_VALUES} more"] if len(counts) > _MOST_VALUES else [])])
