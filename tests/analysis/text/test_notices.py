"""Failures and warnings by known answers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

import pytest

from analysis.plan.model import PublishedPlan
from analysis.plan.read import parse_plan
from analysis.records.about import About, parse_about
from analysis.records.record import Record
from analysis.results.measurements import measure
from analysis.text.notices import list_failures, list_warnings
from tests.support.plans import about, evaluate_digest, make_plan, plan_document, train_digest

PLAN = make_plan()


def warned(plan: PublishedPlan, records: Mapping[str, Record]) -> list[tuple[str, str]]:
    """(about, message) of every warning but the gaps of the table."""
    notes = list_warnings(plan, records, measure(plan, records))
    return [(note.about, note.message) for note in notes if note.about != "Table"]


def test_failures_carry_their_message_and_recovered_ones_are_warnings() -> None:
    records = {
        train_digest("DFM"): Record("failed", failure="loss is NaN at step 12"),
        evaluate_digest("DFM", 100): Record("done", {"fd": math.inf, "accuracy": 0.5}, failure="worker died"),
    }
    assert [(note.about, note.message) for note in list_failures(PLAN, records)] == [
        ("training DFM, seed=0", "loss is NaN at step 12")
    ]
    assert [note.message for note in list_warnings(PLAN, records, measure(PLAN, records))] == [
        "4 of 8 measurements: missing.",
        "2 of 8 measurements: failed.",
        "fd is inf; it is never best.",
        "an attempt failed: worker died",
    ]


def test_every_kind_of_task_has_its_title_in_failures_and_warnings() -> None:
    document = plan_document()
    document["tasks"]["pyramid"] = {"kind": "pyramid", "title": "learned", "inputs": [], "payload": {}}
    plan = parse_plan(json.dumps(document))
    titles = {
        "reference": "reference real images, lite0",
        "probe": "probe labels, lite0",
        "floor": "floor 500 real images",
        "pyramid": "pyramid learned",
        train_digest("DFM"): "training DFM, seed=0",
        evaluate_digest("DFM", 200): "evaluation DFM @ 200",
    }
    failed = {digest: Record("failed", failure="out of memory") for digest in titles}
    assert {note.about for note in list_failures(plan, failed)} == set(titles.values())
    done = {digest: Record("done", warning="slow") for digest in titles}
    assert {about for about, _ in warned(plan, done)} == set(titles.values())


def test_a_number_not_measured_as_planned_gives_a_warning_with_field_and_values() -> None:
    record = Record("done", {"fd": 4.0, "accuracy": 0.5}, about=parse_about(json.loads(about(num_samples=40_000))))
    floor = Record("done", {"fd": 1.0}, about=parse_about(json.loads(about(ema_decay=0.0, settings="k=5"))))
    end = "; it counts as not comparable."
    assert warned(PLAN, {evaluate_digest("DFM", 200): record, "floor": floor}) == [
        (
            "evaluation DFM @ 200",
            f"{metric} was not measured as planned: num_samples is 40,000, planned 500{end}",
        )
        for metric in ("fd", "accuracy")
    ] + [
        ("floor 500 real images", f"{metric} was not measured as planned: settings is k=5, planned none{end}")
        for metric in ("fd", "accuracy")
    ]


def test_what_an_unfinished_run_says_of_its_numbers_is_not_heard() -> None:
    notes = {"fd": ("few samples",)}
    said = About(notes, parse_about(json.loads(about(num_samples=1))).protocols)
    assert warned(PLAN, {evaluate_digest("DFM", 200): Record("running", {"fd": 4.0}, about=said)}) == []


@pytest.mark.parametrize("error", [math.nan, -0.5, math.inf])
def test_a_standard_error_that_cannot_be_one_is_warned_of(error: float) -> None:
    record = Record("done", {"fd": 4.0, "fd_standard_error": error, "accuracy": 0.5, "accuracy_standard_error": 0.0})
    assert warned(PLAN, {evaluate_digest("DFM", 200): record}) == [
        ("evaluation DFM @ 200", f"the standard error of fd is {error}; it is not shown.")
    ]


def test_equal_notes_stand_once_with_the_rows_they_concern() -> None:
    plan = make_plan(parts={"p": ("a", "b"), "q": ("c", "a")})
    few, biased = "500 samples for 1280 dimensions", "biased upwards"

    def noted(*texts: str) -> Record:
        return Record("done", {"fd": 4.0, "accuracy": 0.5}, about=About({"fd": texts}))

    records = {
        evaluate_digest("a", 100): noted(few),
        evaluate_digest("a", 200): noted(few, biased),
        evaluate_digest("b", 200): noted(few),
        evaluate_digest("c", 200): noted(biased),
        "floor": noted(few),
    }
    assert warned(plan, records) == [
        ("FD-Lite0: p / a, p / b, q / a, real images", few),
        ("FD-Lite0: p / a, q / c, q / a", biased),
    ]
    records[evaluate_digest("c", 100)] = noted(few)
    assert warned(plan, records)[0] == ("FD-Lite0: all rows, real images", few)


def test_a_broken_about_file_is_warned_of_and_its_run_stays() -> None:
    record = Record("done", {"fd": 4.0, "accuracy": 0.5}, about=parse_about(None))
    assert warned(PLAN, {evaluate_digest("DFM", 200): record}) == [
        ("evaluation DFM @ 200", "about.json is not a JSON object; it is left out.")
    ]
