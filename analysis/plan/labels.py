"""Short labels of rows in the place of those of the sweep, once for all that tables, sentences and figures show."""

from __future__ import annotations

from collections.abc import Mapping

from analysis.contract.plan_schema import PartEntry, PlanDocument, PrimaryEntry, RowEntry, TrialEntry


def with_short_labels(document: PlanDocument) -> PlanDocument:
    """Return the plan with short labels where it gives them, in parts, trials and the primary metric's baseline.

    The label itself stays under `long`.
    """
    shorts = {
        part["name"]: {row["label"]: row["short"] for row in part["rows"] if "short" in row}
        for part in document["parts"]
    }
    if not any(shorts.values()):
        return document
    parts = [_part(part, shorts[part["name"]]) for part in document["parts"]]
    trials = [_trial(trial, shorts.get(trial["part"], {})) for trial in document["trials"]]
    changed: PlanDocument = {**document, "parts": parts, "trials": trials}
    if primary := document.get("primary"):
        every = {label: short for of_part in shorts.values() for label, short in of_part.items()}
        changed["primary"] = _primary(primary, every)
    return changed


def _part(part: PartEntry, shorts: Mapping[str, str]) -> PartEntry:
    return {**part, "rows": [_row(row, shorts) for row in part["rows"]]}


def _row(row: RowEntry, shorts: Mapping[str, str]) -> RowEntry:
    short = shorts.get(row["label"])
    return row if short is None else {**row, "label": short, "long": row["label"]}


def _trial(trial: TrialEntry, shorts: Mapping[str, str]) -> TrialEntry:
    return {**trial, "row": shorts.get(trial["row"], trial["row"])}


def _primary(primary: PrimaryEntry, shorts: Mapping[str, str]) -> PrimaryEntry:
    baseline = primary["baseline"]
    return {**primary, "baseline": None if baseline is None else shorts.get(baseline, baseline)}
