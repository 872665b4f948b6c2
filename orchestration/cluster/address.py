"""The way in which this process reaches Ray: an own cluster, a joined one, or one behind the Ray client."""

from __future__ import annotations

import ipaddress
import os

import ray

from orchestration.cluster.authentication import CLIENT_SCHEME
from orchestration.config.ray_job import JOB_VARIABLE
from orchestration.startup.program_start import reach_directly


def starts_its_own() -> bool:
    """Return whether this process has its own cluster, on this machine, instead of joining one."""
    return JOB_VARIABLE not in os.environ and os.environ.get("RAY_ADDRESS", "") in ("", "local")


def through_client() -> bool:
    """Return whether this process reaches its cluster through a Ray Client, which sees less of it."""
    return os.environ.get("RAY_ADDRESS", "").startswith(CLIENT_SCHEME)


def is_on_loopback() -> bool:
    """Return whether the cluster that this process is connected to listens on loopback, thus on this machine."""
    return all(ipaddress.ip_address(address).is_loopback for address in _node_addresses())


def reach_nodes_directly() -> None:
    """Keep what this process, connected to Ray, sends to the nodes of its cluster and to loopback off any proxy."""
    reach_directly(*_node_addresses())


def _node_addresses() -> list[str]:
    return sorted({node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]})
