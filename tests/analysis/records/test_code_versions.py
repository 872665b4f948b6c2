"""Versions of the code: told apart by the code itself, not by commits of anything else."""

from __future__ import annotations

import pytest

from analysis.records.code_versions import versions_note
from analysis.records.record import Record
from tests.support.plans import evaluate_digest, make_plan


def note(first: dict[str, str], second: dict[str, str]) -> str:
    records = {
        evaluate_digest("DFM", step): Record("done", {"fd": 1.0}, provenance={"source": source})
        for step, source in ((100, first), (200, second))
    }
    return versions_note(make_plan(), records)


def test_the_same_code_in_two_commits_is_one_version() -> None:
    first = {"git_commit": "a" * 40, "source_digest": "5" * 64, "uncommitted_diff": ""}
    assert note(first, first | {"git_commit": "b" * 40}) == ""
    assert note(first, first | {"git_commit": "unknown: no git here"}) == ""


@pytest.mark.parametrize("change", [{"source_digest": "6" * 64}, {"source_digest": "", "git_commit": "b" * 40}])
def test_other_code_is_another_version(change: dict[str, str]) -> None:
    first = {"git_commit": "a" * 40, "source_digest": "5" * 64, "uncommitted_diff": ""}
    assert note(first, first | change).startswith("The numbers come from 2 versions of the code")
