"""The checks of a cluster, made over one connection; `orchestration.doctor` adds the tracking server and prints."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import ray

from orchestration.cluster.connection import connection
from orchestration.cluster.node_types import node_types_of_cluster
from orchestration.common.cleanup import always
from orchestration.common.redaction import reason_of
from orchestration.config.storage import StorageConfig
from orchestration.diagnosis.check_access import ray_rows
from orchestration.diagnosis.check_collectives import Collective, measure
from orchestration.diagnosis.check_nodes import NodeReport, clock_difference, start_probes
from orchestration.diagnosis.check_report import CheckResult, Redaction, collective_row, node_rows
from orchestration.storage.store import Store

_NODE_SECONDS = 120.0
_NODE_START_SECONDS = 900.0


def diagnose(
    storage: StorageConfig, store: Store, redaction: Redaction, *, num_gpus: int, num_bytes: int, insecure: bool
) -> list[CheckResult]:
    """Check access, nodes and collectives of the cluster; leave nothing behind.

    Args: store: opened from `storage`, which every node opens for itself. redaction: gets the names of the nodes.
        num_gpus: to wait for, which an autoscaler may start; 0: as many as there are. num_bytes: that each worker adds.
    Raises: UserError if the cluster cannot be reached, or takes calls without a token and is not to be used `insecure`.
    """
    with connection(insecure=insecure, wait_seconds=_NODE_SECONDS) as dashboard:
        # First, since its workers make an autoscaling cluster start the nodes that are looked at afterwards.
        collective = _measure_collective(num_gpus, num_bytes)
        nodes = [node for node in ray.nodes() if node["Alive"]]
        reports = _report_nodes(nodes, storage, store)
        for number, node in enumerate(nodes, 1):
            redaction.add(node["NodeManagerHostname"], f"host-{number}")
            redaction.add(node["NodeManagerAddress"], f"address-{number}")
        access = ray_rows(ray.get_runtime_context().gcs_address, dashboard, len(nodes))
        return [*access, *node_rows(reports), *_growth_rows(), collective_row(collective)]


def _growth_rows() -> Iterator[CheckResult]:
    """Tell what the autoscaler can add, where there is one that says so."""
    node_types = node_types_of_cluster()
    for kind in node_types.types if node_types is not None else ():
        yield CheckResult("node", "autoscaler", "ok", f"can add {kind}")


def _measure_collective(num_gpus: int, num_bytes: int) -> Collective:
    num_workers = num_gpus or int(ray.cluster_resources().get("GPU", 0))
    return measure(
        num_workers or max(2, len(ray.nodes())),
        use_gpu=num_workers > 0,
        num_bytes=num_bytes,
        wait_seconds=_NODE_START_SECONDS if num_gpus else _NODE_SECONDS,
    )


def _report_nodes(nodes: Sequence[dict[str, Any]], storage: StorageConfig, store: Store) -> list[NodeReport]:
    """Probe all nodes at once, each with its own time limit."""
    marker, content = f".doctor-{uuid.uuid4().hex}", secrets.token_bytes(64)
    store.write(marker, content)
    with always(lambda: store.remove(marker)):
        probes = start_probes(list(nodes))
        answers = {
            identity: [probe.about.remote(), probe.storage.remote(storage, marker, content)]
            for identity, probe in probes.items()
        }
        return [_report_node(node, probes[node["NodeID"]], answers[node["NodeID"]]) for node in nodes]


def _report_node(node: dict[str, Any], probe: Any, answers: list[Any]) -> NodeReport:
    name = f"{node['NodeManagerAddress']} ({node['NodeManagerHostname']})"
    try:
        about, (problem, seconds) = ray.get(answers, timeout=_NODE_SECONDS)
        ahead, error = clock_difference(probe)
    except ray.exceptions.RayError as failure:
        return NodeReport(name, problem=reason_of(getattr(failure, "cause", None) or failure))
    return NodeReport(
        name,
        ray_gpus=float(node["Resources"].get("GPU", 0)),
        clock_seconds=ahead,
        clock_error_seconds=error,
        storage_problem=problem,
        storage_seconds=seconds,
        **about,
    )
