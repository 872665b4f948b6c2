"""Capacity of a Ray cluster: CPUs and GPUs of its nodes, and how many workers fit on them."""

from __future__ import annotations

from dataclasses import dataclass

import ray

from orchestration.cluster.address import through_client
from orchestration.config.workers import WorkersConfig
from orchestration.private.ray import draining_nodes


@dataclass(frozen=True)
class Capacity:
    """CPUs, GPUs and nodes of a cluster."""

    num_cpus: int
    num_gpus: float
    num_nodes: int

    def __str__(self) -> str:
        return f"{self.num_nodes} node(s), {self.num_cpus} CPUs, {self.num_gpus:g} GPUs"

    def concurrent_trainings(self, workers: WorkersConfig) -> int:
        """Return how many trainings fit at the same time, beside evaluators if one training leaves room for these."""
        cpus, gpus = self.num_cpus, self.num_gpus
        if self.fits_both(workers):
            cpus -= workers.num_evaluators * workers.cpus_per_worker
            gpus -= workers.num_evaluators * workers.gpus_per_evaluator
        fitting = cpus // (workers.num_workers * workers.cpus_per_worker)
        return min(fitting, int(gpus // workers.num_workers)) if workers.use_gpu else fitting

    def num_evaluators(self, workers: WorkersConfig) -> int:
        """Return how many are wanted and fit; one that never starts would hold its share of the work for ever."""
        return max(1, min(workers.num_evaluators, self.num_cpus // workers.cpus_per_worker))

    def fits_both(self, workers: WorkersConfig) -> bool:
        """Return whether evaluators can stay while a training runs."""
        cpus = (workers.num_workers + workers.num_evaluators) * workers.cpus_per_worker
        gpus = workers.num_workers * workers.use_gpu + workers.num_evaluators * workers.gpus_per_evaluator
        return self.num_cpus >= cpus and self.num_gpus >= gpus


def capacity_now() -> Capacity:
    """Return the capacity of the nodes that are alive and stay: nothing begins on one that is to be taken away."""
    going = () if through_client() else draining_nodes()  # a Ray Client cannot ask
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"] and node["NodeID"] not in going]
    return Capacity(
        int(sum(node.get("CPU", 0.0) for node in nodes)), sum(node.get("GPU", 0.0) for node in nodes), len(nodes)
    )
