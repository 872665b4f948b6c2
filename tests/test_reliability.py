"""docs/reliability.md: a row for each fault, and every test that it names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NUM_FAULTS = 33
ROWS = [line for line in (ROOT / "docs" / "reliability.md").read_text().splitlines() if re.match(r"\| \d+ \|", line)]
TESTS = [
    (int(line.split("|")[1]), test, apart)
    for line in ROWS
    for test, apart in re.findall(r"`(tests/[\w/]+\.py::\w+)`(?: \((slow|multihost)\))?", line)
]


def test_every_fault_has_a_row_with_a_test_or_says_that_it_is_open() -> None:
    assert [int(line.split("|")[1]) for line in ROWS] == list(range(1, NUM_FAULTS + 1))
    named = {number for number, _, _ in TESTS}
    assert {number for number, line in enumerate(ROWS, start=1) if "**open**" not in line} <= named


@pytest.mark.parametrize(("number", "test", "apart"), TESTS)
def test_the_tests_it_names_are_there_and_run_where_it_says(number: int, test: str, apart: str) -> None:
    path, _, name = test.partition("::")
    source = (ROOT / path).read_text()
    definition = re.search(rf"((?:^@.*\n|^    .*\n|^\)\n)*)^def {name}\(", source, re.MULTILINE)
    assert definition, f"row {number} names {test}"
    marks = re.findall(r"pytest\.mark\.(slow|multihost)", definition.group(1))
    assert marks == [apart] * bool(apart), f"row {number}: {test}"


def test_the_clock_on_the_wall_is_read_only_to_be_shown() -> None:
    """Intervals are monotonic, and what came first is told by steps, beats and epochs."""
    readers = {
        path.relative_to(ROOT).as_posix()
        for package in ("dfm_core", "orchestration", "analysis")
        for path in (ROOT / package).rglob("*.py")
        if re.search(r"\btime\.time(_ns)?\(|\bdatetime\.(now|utcnow|today)\(|\btime\.time\b", path.read_text())
    }
    shown = {
        "orchestration/diagnosis/check_nodes.py",  # how far the clocks of nodes are apart, for people
        "orchestration/control/heartbeat_writer.py",  # when a beat was written, for people
        "orchestration/data/kept_listings.py",  # when a dataset was listed, for people
        "orchestration/search/draft_storage.py",  # when a trial was proposed, as Optuna shows it
        "orchestration/launch/waiting_notice.py",  # since when something waits, for people
        "orchestration/tracking/mlflow_tracker.py",  # MLflow wants a time for each point; its readers go by step
    }
    trusted_only_if_seen_to_go_on = {"orchestration/control/heartbeat.py"}
    assert readers == shown | trusted_only_if_seen_to_go_on
