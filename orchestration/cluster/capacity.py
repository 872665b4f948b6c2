"""Capacity of a Ray cluster for a launch: the rooms on its nodes and on those that can come, and what fits in them."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field

from orchestration.common.wording import counted
from orchestration.config.workers import WorkersConfig
from orchestration.control.heartbeat import Waiting


@dataclass(frozen=True)
class NodeSize:
    """CPUs and GPUs of one node, or what is free of them."""

    num_cpus: float
    num_gpus: float = 0.0

    def __str__(self) -> str:
        return f"{self.num_cpus:g} CPUs, {self.num_gpus:g} GPUs"

    def less(self, other: NodeSize, times: int = 1) -> NodeSize:
        """Return what is left, at least nothing, when something is taken so many times."""
        cpus, gpus = self.num_cpus - times * other.num_cpus, self.num_gpus - times * other.num_gpus
        return NodeSize(max(cpus, 0.0), max(gpus, 0.0))

    def how_many(self, other: NodeSize) -> int:
        """Return how often something fits."""
        shares = [(self.num_cpus, other.num_cpus), (self.num_gpus, other.num_gpus)]
        return min((int(there // each) for there, each in shares if each), default=sys.maxsize)


def worker_size(workers: WorkersConfig) -> NodeSize:
    """Return what each worker of a training takes."""
    return NodeSize(workers.cpus_per_worker, float(workers.use_gpu))


def evaluator_size(workers: WorkersConfig) -> NodeSize:
    """Return what each evaluator takes."""
    return NodeSize(workers.cpus_per_worker, workers.gpus_per_evaluator)


def total(sizes: Iterable[NodeSize]) -> NodeSize:
    listed = list(sizes)
    return NodeSize(sum(size.num_cpus for size in listed), sum(size.num_gpus for size in listed))


@dataclass(frozen=True)
class Capacity:
    """Room for one launch."""

    nodes: tuple[NodeSize, ...]
    """Nodes that are alive and stay."""
    others: tuple[NodeSize, ...] = ()
    """Use of each by other jobs; empty: none."""
    coming: tuple[NodeSize, ...] = ()
    """Nodes that an autoscaler can add."""
    waiting: tuple[Waiting, ...] = field(default=(), compare=False)
    """Requests of the launch for which there is no room yet."""

    def __str__(self) -> str:
        text = f"{len(self.nodes)} node(s), {total(self.nodes)}"
        if total(self.others) != NodeSize(0.0):
            text += f", of which other jobs use {total(self.others)}"
        return f"{text}; {counted(len(self.coming), 'node')} can come" if self.coming else text

    @property
    def rooms(self) -> tuple[NodeSize, ...]:
        """Rooms that a launch can have, node by node."""
        if not self.others:
            return (*self.nodes, *self.coming)
        return (*(node.less(used) for node, used in zip(self.nodes, self.others, strict=True)), *self.coming)

    def concurrent_trainings(self, workers: WorkersConfig) -> int:
        """Return how many trainings fit at the same time, beside evaluators if one training leaves room for these."""
        rooms, taken = self.rooms, 0.0
        if self.fits_both(workers):
            rooms, taken = self._beside_evaluators(workers), workers.num_evaluators * _accelerators(workers)
        fitting = sum(room.how_many(worker_size(workers)) for room in rooms)
        return int(min(fitting, _limit(workers) - taken)) // workers.num_workers

    def num_evaluators(self, workers: WorkersConfig) -> int:
        """Return how many are wanted and fit; one that never starts would hold its share of the work for ever."""
        fitting = min(
            sum(room.how_many(evaluator_size(workers)) for room in self.rooms),
            _limit(workers) // (_accelerators(workers) or 1.0),
        )
        return max(1, int(min(workers.num_evaluators, fitting)))

    def fits_both(self, workers: WorkersConfig) -> bool:
        """Return whether evaluators can stay while a training runs."""
        rooms = self._beside_evaluators(workers)
        num_accelerators = workers.num_workers + workers.num_evaluators * _accelerators(workers)
        fitting = sum(room.how_many(worker_size(workers)) for room in rooms)
        return bool(rooms) and fitting >= workers.num_workers and num_accelerators <= _limit(workers)

    def _beside_evaluators(self, workers: WorkersConfig) -> tuple[NodeSize, ...]:
        """Return the rooms that evaluators leave, on the smallest nodes; none if they do not fit."""
        rooms, left, each = sorted(self.rooms, key=_by_size), workers.num_evaluators, evaluator_size(workers)
        for index, room in enumerate(rooms):
            placed = min(left, room.how_many(each))
            rooms[index], left = room.less(each, placed), left - placed
        return () if left else tuple(rooms)


def _by_size(room: NodeSize) -> tuple[float, float]:
    return room.num_gpus, room.num_cpus


def _limit(workers: WorkersConfig) -> float:
    return sys.maxsize if workers.max_accelerators is None else workers.max_accelerators


def _accelerators(workers: WorkersConfig) -> float:
    """Return what an evaluator counts as: GPUs, or one CPU worker where there is none."""
    return workers.gpus_per_evaluator if workers.use_gpu else 1.0
