"""What the doctor makes of what it finds: each row that is not well says what to do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestration.diagnosis.check_collectives import Collective
from orchestration.diagnosis.check_nodes import NodeReport
from orchestration.diagnosis.check_report import CheckResult, collective_row, node_rows

VERSIONS = {"python": "3.11.7", "ray": "2.60.0", "torch": "2.13.0", "deepspeed": "0.19.8", "this project": "abc"}
WELL = NodeReport("10.0.0.1 (a)", VERSIONS, (), 0.0, 10**12, 0.001, 0.002, "", 0.5)
H100 = "NVIDIA H100, 81559 MiB, 570.1"


def rows(*reports: NodeReport) -> dict[tuple[str, str], CheckResult]:
    return {(row.check, row.where): row for row in node_rows(reports)}


def failed(*reports: NodeReport) -> set[tuple[str, str]]:
    found = rows(*reports)
    assert all(row.advice for row in found.values() if row.state != "ok")
    return {place for place, row in found.items() if row.state == "FAILED"}


def test_nodes_that_are_alike_are_well() -> None:
    found = rows(WELL, replace(WELL, name="b"))
    assert not failed(WELL, replace(WELL, name="b"))
    assert found["versions", "2 node(s)"].found.endswith("python 3.11.7, ray 2.60.0, torch 2.13.0, deepspeed 0.19.8")
    assert found["storage", "b"].found == "wrote, read back and removed 4 MB, 16 MB/s"


@pytest.mark.parametrize("key", VERSIONS)
def test_a_version_that_differs_on_one_node_is_named_with_its_node(key: str) -> None:
    other = replace(WELL, name="b", versions={**VERSIONS, key: "other"})
    assert failed(WELL, other) == {("versions", key)}
    assert rows(WELL, other)["versions", key].found == f"{VERSIONS[key]} on 10.0.0.1 (a); other on b"


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"storage_problem": "PermissionError: no"}, ("storage", "b")),
        ({"clock_seconds": 2.01}, ("clock", "b")),
        ({"clock_seconds": -3600.0}, ("clock", "b")),
        ({"free_bytes": 19_999_999_999}, ("disk", "b")),
        ({"ray_gpus": 8.0}, ("GPUs", "b")),
        ({"gpus": (H100,)}, ("GPUs", "b")),
        ({"problem": "RayActorError: gone"}, ("node", "b")),
    ],
)
def test_what_is_wrong_with_one_node_is_told_of_that_node_alone(
    change: dict[str, object], place: tuple[str, str]
) -> None:
    assert failed(WELL, replace(WELL, name="b", **change)) == {place}  # type: ignore[arg-type]


def test_a_clock_that_cannot_be_told_from_a_right_one_is_right() -> None:
    assert not failed(replace(WELL, clock_seconds=2.5, clock_error_seconds=0.6))


def test_a_node_that_says_nothing_is_beside_no_other() -> None:
    silent = NodeReport("b", problem="it does not answer")
    assert set(rows(WELL, silent)) > {("node", "b"), ("versions", "1 node(s)")}
    assert ("storage", "b") not in rows(WELL, silent)


def test_gpus_of_one_kind_are_counted_and_those_of_several_are_to_be_thought_about() -> None:
    eight = replace(WELL, gpus=(H100,) * 8, ray_gpus=8.0)
    assert rows(eight, replace(eight, name="b"))["GPUs", "all nodes"].found == f"16 of {H100}"
    mixed = rows(eight, replace(WELL, name="b", gpus=("L4",), ray_gpus=1.0))["GPUs", "all nodes"]
    assert (mixed.state, mixed.found) == ("note", f"9 of 2 kinds: L4; {H100}")


@pytest.mark.parametrize(
    ("found", "state"),
    [
        (Collective(2, "gloo", 64_000_000, 5.1e7), "ok"),
        (Collective(2, "gloo", 64_000_000, 4.9e7), "FAILED"),
        (Collective(8, "nccl", 64_000_000, 9e8), "FAILED"),
        (Collective(8, "nccl", 64_000_000, 2e11), "ok"),
        (Collective(1, "nccl", 64_000_000, 0.0), "ok"),
        (Collective(2, "gloo", problem="RuntimeError: no route"), "FAILED"),
        (Collective(1, "nccl", problem="RuntimeError: no driver"), "FAILED"),
    ],
)
def test_a_network_that_trainings_would_wait_for_is_told(found: Collective, state: str) -> None:
    row = collective_row(found)
    assert row.state == state
    assert bool(row.advice) is (state != "ok")
