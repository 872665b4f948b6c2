"""Table 3 as it is planned: pictures of its own trainings, at the guidance of the paper's figures."""

from __future__ import annotations

from orchestration.plan.plan import make_plan
from orchestration.spec.load import load_sweep
from tests.orchestration.conftest import ROOT


def test_galleries_show_one_draw_at_guidance_4_5_and_cost_no_training() -> None:
    plan = make_plan(load_sweep(ROOT / "sweeps" / "table3.yaml"))
    trials = {(trial.part, trial.row): trial for trial in plan.trials}
    rows = [row for part, row in trials if part == "gallery"]
    assert rows == ["flux", "flux_ft", "flux_dfm"]
    shown = [plan.evaluation(trials["gallery", row].evaluations[-1][1]) for row in rows]
    assert [trials["gallery", row].trains for row in rows] == [trials["flux", row].trains for row in rows]
    assert {task.config.sampling.guidance for task in shown} == {4.5}
    assert {task.config.evaluation.num_samples for task in shown} == {40}
    # What decides captions, shapes and noise of a column.
    draws = [(task.payload["evaluation"]["seed"], task.payload["references"]) for task in shown]
    assert draws == [(shown[0].config.evaluation.seed, {})] * 3
    tables = [plan.evaluation(trials["flux", row].evaluations[-1][1]) for row in rows]
    assert {task.config.sampling.guidance for task in tables} == {3.0}
