"""A launch's view of its cluster: room on nodes that are there or can come, and what waits for room."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import ray

from orchestration.cluster.address import starts_its_own, through_client
from orchestration.cluster.capacity import Capacity, NodeSize, evaluator_size, total, worker_size
from orchestration.cluster.node_types import NodeTypes, node_types_of_cluster
from orchestration.common.wording import counted
from orchestration.config.workers import WorkersConfig
from orchestration.control.heartbeat import Waiting
from orchestration.private.ray import Claim, claims_of_job, draining_nodes, free_resources

_HEAD = "node:__internal_head__"
_LASTING_LOOKS = 10
"""Looks in which others hold something before it counts as theirs: Ray's tables are a moment behind each other."""
_PATIENCE = 0.9
"""Part of `workers.wait_for_workers_seconds` after which no node is expected any more: before Ray Train gives up."""
_PAUSE = 10
"""The same, after which nodes are expected again: a cloud may have machines by then."""


class ClusterView:
    """Looks at the cluster, again and again; a node that does not come in time is not counted on any more."""

    def __init__(
        self, workers: WorkersConfig, node_types: NodeTypes | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._workers, self._node_types, self._clock = workers, node_types, clock
        self._others: defaultdict[str, deque[NodeSize]] = defaultdict(lambda: deque(maxlen=_LASTING_LOOKS))
        self._waiting_since: dict[str, float] = {}
        self._known: set[str] = set()
        self._expecting_since = clock()
        self._gave_up: float | None = None

    def look(self) -> Capacity:
        """Return the capacity now. Calls Ray."""
        nodes = [node for node in ray.nodes() if node["Alive"]]
        if through_client():  # which cannot ask for more
            return self.seen(nodes, [], {}, ())
        job = ray.get_runtime_context().get_job_id()
        return self.seen(nodes, list(claims_of_job(job)), free_resources(), draining_nodes())

    def seen(
        self,
        alive: Sequence[Mapping[str, Any]],
        claims: Sequence[Claim],
        free: Mapping[str, Mapping[str, float]],
        draining: Iterable[str],
    ) -> Capacity:
        """Return the capacity by what Ray says. Args: free: of each node; nothing of a node: all of it."""
        now, going = self._clock(), set(draining)
        staying = [node for node in alive if node["NodeID"] not in going]
        sizes = {node["NodeID"]: _size(node["Resources"]) for node in staying}
        if set(sizes) - self._known:
            self._expecting_since, self._gave_up = now, None
        self._known = set(sizes)
        waiting = self._now_waiting(claims, now)
        others = tuple(self._of_others(node, size, free.get(node), claims) for node, size in sizes.items())
        on_workers = [_size(node["Resources"]) for node in alive if _HEAD not in node["Resources"]]
        return Capacity(
            tuple(sizes.values()),
            others if any(used != NodeSize(0.0) for used in others) else (),
            () if self._gave_up is not None else self._can_come(on_workers, list(sizes.values())),
            waiting,
        )

    def _can_come(self, on_workers: Sequence[NodeSize], here: Sequence[NodeSize]) -> tuple[NodeSize, ...]:
        """Return the nodes that can be added; as many accelerators as the user expects where nobody knows the nodes."""
        workers, each = self._workers, worker_size(self._workers)
        if self._node_types is not None:
            return self._node_types.can_come(on_workers, workers)
        if starts_its_own() or workers.max_accelerators is None:
            return ()
        return (each,) * max(0, workers.max_accelerators - sum(size.how_many(each) for size in here))

    def _of_others(
        self, node: str, size: NodeSize, free: Mapping[str, float] | None, claims: Sequence[Claim]
    ) -> NodeSize:
        """Return what other jobs have held of a node in all of the last looks."""
        ours = total(NodeSize(claim.num_cpus, claim.num_gpus) for claim in claims if claim.node == node)
        looks = self._others[node]
        looks.append(NodeSize(0.0) if free is None else size.less(_size(free)).less(ours))
        if len(looks) < _LASTING_LOOKS:
            return NodeSize(0.0)
        return NodeSize(min(look.num_cpus for look in looks), min(look.num_gpus for look in looks))

    def _now_waiting(self, claims: Sequence[Claim], now: float) -> tuple[Waiting, ...]:
        owners = {claim.owner: claim.is_bundle for claim in claims if claim.is_waiting}
        self._waiting_since = {owner: self._waiting_since.get(owner, now) for owner in owners}
        self._judge(now)
        since = self._waiting_since
        training = f"{counted(self._workers.num_workers, 'worker')} with {_needs(worker_size(self._workers))}"
        kinds = ((True, "training", training), (False, "evaluator", _needs(evaluator_size(self._workers))))
        return tuple(
            Waiting(f"{counted(len(those), noun)}, each for {needs}", now - min(since[owner] for owner in those))
            for is_bundle, noun, needs in kinds
            if (those := [owner for owner in owners if owners[owner] is is_bundle])
        )

    def _judge(self, now: float) -> None:
        """Give up expecting nodes where something has waited too long since the last one came, for a while."""
        limit, waiting = self._workers.wait_for_workers_seconds, self._waiting_since.values()
        if self._gave_up is None and waiting and now - max(self._expecting_since, min(waiting)) > _PATIENCE * limit:
            self._gave_up = now
        elif self._gave_up is not None and now - self._gave_up > _PAUSE * limit:
            self._expecting_since, self._gave_up = now, None


def _needs(size: NodeSize) -> str:
    gpus = f" and {size.num_gpus:g} GPU" if size.num_gpus else ""
    return counted(int(size.num_cpus), "CPU") + gpus


def _size(resources: Mapping[str, float]) -> NodeSize:
    return NodeSize(resources.get("CPU", 0.0), resources.get("GPU", 0.0))


def cluster_view(workers: WorkersConfig) -> ClusterView:
    """Return the view of the cluster that this process is connected to; its own one never grows."""
    return ClusterView(workers, None if starts_its_own() else node_types_of_cluster())
