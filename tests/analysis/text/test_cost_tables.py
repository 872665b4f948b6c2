"""Costs and provenance by known answers."""

from __future__ import annotations

import math

import pytest

from analysis.records.record import Record
from analysis.text.cost_tables import duration, evaluation_ledger, merge_provenance, training_ledger
from tests.support.plans import evaluate_digest, make_plan, train_digest

PLAN = make_plan()
COSTS = {"seconds": 5.0, "accelerator_seconds": 9.5, "images_per_second": 100.0}


def test_the_ledger_counts_each_training_once() -> None:
    records = {
        train_digest("DFM"): Record("done", {"seconds": 61.0, "accelerator_seconds": 122.0}),
        train_digest("flow matching"): Record("running", curves={"loss": ((20, 1.0), (40, 1.0))}),
    }
    table = training_ledger(make_plan(parts={"a": ("flow matching", "DFM"), "b": ("DFM",)}), records)
    assert table.rows == (
        ("flow matching, seed=0", "running", "40 of 200", "1,234,567", "6,400", "2.00 × 10¹¹", "–", "–"),
        ("DFM, seed=0", "done", "200", "1,234,567", "6,400", "2.00 × 10¹¹", "1 min 01 s", "2 min 02 s"),
    )
    assert table.total == ("all", "1 of 2 done", "", "", "12,800", "4.00 × 10¹¹", "1 min 01 s", "2 min 02 s")


def test_evaluations_are_counted_with_their_samples_and_seconds() -> None:
    records = {evaluate_digest("DFM", 100): Record("done", COSTS)}
    table = evaluation_ledger(PLAN, records)
    assert table.rows[2] == ("DFM @ 100", "done", "500", "40", "7.00 × 10¹⁰", "9.5 s", "100")
    assert table.total == ("all", "1 of 4 done", "2,000", "", "2.80 × 10¹¹", "9.5 s", "")


def test_evaluations_cost_what_was_made_for_them() -> None:
    half = {**COSTS, "network_evaluations": 500 * 40 / 2}
    kept = {"accelerator_seconds": 0.0, "network_evaluations": 0.0}
    records = {evaluate_digest("DFM", 100): Record("done", half), evaluate_digest("DFM", 200): Record("done", kept)}
    table = evaluation_ledger(PLAN, records)
    assert [row[4] for row in table.rows[2:]] == ["3.50 × 10¹⁰", "0"]
    assert table.rows[3][-1] == "–"  # it sampled nothing, at no speed
    assert table.total[4] == "1.75 × 10¹¹"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (math.nan, "–"),
        (59.96, "60.0 s"),
        (61.0, "1 min 01 s"),
        (3599.7, "1 h 00 min"),
        (7384.0, "2 h 03 min"),
    ],
)
def test_durations_read_naturally(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_provenance_states_what_all_runs_share_once_and_counts_what_differs() -> None:
    records = {
        str(index): Record("done", provenance={"python": "3.11", "host": {"gpu": name, "diff": "a\nb"}, "dirty": False})
        for index, name in enumerate(["H100", "A100", "H100"])
    }
    top, host = merge_provenance(records)
    assert (top.name, top.entries) == ("", (("dirty", "false"), ("python", "3.11")))
    assert host.name == "host"
    assert host.entries == (("diff", "2 lines, 3 characters; kept in MLflow"), ("gpu", "H100 (n=2); A100 (n=1)"))
