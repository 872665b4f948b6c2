"""The plan, the protocols behind the numbers, and the sampling settings, as tables of plain text. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from analysis.plan.model import Part, PublishedPlan
from analysis.plan.protocol import FIELDS, Protocol, shown
from analysis.records.record import MISSING, Record
from analysis.results.measurements import Measurement, protocols_of
from analysis.text.caveats import some_of
from analysis.text.text_tables import NOTHING, PlainTable

_HEADER = (
    "metric", "network", "weights", "preprocessing", "samples", "reference", "label sampling", "settings", "EMA decay",
    "guidance", "id in table.csv",
)  # fmt: skip
_COLUMNS = (
    "network", "weights_sha256", "preprocessing", "num_samples", "reference", "label_sampling", "settings", "ema_decay",
)  # fmt: skip
_MERGED = "guidance"


def make_protocol_table(
    plan: PublishedPlan, measurements: Sequence[Measurement], records: Mapping[str, Record]
) -> PlainTable:
    """List every distinct protocol once, with all its guidance weights in one line, in the order of the metrics."""
    lines: dict[tuple[str, str], list[tuple[str, Protocol]]] = {}
    for metric, subject, protocol in _used_protocols(plan, measurements, records):
        others = {name: value for name, value in protocol.values.items() if name != _MERGED}
        lines.setdefault((metric, json.dumps(others, sort_keys=True)), []).append((subject, protocol))
    titles = {metric.name: metric.title for metric in plan.metrics}
    return PlainTable(_HEADER, tuple(_line(titles[metric], merged) for (metric, _), merged in lines.items()))


def _used_protocols(
    plan: PublishedPlan, measurements: Sequence[Measurement], records: Mapping[str, Record]
) -> Iterator[tuple[str, str, Protocol]]:
    """Yield (metric, "samples" or "real images", protocol) of every number that is planned or measured."""
    for metric in plan.metrics:
        for m in measurements:
            if m.metric == metric.name and m.status != "not planned" and m.protocols.effective:
                yield metric.name, "samples", m.protocols.effective
        for digest, task in plan.floors.items():
            protocol = protocols_of(task.protocols, records.get(digest, MISSING), metric.name).effective
            if protocol:
                yield metric.name, "real images", protocol


def _line(title: str, merged: Sequence[tuple[str, Protocol]]) -> tuple[str, ...]:
    """Return the line of protocols that differ in guidance alone."""
    first = merged[0][1].values
    others = [f"{name}={shown(value)}" for name, value in first.items() if name not in FIELDS]
    cells = {name: shown(first[name]) for name in _COLUMNS}
    cells["settings"] = ", ".join([cells["settings"], *others])
    weights = sorted({protocol.guidance for _, protocol in merged})
    subjects = sorted({subject for subject, _ in merged}, reverse=True)
    ids = dict.fromkeys(protocol.id for _, protocol in merged)
    label = title if subjects == ["samples"] else f"{title} of {' and '.join(subjects)}"
    return (label, *cells.values(), ", ".join(map(shown, weights)), ", ".join(ids))


def make_sampling_table(plan: PublishedPlan) -> PlainTable:
    """List the sampling settings of the rows' last evaluations, each distinct one once."""
    lines: dict[str, tuple[Mapping[str, Any], dict[str, None]]] = {}
    for trial in plan.trials:
        settings = plan.evaluations[trial.evaluations[-1][1]].sampling
        _, rows = lines.setdefault(json.dumps(settings, sort_keys=True), (settings, {}))
        rows[f"{trial.part} / {trial.row}"] = None
    names = list(dict.fromkeys(name for settings, _ in lines.values() for name in settings))
    rows_of = (
        (some_of(list(rows)), *(_setting(settings[name]) if name in settings else NOTHING for name in names))
        for settings, rows in lines.values()
    )
    return PlainTable(("rows", *(name.replace("_", " ") for name in names)), tuple(rows_of) if names else ())


def _setting(value: Any) -> str:
    return ", ".join(map(shown, value)) or "none" if isinstance(value, list) else shown(value)


_MOST_ROWS = 100
_HEADER_PLAN_TABLE = ("part / row", "settings", "seeds", "trained for", "evaluated after steps")


def make_plan_table(plan: PublishedPlan) -> PlainTable:
    """List all rows of all parts; of a part with more than 100 the first, and how many more there are."""
    rows = []
    for part in plan.parts:
        rows += [_row(plan, part, label) for label in part.rows[:_MOST_ROWS]]
        left = len(part.rows) - _MOST_ROWS
        rows += [(f"{part.name} / …", f"{left} more rows in the published plan", "", "", "")] if left > 0 else []
    return PlainTable(_HEADER_PLAN_TABLE, tuple(rows))


def _row(plan: PublishedPlan, part: Part, label: str) -> tuple[str, ...]:
    trials = plan.trials_of(part.name, label)
    settings = "; ".join(f"{key} {shown(value)}" for key, value in part.settings.get(label, {}).items())
    seeds = ", ".join(str(trial.seed) for trial in trials)
    training = plan.trainings.get(trials[0].train)
    trained = "" if training is None else f"{training.until_step:,} steps of {training.batch_size:,} images"
    steps = ", ".join(f"{step:,}" for step, _ in trials[0].evaluations)
    return f"{part.name} / {label}", settings or "the sweep's defaults", seeds, trained, steps
