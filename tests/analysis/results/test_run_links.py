"""From a number of a table, in whatever format, to its runs."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace

import pytest

from analysis.comparison.joined_sweep import JoinedSweep
from analysis.records.record import Record
from analysis.report.build import render_report
from analysis.results.run_links import RunLink, link_runs
from tests.support.plans import evaluate_digest, make_plan

PLAN = make_plan(
    parts={"p": ("flow_matching", "dfm")},
    seeds=(0, 1),
    published={"table": "table2", "metrics": {"fd": "fid_50k"}, "same_setting": False},
    counterparts={"p": {"part": "imagenet_512", "guidance": 1.0}},
)
FIRST, SECOND = (evaluate_digest("dfm", 200, seed) for seed in (0, 1))
LINK = "http://server/#/experiments/1/runs/"


def report(records: dict[str, Record]) -> dict[str, str]:
    found = render_report(JoinedSweep.of(PLAN, records))
    return {name: data.decode() for name, data in found.items() if name.endswith((".md", ".csv", ".tex", ".html"))}


def done(digest: str, run_id: str, url: str = "", path: str = "") -> dict[str, Record]:
    return {digest: Record("done", {"fd": 2.0, "accuracy": 0.5}, run_id=run_id, url=url, path=path)}


@pytest.fixture(scope="module")
def linked() -> dict[str, str]:
    """A report of two seeds of one row, and of real images, behind a server."""
    return report(
        {
            **done(SECOND, "b", f"{LINK}b"),
            **done(FIRST, "a", f"{LINK}a"),
            **done("floor", "c", f"{LINK}c"),
        }
    )


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.parametrize("name", ["table.md", "tables/01-p.md", "comparison.md"])
def test_a_row_in_markdown_links_its_runs_seed_by_seed(linked: dict[str, str], name: str) -> None:
    lines = linked[name].splitlines()
    tables = [cells(line)[-1] for line in lines if line.startswith(("|  |", "| dfm |", "| flow"))]
    links = f"[`{FIRST[:12]}`]({LINK}a) [`{SECOND[:12]}`]({LINK}b)"
    assert tables == ["runs", "–", links] * (2 if name.startswith("tables/") else 1)
    assert [cells(line)[-1] for line in lines if line.startswith("| real")] == (
        [] if name == "comparison.md" else [f"[`floor`]({LINK}c)"]
    )


def test_the_page_links_the_runs_in_both_tables(linked: dict[str, str]) -> None:
    found = re.findall(r'<td class="runs">(.*?)</td>', linked["report.html"])
    links = f'<a href="{LINK}a"><code>{FIRST[:12]}</code></a> <a href="{LINK}b"><code>{SECOND[:12]}</code></a>'
    assert found == ["–", links, f'<a href="{LINK}c"><code>floor</code></a>', "–", links]


@pytest.mark.parametrize("name", ["table.tex", "tables/01-p.tex", "tables/01-p-beside-paper.tex"])
def test_latex_says_so_in_a_comment_above_the_row(linked: dict[str, str], name: str) -> None:
    lines = linked[name].splitlines()
    (place,) = [index for index, line in enumerate(lines) if line.startswith("dfm &")]
    assert lines[place - 1] == f"% {LINK}a {LINK}b"
    assert not any(line.startswith("%") for line in lines[1 : place - 1])


def test_csv_has_a_column_of_them(linked: dict[str, str]) -> None:
    lines = list(csv.DictReader(io.StringIO(linked["table.csv"])))
    found = {(line["row"], line["seed"], line["step"], line["metric"]): line["source"] for line in lines}
    assert found["dfm", "0", "200", "fd"] == f"{LINK}a"
    assert found["dfm", "1", "200", "accuracy"] == f"{LINK}b"
    assert {found["dfm", "0", "100", "fd"], found["flow_matching", "0", "200", "fd"]} == {""}
    lines = list(csv.DictReader(io.StringIO(linked["tables/01-p.csv"])))
    assert {line["sources"] for line in lines if line["row"] == "dfm"} == {f"{LINK}a {LINK}b"}


def test_without_a_server_a_run_is_named_by_its_digest_and_in_csv_by_its_id() -> None:
    files = report(done(FIRST, "a"))
    (line,) = [line for line in files["table.md"].splitlines() if line.startswith("| dfm")]
    assert cells(line)[-1] == f"`{FIRST[:12]}`"
    assert f'<code title="a">{FIRST[:12]}</code>' in files["report.html"]
    assert f"% {FIRST[:12]}\n" in files["table.tex"]
    assert ",a," in files["table.csv"]


def test_a_record_is_named_by_its_file() -> None:
    path = f"results/{FIRST}/result.json"
    files = report(done(FIRST, "", path=path))
    assert f",{path}," in files["table.csv"]
    assert f'<code title="{path}">' in files["report.html"]


def test_a_hostile_plan_adds_neither_columns_nor_lines() -> None:
    (link,) = link_runs(["a|`\n\\x"], {"a|`\n\\x": Record("done", run_id="r", url="http://s/(x) `|\n<b>")})
    assert link.label == "a????x"
    assert link.url == "http://s/%28x%29%20%60%7C%0A%3Cb%3E"


def test_of_what_was_never_recorded_there_is_no_link_and_no_column() -> None:
    assert link_runs([FIRST, SECOND], {SECOND: Record("failed", run_id="b")}) == (RunLink(SECOND, "", "b"),)
    assert link_runs([FIRST], {FIRST: replace(Record("missing"), notes=("deleted",))}) == ()
    files = report({})
    assert "runs |" not in files["table.md"]
    assert 'class="runs"' not in files["report.html"]
