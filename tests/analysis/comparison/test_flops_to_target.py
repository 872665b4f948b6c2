"""FLOPs to reach a target, as text, CSV and for LaTeX; the figure's tests have the values by hand."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest

from analysis.comparison.flops_to_target import Target
from analysis.comparison.joined_sweep import JoinedSweep
from analysis.plan.read import parse_plan
from analysis.records.record import Record
from analysis.report.build import render_report
from analysis.text.cost_tables import make_reach_table, reach_lines
from tests.support.plans import FLOPS_PER_STEP, evaluate_digest, plan_document, train_digest

PARADIGMS = {"fm": "flow_matching", "ours": "dfm", "slow": "dfm"}
VALUES = {"fm": ((9.0, 4.0), (9.5, 4.1)), "ours": ((6.0, 2.0), (6.2, 2.1)), "slow": ((9.9, 5.0), (9.9, 5.2))}


def joined(*declared: float) -> JoinedSweep:
    document = plan_document(parts={"p": tuple(PARADIGMS)}, seeds=(0, 1))
    for row, paradigm in PARADIGMS.items():
        for seed in (0, 1):
            document["tasks"][train_digest(row, seed)]["paradigm"] = paradigm
    records = {
        evaluate_digest(row, step, seed): Record("done", {"fd": value})
        for row, seeds in VALUES.items()
        for seed, values in enumerate(seeds)
        for step, value in zip((100, 200), values, strict=True)
    }
    plan = parse_plan(json.dumps(document))
    return JoinedSweep.of(replace(plan, primary=replace(plan.primary, targets=declared)), records)


def targets_of(sweep: JoinedSweep) -> list[Target]:
    return [target for target, _ in sweep.targets["p"] if target is not None]


def test_a_line_says_flops_share_and_how_sure_it_is() -> None:
    found = {line["row"]: line for line in reach_lines(targets_of(joined()))}
    # ours falls from 6.1 to 2.05, the baselines' best is 4.05
    steps = 100 + 100 * (6.1 - 4.05) / (6.1 - 2.05)
    assert found["ours"]["flops"] == pytest.approx(steps * FLOPS_PER_STEP)
    assert found["ours"]["share"] == pytest.approx(steps / 200)
    assert (found["slow"]["end"], found["slow"]["share_high"]) == ("at least", None)
    assert found["fm"]["share"] == 1
    assert found["ours"]["num_common_seeds"] == 2
    assert 0 < found["ours"]["share_low"] <= found["ours"]["share"] <= found["ours"]["share_high"]


def test_a_table_has_a_column_for_each_target() -> None:
    table = make_reach_table(targets_of(joined(3.0)))
    assert table is not None
    assert table.header == ("training FLOPs to", "FD-Lite0 4.05, best of fm", "FD-Lite0 3")
    assert [row[0] for row in table.rows] == ["fm", "ours", "slow"]
    assert table.rows[0][2].startswith("not reached by")
    assert make_reach_table([]) is None


def test_a_row_without_a_common_seed_is_left_out_by_name() -> None:
    sweep = joined()
    for step in (100, 200):  # slow has seed 1 alone, fm seed 0 alone
        for digest in (evaluate_digest("slow", step, 0), evaluate_digest("fm", step, 1)):
            assert isinstance(sweep.records, dict)
            del sweep.records[digest]
    (target,) = targets_of(JoinedSweep.of(sweep.plan, sweep.records))
    assert (target.left_out, target.num_seeds) == (("slow",), 1)
    table = make_reach_table([target])
    assert table is not None
    assert table.header[1].endswith("best of fm, without slow")


def test_the_report_has_it_for_papers_and_as_data() -> None:
    files = render_report(joined())
    (line,) = [
        line for line in csv.DictReader(io.StringIO(files["tables/01-p-reach.csv"].decode())) if line["row"] == "ours"
    ]
    assert (line["baseline"], line["declared"], line["end"]) == ("fm", "no", "exact")
    assert r"best of fm" in files["tables/01-p-reach.tex"].decode()
    assert "training FLOPs to" in files["tables/01-p.md"].decode()
    drawn = next(
        text.decode() for name, text in files.items() if name.startswith("figures/reach") and name.endswith("csv")
    )
    assert len(next(csv.DictReader(io.StringIO(drawn)))["low"]) > 0
