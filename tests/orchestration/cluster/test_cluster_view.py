"""A launch's view of its cluster by what Ray says of nodes and claims; without Ray."""

from __future__ import annotations

from typing import Any

import pytest

from orchestration.cluster import cluster_view
from orchestration.cluster.capacity import Capacity, NodeSize
from orchestration.cluster.cluster_view import ClusterView
from orchestration.cluster.node_types import NodeType, NodeTypes
from orchestration.config.workers import WorkersConfig
from orchestration.control.heartbeat import Waiting
from orchestration.private.ray import Claim

WORKERS = WorkersConfig(num_workers=2, wait_for_workers_seconds=100.0)
TWO_MORE = NodeTypes((NodeType("worker", NodeSize(2), 2),), 2)
HEAD = {"NodeID": "head", "Resources": {"CPU": 1.0, "node:__internal_head__": 1.0}}


class Seen:
    """A view whose time and claims a test sets."""

    def __init__(self, workers: WorkersConfig = WORKERS, node_types: NodeTypes | None = TWO_MORE) -> None:
        self.now, self.claims, self.nodes = 1000.0, list[Claim](), [HEAD]
        self.free: dict[str, dict[str, float]] = {}
        self._view = ClusterView(workers, node_types, lambda: self.now)

    def look(self, seconds: float = 1.0, draining: tuple[str, ...] = ()) -> Capacity:
        self.now += seconds
        return self._view.seen(self.nodes, self.claims, self.free, draining)

    def joins(self, name: str, cpus: float = 2.0) -> None:
        self.nodes = [*self.nodes, node(name, cpus)]


def node(name: str, cpus: float) -> dict[str, Any]:
    return {"NodeID": name, "Resources": {"CPU": cpus}}


def waits(group: str) -> list[Claim]:
    return [Claim(group, True, "", 1.0, 0.0, True)] * 2


def holds(owner: str, where: str, cpus: float) -> Claim:
    return Claim(owner, False, where, cpus, 0.0, False)


def test_nodes_that_can_come_shrink_as_they_join_and_draining_ones_do_not_count() -> None:
    seen = Seen()
    assert seen.look() == Capacity((NodeSize(1),), coming=(NodeSize(2), NodeSize(2)))
    seen.joins("a")
    assert seen.look() == Capacity((NodeSize(1), NodeSize(2)), coming=(NodeSize(2),))
    seen.joins("b")
    assert seen.look(draining=("a",)) == Capacity((NodeSize(1), NodeSize(2)))  # its place is free once it has gone


def test_what_waits_is_told_by_kind_since_it_was_first_seen() -> None:
    seen = Seen()
    seen.claims = waits("first")
    (waiting,) = seen.look().waiting
    assert waiting == Waiting("1 training, each for 2 workers with 1 CPU", 0.0)
    seen.claims = [*waits("first"), *waits("second"), Claim("actor", False, "head", 1.0, 0.0, True)]
    training, evaluator = seen.look(10).waiting
    assert training == Waiting("2 trainings, each for 2 workers with 1 CPU", 10.0)
    assert evaluator == Waiting("1 evaluator, each for 1 CPU", 0.0)
    seen.claims = [holds("actor", "head", 1.0)]
    assert seen.look().waiting == ()


def test_needs_of_gpus_are_named() -> None:
    seen = Seen(WorkersConfig(use_gpu=True, num_workers=8, cpus_per_worker=12))
    seen.claims = [Claim("group", True, "", 12.0, 1.0, True)]
    assert seen.look().waiting[0].what == "1 training, each for 8 workers with 12 CPUs and 1 GPU"


@pytest.mark.proves(33)
def test_a_node_that_does_not_come_in_time_is_expected_no_more_until_one_comes() -> None:
    seen = Seen()
    seen.look()
    seen.claims = waits("group")
    assert len(seen.look().coming) == 2
    assert len(seen.look(90).coming) == 2
    assert seen.look(1).coming == ()
    seen.claims = []
    assert seen.look().coming == ()
    seen.joins("a")
    assert len(seen.look().coming) == 1


def test_nodes_are_expected_again_after_a_long_pause() -> None:
    seen = Seen()
    seen.claims = waits("group")
    seen.look()
    assert seen.look(100).coming == ()
    assert seen.look(999).coming == ()
    assert len(seen.look(2).coming) == 2
    assert len(seen.look(89).coming) == 2
    assert seen.look(2).coming == ()


def test_a_node_that_joins_gives_the_others_their_time_again() -> None:
    seen = Seen()
    seen.claims = waits("group")
    seen.look()
    seen.joins("a")
    assert len(seen.look(80).coming) == 1
    assert len(seen.look(80).coming) == 1
    assert seen.look(20).coming == ()


def test_others_hold_what_is_neither_free_nor_ours_once_it_lasts() -> None:
    seen = Seen(node_types=None)
    seen.joins("a", 8.0)
    seen.claims, seen.free = [holds("actor", "a", 2.0)], {"head": {"CPU": 1.0}, "a": {"CPU": 3.0}}
    looks = [seen.look() for _ in range(cluster_view._LASTING_LOOKS)]
    assert all(look.others == () for look in looks[:-1])
    assert looks[-1].others == (NodeSize(0), NodeSize(3))
    seen.free["a"]["CPU"] = 5.0  # one of them ends: 1 of 8 is left to others, at once
    assert seen.look().others == (NodeSize(0), NodeSize(1))


def test_a_table_of_ray_that_lags_behind_another_is_nobodys_use() -> None:
    seen = Seen(node_types=None)
    seen.joins("a", 8.0)
    for round_ in range(40):  # a claim appears, or is gone, some looks before the free resources follow
        seen.claims = [holds("actor", "a", 4.0)] if round_ % 8 < 4 else []
        seen.free = {"a": {"CPU": 4.0 if 1 <= round_ % 8 < 5 else 8.0}}
        assert seen.look().others == ()


@pytest.mark.parametrize(("own", "coming"), [(False, 5), (True, 0)])
def test_a_user_can_promise_accelerators_that_nobody_knows_but_not_on_this_machine(
    monkeypatch: pytest.MonkeyPatch, own: bool, coming: int
) -> None:
    monkeypatch.setattr(cluster_view, "starts_its_own", lambda: own)
    seen = Seen(WorkersConfig(num_workers=2, cpus_per_worker=2, max_accelerators=6), node_types=None)
    seen.joins("a", 3.0)  # of which one worker of 2 CPUs is there, and the head has none
    assert seen.look().coming == (NodeSize(2),) * coming
