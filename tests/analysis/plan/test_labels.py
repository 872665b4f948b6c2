"""Short labels are shown in the place of the sweep's, by which published numbers are found."""

from __future__ import annotations

import json

from analysis.plan.read import parse_plan
from orchestration.plan.plan import make_plan
from orchestration.plan.plan_json import plan_json
from orchestration.spec.load import load_sweep
from tests.orchestration.conftest import QUICKSTART, ROOT

BASELINE = "primary={metric: fd_lite0_block10, baseline: 'first_stage_probability=0.7, tau=0.7'}"


def test_parts_trials_and_the_baseline_have_the_short_labels() -> None:
    plan = parse_plan(plan_json(make_plan(load_sweep(QUICKSTART, [BASELINE])), "sqlite:///x"))
    part = plan.parts[1]
    assert part.rows[0] == "p₀ 0.7, τ 0.7"
    assert part.label_in_sweep(part.rows[0]) == "first_stage_probability=0.7, tau=0.7"
    assert part.settings[part.rows[0]]["sampling.tau"] == 0.7
    assert {trial.row for trial in plan.trials if trial.part == "stages"} == set(part.rows)
    assert plan.primary.baseline == part.rows[0]
    assert plan.parts[0].rows == ("flow matching", "DFM")


def test_a_plan_of_an_earlier_version_keeps_its_labels() -> None:
    document = json.loads(plan_json(make_plan(load_sweep(QUICKSTART)), "sqlite:///x"))
    for part in document["parts"]:
        for row in part["rows"]:
            row.pop("short", None)
    plan = parse_plan(json.dumps(document))
    assert plan.parts[1].rows[0] == "first_stage_probability=0.7, tau=0.7"


def test_every_grid_of_the_papers_tables_finds_its_numbers() -> None:
    from analysis.comparison.joined_sweep import JoinedSweep
    from analysis.records.record import Record

    plan = parse_plan(plan_json(make_plan(load_sweep(ROOT / "sweeps" / "table1.yaml")), "sqlite:///x"))
    records = dict.fromkeys(plan.kinds, Record("done", {"fid": 30.0, "fdd": 500.0, "inception_score": 40.0}))
    comparisons = JoinedSweep.of(plan, records).comparisons
    first = next(one for one in comparisons if one.section.part.name == "a_first_stage_probability")
    published = [row.published.value for row in first.metrics[0].rows if row.published is not None]
    assert len(published) == 4
    assert first.lacking == ()
    assert [row.label for row in first.metrics[0].rows] == ["p₀ 0.7", "p₀ 0.8", "p₀ 0.9", "p₀ 0.95"]
