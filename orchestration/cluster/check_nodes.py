"""What a node of a cluster says of itself, and whether it reaches the storage: an actor on each, see `doctor`."""

from __future__ import annotations

import platform
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestration.artifacts.provenance import source_digest
from orchestration.common.redaction import reason_of
from orchestration.config.storage import StorageConfig
from orchestration.storage.store import Store

PROBE_BYTES = 4_000_000
"""What each node writes into the storage, reads back and removes."""
_PACKAGES = ("ray", "torch", "deepspeed", "mlflow", "numpy", "fsspec", "s3fs")
_PINGS = 9
_STORAGE_SECONDS = 20.0
_GPU_QUERY = ("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader")


@dataclass(frozen=True)
class NodeReport:
    """Of one node."""

    name: str
    """Its address and host name, for people."""
    versions: dict[str, str] = field(default_factory=dict)
    """python, packages and this project."""
    gpus: tuple[str, ...] = ()
    """One entry a GPU: model, memory, driver."""
    ray_gpus: float = 0.0
    """What Ray gives out."""
    free_bytes: int = 0
    """On the disk of temporary files, to which checkpoints are written before they are uploaded."""
    clock_seconds: float = 0.0
    """Ahead of the driver's clock."""
    clock_error_seconds: float = 0.0
    """The true difference is within this of it."""
    storage_problem: str = ""
    storage_seconds: float = 0.0
    """Of `PROBE_BYTES` there and back."""
    problem: str = ""
    """Why nothing of this is known."""


class NodeProbe:
    """Runs on the node."""

    def now(self) -> float:
        """The node's clock, in seconds since 1970."""
        return time.time()

    def about(self) -> dict[str, Any]:
        """The fields of a report that need nobody else."""
        return {
            "versions": _versions(),
            "gpus": _gpus(),
            "free_bytes": shutil.disk_usage(tempfile.gettempdir()).free,
        }

    def host(self) -> str:
        return socket.gethostname()

    def storage(self, storage: StorageConfig, marker: str, expected: bytes) -> tuple[str, float]:
        """(problem or "", seconds) of a round trip, and of reading what the driver wrote.

        Args: marker: a file that the driver wrote: a root that every node has for itself does not hold it.
        """
        begin = time.monotonic()
        place, content = f"{marker}-{secrets.token_hex(8)}", secrets.token_bytes(PROBE_BYTES)
        try:
            store = Store(storage.root, storage.options, storage.retry_policy.at_most(_STORAGE_SECONDS))
            store.write(place, content)
            found = store.read(place)
            store.remove(place)
            seconds = time.monotonic() - begin
            if found != content:
                return "does not give back what was written", seconds
            if store.read(marker) != expected:
                return "holds another content of the driver's file", seconds
        except FileNotFoundError:
            return "does not hold what the driver wrote: it is not the same place on every node", 0.0
        except Exception as error:  # noqa: BLE001  any storage library, any reason: all mean that this node has no storage
            return reason_of(error, storage.options), 0.0
        return "", seconds


def start_probes(nodes: list[dict[str, Any]]) -> dict[str, Any]:
    """A probe on each living node, by node id. Args: nodes: as `ray.nodes()` gives them."""
    actor = ray.remote(NodeProbe)
    return {
        node["NodeID"]: actor.options(
            num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote()
        for node in nodes
        if node["Alive"]
    }


def clock_difference(probe: Any) -> tuple[float, float]:
    """(seconds that the node's clock is ahead, how far off that may be), from the fastest of some calls."""
    best = (0.0, float("inf"))
    for _ in range(_PINGS):
        begin, then = time.monotonic(), time.time()
        remote = ray.get(probe.now.remote())
        took = time.monotonic() - begin
        if took / 2 < best[1]:
            best = (remote - (then + took / 2), took / 2)
    return best


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "this project": source_digest()[:12]}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _gpus() -> tuple[str, ...]:
    try:
        done = subprocess.run(_GPU_QUERY, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return tuple(line.strip() for line in done.stdout.splitlines() if line.strip()) if done.returncode == 0 else ()
