"""The folder of tables: whole, linked, the same bytes each time."""

from __future__ import annotations

import csv
import io
import re

import pytest

from analysis.comparison.joined_sweep import JoinedSweep
from analysis.plan.model import PublishedPlan
from analysis.records.record import Record
from analysis.report.paper_folder import paper_files
from analysis.text.comparison_text import make_text_comparison
from analysis.text.text_tables import make_text_tables
from tests.support.plans import beside_table2, evaluate_digest, make_plan

SEEDS = (0, 1, 2)
FD = {"flow_matching": 31.0, "pyramidal_flow": 29.0, "dfm": 20.0, "ours": 18.0}


def files_of(plan: PublishedPlan, records: dict[str, Record]) -> dict[str, str]:
    joined_sweep = JoinedSweep.of(plan, records)
    tables = make_text_tables(plan, joined_sweep.sections)
    comparison = make_text_comparison(plan, joined_sweep.sections, joined_sweep.comparisons)
    found = paper_files(joined_sweep, tables, comparison)
    return {name.removeprefix("tables/"): data.decode() for name, data in found.items()}


def half_finished() -> tuple[PublishedPlan, dict[str, Record]]:
    """Table 2 without cascaded, which failed at one seed and runs at another."""
    plan = beside_table2(seeds=SEEDS, same_setting=True)
    records = {
        evaluate_digest(row, 200, seed): Record(
            "done", {"fd": fd + seed / 10, "fd_standard_error": 0.2, "accuracy": fd / 100}
        )
        for row, fd in FD.items()
        for seed in SEEDS
    }
    records |= {
        evaluate_digest("cascaded", 200, 0): Record("failed"),
        evaluate_digest("cascaded", 200, 1): Record("running"),
    }
    del records[evaluate_digest("flow_matching", 200, 2)]
    return plan, records


def lines(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_each_part_has_its_files_and_the_readme_links_all_of_them() -> None:
    plan = make_plan(parts={"one/part": ("a", "b"), "two": ("c",)})
    files = files_of(plan, {})
    assert set(files) == {
        "README.md", "published.csv", "published.md",
        "01-one-part.md", "01-one-part.csv", "01-one-part.tex", "02-two.md", "02-two.csv", "02-two.tex",
    }  # fmt: skip
    linked = re.findall(r"\]\(([^)]+)\)", files["README.md"])
    assert set(linked) == set(files) - {"README.md"}
    beside = files_of(*half_finished())
    assert "01-main-beside-paper.tex" in re.findall(r"\]\(([^)]+)\)", beside["README.md"])


def test_the_same_numbers_give_the_same_bytes() -> None:
    assert files_of(*half_finished()) == files_of(*half_finished())


def test_a_line_of_the_csv_says_all_of_a_cell() -> None:
    found = {(line["row"], line["metric"]): line for line in lines(files_of(*half_finished())["01-main.csv"])}
    dfm = found["dfm", "fd"]
    assert {key: dfm[key] for key in ("mean", "interval_of", "num_seeds_done", "num_seeds", "best", "status")} == {
        "mean": repr((20.0 + 20.1 + 20.2) / 3),
        "interval_of": "seeds and samples",
        "num_seeds_done": "3",
        "num_seeds": "3",
        "best": "no",
        "status": "done",
    }
    assert float(dfm["deviation_over_seeds"]) == pytest.approx(0.1)
    assert float(dfm["standard_error_of_samples"]) == pytest.approx(0.2)
    assert float(dfm["difference_from_best"]) == pytest.approx(2.0)
    assert (dfm["separable_from_best"], dfm["paper"], dfm["paper_metric"]) == ("yes", "4.28", "fid_50k")
    assert (dfm["verdict"], dfm["kendall_rows"], float(dfm["kendall_tau"])) == ("worse", "3", 1.0)
    assert dfm["evaluate_digests"] == " ".join(evaluate_digest("dfm", 200, seed) for seed in SEEDS)
    assert found["ours", "fd"]["best"] == "yes"
    assert found["ours", "fd"]["separable_from_best"] == ""
    assert found["ours", "fd"]["verdict"] == ""
    assert (found["flow_matching", "fd"]["num_seeds_done"], found["flow_matching", "fd"]["num_seeds"]) == ("2", "3")
    assert (found["cascaded", "fd"]["status"], found["cascaded", "fd"]["paper"]) == ("failed", "5.68")


def test_rows_that_only_the_paper_has_come_last() -> None:
    plan, records = half_finished()
    plan = make_plan(
        parts={"main": ("dfm", "ours")},
        published={"table": "table2", "metrics": {"fd": "fid_50k"}, "same_setting": False},
        counterparts={"main": {"part": "imagenet_512", "guidance": 1.5}},
    )
    found = lines(files_of(plan, records)["01-main.csv"])
    assert [(line["row"], line["metric"], line["paper"]) for line in found if line["status"] == "not in the sweep"] == [
        ("flow_matching", "fd", "4.73"),
        ("cascaded", "fd", "5.68"),
        ("pyramidal_flow", "fd", "4.57"),
    ]
    assert [line["verdict"] for line in found if line["row"] == "dfm" and line["metric"] == "fd"] == ["not comparable"]


def test_the_papers_tables_are_there_whether_a_sweep_has_them_or_not() -> None:
    files = files_of(make_plan(), {})
    found = lines(files["published.csv"])
    assert len(found) == 252  # 255 printed, 3 of them corrections
    (flux,) = [line for line in found if (line["row"], line["metric"]) == ("flux_dfm", "clipsim")]
    assert (flux["value"], flux["guidance"], flux["num_samples"], flux["page"]) == ("0.3381", "3.0", "10000", "10")
    assert "## Table 4, autoencoder, guidance 1.0" in files["published.md"].replace("guidance 1,", "guidance 1.0,")
    assert "50.61 (camera-ready 40.60)" in files["published.md"]
    assert "| dfm | **9.77** | **200.6** | **77.9** |" in files["published.md"]
    assert r"| flux\_ft | 12.56 | 153.6 | 0.3261 |" in files["published.md"]


def test_a_half_finished_part_is_a_half_filled_table() -> None:
    text = files_of(*half_finished())["01-main.md"]
    assert "| cascaded | failed | failed |" in text
    assert "(n=2 of 3)" in text
    assert "running" not in text, "of a cell without a value the worst shows"
    assert "## Beside the paper" in text
    assert "Kendall's tau 1.00 (n = 3 rows; 95% interval" in text
