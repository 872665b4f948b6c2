"""The declared primary metric: what it may name, and how it reaches the published plan."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestration.common.errors import UserError
from orchestration.plan.plan import make_plan
from orchestration.plan.plan_json import plan_json
from orchestration.spec.load import load_sweep

ROWS = "parts: {p: {rows: {A: {}, B: {sampling.tau: [0.9]}}}}\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "sweep.yaml"
    path.write_text(f"name: a\n{text}")
    return path


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("{metric: fid}", "primary.metric: fid is not measured; evaluation.metrics has fd_lite0_block10"),
        ("{metric: fd_lite0_blok}", "primary.metric"),
        ("{}", "primary.metric: is needed"),
        ("{metric: label_accuracy, parts: [q]}", "primary.parts: 'q' is not a part"),
        ("{metric: label_accuracy, baseline: C}", "primary.baseline: 'C' is not a row"),
        ("{metric: label_accuracy, difference: 0}", "primary.difference"),
        ("5", "primary: 5 must be a mapping"),
    ],
)
def test_a_mistake_is_told_at_its_place(tmp_path: Path, given: str, expected: str) -> None:
    with pytest.raises(UserError, match="primary") as caught:
        load_sweep(write(tmp_path, f"primary: {given}\n{ROWS}"))
    assert expected in str(caught.value)


def test_the_published_plan_has_what_is_declared_or_the_first_metric(tmp_path: Path) -> None:
    declared = load_sweep(write(tmp_path, f"primary: {{metric: label_accuracy, baseline: A, targets: [0.5]}}\n{ROWS}"))
    document = json.loads(plan_json(make_plan(declared), ""))
    assert document["primary"] == {
        "metric": "label_accuracy", "parts": [], "baseline": "A", "difference": 0.1, "spread": None, "targets": [0.5],
        "bands": "pointwise", "declared": True,
    }  # fmt: skip
    undeclared = make_plan(load_sweep(write(tmp_path, ROWS)))
    primary = json.loads(plan_json(undeclared, ""))["primary"]
    assert (primary["metric"], primary["declared"]) == ("fd_lite0_block10", False)
    assert undeclared.tasks.keys() == make_plan(declared).tasks.keys(), "no digest knows of it"
    scales = {entry["name"]: entry["scale"] for entry in document["metrics"]}
    assert scales["fd_lite0_block10"] == "log"
    assert scales["label_accuracy"] == "share"
