"""The probe of a node: an actor on each reports versions, GPUs, clock and disk, and tries the storage."""

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
from orchestration.cluster.address import reach_nodes_directly
from orchestration.common.redaction import reason_of
from orchestration.config.storage import StorageConfig
from orchestration.storage.store import Store

PROBE_BYTES = 4_000_000
"""Size of the file that each node writes into the storage, reads back and removes."""
_PACKAGES = ("ray", "torch", "deepspeed", "mlflow", "numpy", "fsspec", "s3fs")
_PINGS = 9
_STORAGE_SECONDS = 20.0
_GPU_QUERY = ("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader")


@dataclass(frozen=True)
class NodeReport:
    """The report of one node."""

    name: str
    """Its address and host name, for people."""
    versions: dict[str, str] = field(default_factory=dict)
    """python, packages and this project."""
    gpus: tuple[str, ...] = ()
    """One entry a GPU: model, memory, driver."""
    ray_gpus: float = 0.0
    """Number of GPUs that Ray gives out."""
    free_bytes: int = 0
    """Free space for temporary files; checkpoints are written there before they are uploaded."""
    clock_seconds: float = 0.0
    """Seconds that the node's clock is ahead of the driver's."""
    clock_error_seconds: float = 0.0
    """Greatest error of `clock_seconds`."""
    storage_problem: str = ""
    storage_seconds: float = 0.0
    """Duration of writing and reading `PROBE_BYTES`."""
    problem: str = ""
    """Reason why nothing of this is known."""


class NodeProbe:
    """An actor that runs on the node."""

    def now(self) -> float:
        """Return the node's clock, in seconds since 1970."""
        return time.time()

    def about(self) -> dict[str, Any]:
        """Return the fields of a report that need nobody else."""
        return {
            "versions": _versions(),
            "gpus": _gpus(),
            "free_bytes": shutil.disk_usage(tempfile.gettempdir()).free,
        }

    def host(self) -> str:
        return socket.gethostname()

    def storage(self, storage: StorageConfig, marker: str, expected: bytes) -> tuple[str, float]:
        """Return (problem or "", seconds) of a round trip; also reads the file that the driver wrote.

        Args: marker: a file that the driver wrote: a root that every node has for itself does not hold it.
        """
        reach_nodes_directly()
        begin = time.monotonic()
        place, content = f"{marker}-{secrets.token_hex(8)}", secrets.token_bytes(PROBE_BYTES)
        try:
            store = Store(storage.root, storage.options, storage.at_most(_STORAGE_SECONDS).retry_policy)
            store.write(place, content)
            content_read = store.read(place)
            store.remove(place)
            seconds = time.monotonic() - begin
            if content_read != content:
                return "does not give back what was written", seconds
            if store.read(marker) != expected:
                return "holds another content of the driver's file", seconds
        except FileNotFoundError:
            return "does not hold what the driver wrote: it is not the same place on every node", 0.0
        except Exception as error:  # noqa: BLE001  any storage library, any reason: any means that this node has no storage
            return reason_of(error, storage.options), 0.0
        return "", seconds


def start_probes(nodes: list[dict[str, Any]]) -> dict[str, Any]:
    """Start a probe on each living node, by node id. Args: nodes: as `ray.nodes()` gives them."""
    actor = ray.remote(NodeProbe)
    return {
        node["NodeID"]: actor.options(
            num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote()
        for node in nodes
        if node["Alive"]
    }


def clock_difference(probe: Any) -> tuple[float, float]:
    """Return (seconds that the node's clock is ahead, greatest error of that), from the fastest of some calls."""
    best = (0.0, float("inf"))
    for _ in range(_PINGS):
        begin, then = time.monotonic(), time.time()
        remote = ray.get(probe.now.remote())
        took = time.monotonic() - begin
        if took / 2 < best[1]:
            best = (remote - (then + took / 2), took / 2)
    return best


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version(), "this project": source_digest()[:12]}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def _gpus() -> tuple[str, ...]:
    try:
        done = subprocess.run(
            _GPU_QUERY, capture_output=True, text=True, encoding="utf-8", errors="replace", timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return tuple(line.strip() for line in done.stdout.splitlines() if line.strip()) if done.returncode == 0 else ()
