"""Ablations: which settings become axes, and which rows a line joins."""

from __future__ import annotations

import json
import math
from typing import Any

from analysis.comparison.joined_sweep import JoinedSweep
from analysis.drawing.chart import Chart, Line, Panel
from analysis.figures.ablation import collect_ablations
from analysis.figures.settings_axes import find_varying_settings
from analysis.plan.read import parse_plan
from analysis.records.record import Record
from tests.support.plans import evaluate_digest, plan_document

STEPS = {
    f"{first}+{second}, guidance {guidance:g}": {"sampling.steps": [first, second], "sampling.guidance": guidance}
    for guidance in (1.0, 1.5)
    for first, second in ((10, 10), (20, 10), (30, 10), (30, 5), (30, 15))
}


def charts_of(rows: dict[str, dict[str, Any]], values: dict[str, float]) -> dict[str, Chart]:
    document = plan_document(parts={"p": tuple(rows)})
    for row in document["parts"][0]["rows"]:
        row["settings"] = rows[row["label"]]
    records = {evaluate_digest(row, 200): Record("done", {"fd": value}) for row, value in values.items()}
    groups = collect_ablations(JoinedSweep.of(parse_plan(json.dumps(document)), records))
    return {chart.name: chart for group in groups for chart in group.charts}


def lines_of(chart: Chart) -> dict[str, Line]:
    (panel,) = chart.panels
    assert isinstance(panel, Panel)
    return {line.label: line for line in panel.lines}


def test_a_list_of_steps_has_an_axis_a_stage_and_lines_join_otherwise_equal_rows() -> None:
    charts = charts_of(STEPS, {row: float(sum(s["sampling.steps"])) for row, s in STEPS.items()})
    assert list(charts) == ["ablation-1-p-sampling.steps-0", "ablation-1-p-sampling.steps-1"], "guidance has two values"
    first = lines_of(charts["ablation-1-p-sampling.steps-0"])
    assert set(first) == {f"sampling steps of stage 1 = 10, guidance = {guidance}" for guidance in ("1", "1.5")}
    line = first["sampling steps of stage 1 = 10, guidance = 1"]
    assert (line.x, line.y) == ((10.0, 20.0, 30.0), (20.0, 30.0, 40.0))
    second = lines_of(charts["ablation-1-p-sampling.steps-1"])
    assert second["sampling steps of stage 0 = 30, guidance = 1.5"].x == (5.0, 10.0, 15.0)


def test_a_row_that_sets_nothing_has_its_default_and_one_off_the_axis_is_a_level() -> None:
    rows = {
        "0": {"training.location": 0.0},
        "tied": {"training.location": "tied"},
        "default": {},
        "2": {"training.location": 2.0},
    }
    document = plan_document(parts={"p": tuple(rows)})
    for row in document["parts"][0]["rows"]:
        row["settings"] = rows[row["label"]]
    document["tasks"]["train default 0"]["payload"] = {"training": {"location": 1.5}}
    plan = parse_plan(json.dumps(document))
    records = {evaluate_digest(row, 200): Record("done", {"fd": float(i)}) for i, row in enumerate(rows)}
    (group,) = collect_ablations(JoinedSweep.of(plan, records))
    (panel,) = group.charts[0].panels
    assert isinstance(panel, Panel)
    joined, level = panel.lines
    assert (joined.x, joined.y, joined.style) == ((0.0, 1.5, 2.0), (0.0, 2.0, 3.0), "line")
    assert (level.label, level.y, level.style) == ("tied", (1.0,), "level")
    assert group.charts[0].about.endswith("FD-Lite0 is best at 0 (0).")


def test_what_is_not_measured_yet_is_left_out_and_two_values_make_no_axis() -> None:
    rows = {f"tau={tau}": {"sampling.tau": [tau]} for tau in (0.5, 0.7, 0.9)}
    chart = charts_of(rows, {"tau=0.5": 2.0, "tau=0.9": math.nan})["ablation-1-p-sampling.tau"]
    assert lines_of(chart)[""].x == (0.5, 0.9)
    assert charts_of(rows, {"tau=0.5": 2.0}) == {}
    assert charts_of({row: rows[row] for row in list(rows)[:2]}, dict.fromkeys(rows, 1.0)) == {}


def test_lists_of_unequal_length_and_words_are_no_axes() -> None:
    settings = {"a": {"s": [1], "w": "x", "b": True}, "b": {"s": [1, 2], "w": "y", "b": False}}
    axes, others = find_varying_settings(settings)
    assert axes == ()
    assert others == {"a": {"s": "[1]", "w": "x", "b": "true"}, "b": {"s": "[1, 2]", "w": "y", "b": "false"}}


def test_rows_of_different_protocols_say_so() -> None:
    rows = {f"tau={tau}": {"sampling.tau": tau} for tau in (0.5, 0.7, 0.9)}
    document = plan_document(parts={"p": tuple(rows)})
    for row in document["parts"][0]["rows"]:
        row["settings"] = rows[row["label"]]
    document["tasks"][evaluate_digest("tau=0.5", 200)]["protocols"]["fd"]["num_samples"] = 9
    records = {evaluate_digest(row, 200): Record("done", {"fd": 1.0}) for row in rows}
    (group,) = collect_ablations(JoinedSweep.of(parse_plan(json.dumps(document)), records))
    assert group.charts[0].caption.startswith("These lines do not compare: num_samples is 9 (tau=0.5)")
