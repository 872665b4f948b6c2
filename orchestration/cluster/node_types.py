"""Node types of an autoscaling cluster, from the file that its autoscaler was started with."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import yaml

from orchestration.cluster.capacity import NodeSize, worker_size
from orchestration.common.redaction import reason_of
from orchestration.common.wording import counted
from orchestration.config.workers import WorkersConfig
from orchestration.private.ray import autoscaler_config_file

_LOG = logging.getLogger(__name__)
_ON_THE_HEAD = {"node:__internal_head__": 0.001}
"""Resource that Ray gives the head alone."""
_READ_SECONDS = 60.0


@dataclass(frozen=True)
class NodeType:
    """A kind of worker node."""

    name: str
    size: NodeSize
    most: int
    """Number of nodes of this kind at the same time."""

    def __str__(self) -> str:
        return f"{self.name}: {counted(self.most, 'node')} of {self.size}"


@dataclass(frozen=True)
class NodeTypes:
    """The worker nodes that an autoscaler can start."""

    types: tuple[NodeType, ...]
    most: int
    """Number of worker nodes at the same time, of all kinds."""

    @staticmethod
    def of(config: Mapping[str, Any]) -> NodeTypes:
        """Read a file of `ray up`; types without CPUs and GPUs, which nobody could count on, are left out.

        Raises: KeyError, TypeError, ValueError, AttributeError for another kind of file.
        """
        head, most = config["head_node_type"], int(config.get("max_workers", 2))  # as Ray's own defaults
        types = []
        for name, kind in config["available_node_types"].items():
            resources = kind.get("resources") or {}
            size = NodeSize(float(resources.get("CPU", 0)), float(resources.get("GPU", 0)))
            num = int(kind.get("max_workers", 0 if name == head else most))
            if num > 0 and size != NodeSize(0.0):
                types.append(NodeType(str(name), size, num))
        return NodeTypes(tuple(types), most)

    def can_come(self, workers_here: Sequence[NodeSize], workers: WorkersConfig) -> tuple[NodeSize, ...]:
        """Return the nodes that can still be added, those that hold most workers of a training first.

        Nodes with GPUs are expensive: nobody asks for them without a use for GPUs.

        Args: workers_here: the nodes that are alive, without the head.
        """
        here, coming = Counter(workers_here), list[NodeSize]()
        wants_gpus = workers.use_gpu or workers.gpus_per_evaluator > 0
        useful = [kind for kind in self.types if wants_gpus or not kind.size.num_gpus]
        for kind in sorted(useful, key=lambda kind: -kind.size.how_many(worker_size(workers))):
            alive = min(here[kind.size], kind.most)
            here[kind.size] -= alive
            num = min(kind.most - alive, self.most - len(workers_here) - len(coming))
            coming += [kind.size] * num
        return tuple(coming)


def node_types_of_cluster() -> NodeTypes | None:
    """Ask the head of the cluster that this process joined; None if it adds no nodes, or does not say which."""
    try:
        config = ray.get(
            ray.remote(_read_config).options(num_cpus=0, resources=_ON_THE_HEAD).remote(), timeout=_READ_SECONDS
        )
        return None if config is None else NodeTypes.of(config)
    except Exception as error:  # noqa: BLE001  Ray, the file or its form: then the cluster is taken as it is
        _LOG.warning("what the autoscaler can add is not known: %s", reason_of(error))
        return None


def _read_config() -> Any:
    port = int(ray.get_runtime_context().gcs_address.rpartition(":")[2])
    path = autoscaler_config_file(port)
    return None if path is None else yaml.safe_load(Path(path).expanduser().read_text(encoding="utf-8"))
