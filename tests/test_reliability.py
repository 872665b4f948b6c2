"""docs/reliability.md: a row for each fault, and tests that are marked to prove it."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NUM_FAULTS = 33
MAKER = runpy.run_path(str(ROOT / "docs" / "make_proofs.py"))


def test_every_fault_has_a_test_that_proves_it_or_says_that_it_is_open() -> None:
    faults = MAKER["faults"]()
    assert [*faults] == list(range(1, NUM_FAULTS + 1))
    assert {number for number, fault in faults.items() if "**open**" not in fault} == MAKER["proofs"]().keys()


def test_the_page_of_proofs_is_what_the_marks_say() -> None:
    assert MAKER["PAGE"].read_text() == MAKER["page"](), "python docs/make_proofs.py writes it"


def test_a_proof_is_run_where_its_page_says() -> None:
    by_name = {proof.name: proof for proofs in MAKER["proofs"]().values() for proof in proofs}
    apart = by_name["test_a_killed_sweep_on_s3_is_continued_to_the_table_of_the_local_one"]
    assert (apart.path, apart.target) == ("tests/e2e/test_s3.py", "make test-slow")
    assert by_name["test_a_flipped_bit_sends_us_to_the_checkpoint_before"].target == "make test"


@pytest.mark.proves(23)
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
