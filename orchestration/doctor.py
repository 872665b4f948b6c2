"""Checks a cluster before money is spent on it:

    python -m orchestration.doctor [--storage ROOT] [--tracking URI] [--num-gpus N] [--redacted]

Versions, GPUs, clock, disk and storage of every node, the bandwidth between workers, the tracking server, and that no
stranger is let in. In a job, with RAY_ADDRESS, or on this machine, as a sweep. Leaves nothing behind.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import ray

from orchestration.cluster.check_access import ray_rows, tracking_rows
from orchestration.cluster.check_collectives import Collective, measure
from orchestration.cluster.check_nodes import NodeReport, clock_difference, start_probes
from orchestration.cluster.check_report import CheckResult, Redaction, collective_row, node_rows, print_rows
from orchestration.cluster.connection import connection
from orchestration.common.errors import UserError, tell_mistakes
from orchestration.common.exit_codes import EXIT_TASKS_FAILED
from orchestration.common.redaction import guard_output, reason_of
from orchestration.config.storage import StorageConfig
from orchestration.config.storage_root import resolve_root
from orchestration.spec.preflight import open_store
from orchestration.storage.store import Store
from orchestration.tracking.uri import ask_server, resolve_uri

_NODE_SECONDS = 120.0
_NODE_START_SECONDS = 900.0


def main(arguments: Sequence[str]) -> int:
    """Returns the exit code: 0 all is well, 1 a check failed, 2 a mistake in what was given, or no cluster."""
    parser = argparse.ArgumentParser(prog="doctor", description="Check a cluster before money is spent on it.")
    parser.add_argument("--storage", metavar="ROOT", default=StorageConfig().root, help="the storage root of the sweep")
    parser.add_argument("--tracking", metavar="URI", help="of MLflow; default: as a sweep finds it")
    parser.add_argument("--num-gpus", type=int, default=0, help="wait for so many, which an autoscaler may start")
    parser.add_argument("--megabytes", type=int, default=64, help="that each worker adds up; default: 64")
    parser.add_argument("--redacted", action="store_true", help="name no host, address or path: to show to others")
    parser.add_argument("--insecure-no-auth", action="store_true", help="look at a cluster that lets strangers in too")
    options = parser.parse_args(arguments)
    if options.num_gpus < 0 or options.megabytes < 1:
        parser.error("--num-gpus is 0 or more, --megabytes 1 or more")
    try:
        root = resolve_root(options.storage, StorageConfig().root, os.environ, Path.cwd())
        storage = StorageConfig(root)
        store = open_store(storage, writable=True)
        uri = resolve_uri(options.tracking, store, os.environ, insecure_http=True)
        rows = list(_rows(options, storage, store, uri))
    except UserError as error:
        return tell_mistakes(error)
    return EXIT_TASKS_FAILED if any(row.state == "FAILED" for row in rows) else 0


def _rows(options: argparse.Namespace, storage: StorageConfig, store: Store, uri: str) -> Iterator[CheckResult]:
    redaction = Redaction(enabled=options.redacted)
    redaction.add(store.root, "STORAGE")
    redaction.add(uri, "TRACKING")
    redaction.add(str(Path.home()), "HOME")
    with connection(insecure=options.insecure_no_auth) as dashboard:
        collective = _collective(options)
        nodes = [node for node in ray.nodes() if node["Alive"]]
        reports = _reports(nodes, storage, store)
        for number, node in enumerate(nodes, 1):
            redaction.add(node["NodeManagerHostname"], f"host-{number}")
            redaction.add(node["NodeManagerAddress"], f"address-{number}")
        rows = [
            *ray_rows(ray.get_runtime_context().gcs_address, dashboard, len(nodes)),
            *node_rows(reports),
            collective_row(collective),
            _tracking_row(uri),
            *tracking_rows(uri),
        ]
    print_rows(rows, redaction)
    yield from rows


def _collective(options: argparse.Namespace) -> Collective:
    """First, since its workers make an autoscaling cluster start the nodes that are looked at afterwards."""
    num_gpus = options.num_gpus or int(ray.cluster_resources().get("GPU", 0))
    return measure(
        num_gpus or max(2, len(ray.nodes())),
        use_gpu=num_gpus > 0,
        num_bytes=options.megabytes * 10**6,
        wait_seconds=_NODE_START_SECONDS if options.num_gpus else _NODE_SECONDS,
    )


def _reports(nodes: Sequence[dict[str, Any]], storage: StorageConfig, store: Store) -> list[NodeReport]:
    """All nodes at once, each in its own time."""
    marker, content = f".doctor-{uuid.uuid4().hex}", secrets.token_bytes(64)
    store.write(marker, content)
    try:
        probes = start_probes(list(nodes))
        asked = {
            node["NodeID"]: [
                probes[node["NodeID"]].about.remote(),
                probes[node["NodeID"]].storage.remote(storage, marker, content),
            ]
            for node in nodes
        }
        return [_report(node, probes[node["NodeID"]], asked[node["NodeID"]]) for node in nodes]
    finally:
        store.remove(marker)


def _report(node: dict[str, Any], probe: Any, asked: list[Any]) -> NodeReport:
    name = f"{node['NodeManagerAddress']} ({node['NodeManagerHostname']})"
    try:
        about, (problem, seconds) = ray.get(asked, timeout=_NODE_SECONDS)
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


def _tracking_row(uri: str) -> CheckResult:
    try:
        seconds = ask_server(uri)
    except UserError as error:
        advice = "start it, or give another: --tracking, tracking.uri or MLFLOW_TRACKING_URI"
        return CheckResult("tracking", "MLflow", "FAILED", error.problems[0].message, advice)
    answer = "is made by the first sweep" if seconds is None else f"answers in {seconds:.2f} s"
    return CheckResult("tracking", "MLflow", "ok", f"{uri} {answer}")


if __name__ == "__main__":
    guard_output()
    sys.exit(main(sys.argv[1:]))
