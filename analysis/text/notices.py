"""Notes for the reader: failures, gaps, unsound numbers, the runs' own notes. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from analysis.contract.plan_schema import TaskKind
from analysis.contract.record_schema import NUM_LEFT_OUT
from analysis.plan.model import PublishedPlan
from analysis.plan.protocol import Protocol, shown_apart
from analysis.records.record import MISSING, Record
from analysis.results.measurements import Measurement, is_standard_error, logged_standard_error, protocols_of
from analysis.results.real_image_titles import real_image_titles

_NAMED: Mapping[TaskKind, str] = {
    "pyramid": "pyramid", "encode": "encoding", "finetune_autoencoder": "making of", "reference": "reference",
    "probe": "probe",
}  # fmt: skip


@dataclass(frozen=True)
class Note:
    """A subject, and what a reader must know of it."""

    about: str
    message: str


def list_failures(plan: PublishedPlan, records: Mapping[str, Record]) -> tuple[Note, ...]:
    """List the tasks that failed, with the message they left."""
    return tuple(
        Note(title, record.failure or "failed without a message")
        for digest, title in _titles(plan).items()
        if (record := records.get(digest, MISSING)).status == "failed"
    )


def list_warnings(
    plan: PublishedPlan, records: Mapping[str, Record], measurements: Sequence[Measurement]
) -> tuple[Note, ...]:
    """List gaps, unsound numbers, deviations from the plan, failures of earlier attempts, and the runs' own notes."""
    return (
        *_gaps(measurements),
        *(note for digest, title in _titles(plan).items() for note in _run_notes(title, records.get(digest, MISSING))),
        *_number_notes(plan, records),
        *_metric_notes(plan, records),
        *_left_out(plan, records),
    )


def _titles(plan: PublishedPlan) -> dict[str, str]:
    """Return the kind and title of every task by digest."""
    titles = {digest: f"training {label}" for digest, label in plan.training_labels().items()}
    titles |= {digest: f"floor {title}" for digest, title in real_image_titles(plan.floors).items()}
    for kind, word in _NAMED.items():
        titles |= {digest: f"{word} {title}" for digest, title in plan.titles[kind].items()}
    return titles | {digest: f"evaluation {task.title}" for digest, task in plan.evaluations.items()}


def _gaps(measurements: Sequence[Measurement]) -> Iterator[Note]:
    counts: Counter[str] = Counter(m.status for m in measurements)
    for status in ("missing", "running", "failed"):
        if counts[status]:
            yield Note("Table", f"{counts[status]} of {counts.total()} measurements: {status}.")
    for m in measurements:
        if m.value is not None and not math.isfinite(m.value):
            yield Note(f"{m.part} / {m.row} @ {m.step}", f"{m.metric} is {m.value}; it is never best.")


def _run_notes(title: str, record: Record) -> Iterator[Note]:
    if record.warning:
        yield Note(title, record.warning)
    if record.failure and record.status != "failed":
        yield Note(title, f"an attempt failed: {record.failure}")
    for note in record.notes:
        yield Note(title, f"{note}.")
    for problem in record.about.problems:
        yield Note(title, f"{problem}.")


def _number_notes(plan: PublishedPlan, records: Mapping[str, Record]) -> Iterator[Note]:
    """Note standard errors that are unsound, and numbers that were not measured as planned."""
    titles = _titles(plan)
    for digest, planned in _planned_protocols(plan).items():
        record = records.get(digest, MISSING)
        for metric in plan.metrics if record.status == "done" else ():
            error = logged_standard_error(record, metric.name)
            if error is not None and not is_standard_error(error):
                yield Note(titles[digest], f"the standard error of {metric.name} is {error}; it is not shown.")
            for name, values in protocols_of(planned, record, metric.name).deviations.items():
                was, expected = shown_apart(values)
                message = f"{metric.name} was not measured as planned: {name} is {was}, planned {expected}"
                yield Note(titles[digest], f"{message}; it counts as not comparable.")


def _planned_protocols(plan: PublishedPlan) -> dict[str, Mapping[str, Protocol]]:
    return {digest: task.protocols for tasks in (plan.evaluations, plan.floors) for digest, task in tasks.items()}


def _left_out(plan: PublishedPlan, records: Mapping[str, Record]) -> Iterator[Note]:
    """Note datasets with samples that could not be encoded."""
    for digest, title in plan.titles["encode"].items():
        record = records.get(digest, MISSING)
        if count := int(record.metrics.get(NUM_LEFT_OUT, 0)):
            yield Note(f"encoding {title}", f"{count} samples could not be read and were left out.")


def _metric_notes(plan: PublishedPlan, records: Mapping[str, Record]) -> Iterator[Note]:
    """Yield the evaluator's notes on its numbers, each once with all rows that it concerns."""
    concerned: dict[tuple[str, str], dict[str, None]] = {}
    rows = dict.fromkeys(f"{trial.part} / {trial.row}" for trial in plan.trials)
    users = [(digest, f"{trial.part} / {trial.row}") for trial in plan.trials for _, digest in trial.evaluations]
    users += [(digest, "real images") for digest in plan.floors]
    for digest, label in users:
        record = records.get(digest, MISSING)
        for metric, texts in record.about.notes.items() if record.status == "done" else ():
            for text in texts:
                concerned.setdefault((metric, text), {})[label] = None
    titles = {metric.name: metric.title for metric in plan.metrics}
    for (metric, text), labels in concerned.items():
        listed = ["all rows", *(label for label in labels if label not in rows)] if set(rows) <= set(labels) else labels
        yield Note(f"{titles.get(metric, metric)}: {', '.join(listed)}", text)
