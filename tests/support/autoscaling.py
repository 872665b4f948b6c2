"""A Ray cluster whose autoscaler starts nodes on this machine, as Ray's own tests of it do.

Ray's `AutoscalingCluster` needs a file that its wheel lacks, and its start and end stop every Ray of the machine.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID, FakeMultiNodeProvider

from tests.support.ports import free_port
from tests.support.ray_nodes import NodePlan, RayCluster, ray_cluster
from tests.support.sweeps import ROOT, children_called

_FAKE = f"{FakeMultiNodeProvider.__module__}.{FakeMultiNodeProvider.__name__}"
NOBODY_COMES = "tests.support.autoscaling.NothingToRent"
ON_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
_UNUSED: Mapping[str, Any] = {
    **{name: {} for name in ("auth", "docker", "file_mounts")},
    **{name: [] for name in ("cluster_synced_files", "rsync_exclude", "rsync_filter", "initialization_commands")},
    **{f"{kind}setup_commands": [] for kind in ("", "head_", "worker_")},
    **{f"{kind}_start_ray_commands": [] for kind in ("head", "worker")},
    "file_mounts_sync_continuously": False,
}
"""Settings that the autoscaler asks for, of clouds and ssh."""


class NothingToRent(FakeMultiNodeProvider):
    """A cloud that has no machine left."""

    def create_node_with_resources_and_labels(self, *_: object) -> None:
        """Start none."""


def autoscaler_config(port: int, head_cpus: int, worker: Mapping[str, float], most: int, provider: str) -> str:
    """The file of a cluster with one type of worker nodes."""
    head = {"resources": {"CPU": head_cpus}, "node_config": {}, "max_workers": 0}
    kinds = {"ray.head.default": head, "worker": {"resources": worker, "node_config": {}, "max_workers": most}}
    given = {"type": "external", "module": provider, "gcs_address": f"127.0.0.1:{port}"}
    given |= {"head_node_id": FAKE_HEAD_NODE_ID, "launch_multiple": True}
    given |= {"disable_node_updaters": True, "disable_launch_config_check": True}
    return json.dumps(
        {
            **_UNUSED,
            "cluster_name": "fake",
            "max_workers": most,
            "idle_timeout_minutes": 0.1,
            "provider": given,
            "available_node_types": kinds,
            "head_node_type": "ray.head.default",
        }
    )


@contextmanager
def autoscaling_cluster(
    head_cpus: int, worker: Mapping[str, float], most: int, provider: str = _FAKE
) -> Iterator[RayCluster]:
    """A head, and an autoscaler that starts so many workers at most."""
    with tempfile.TemporaryDirectory(prefix="dfm-ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        port, config = free_port(), Path(folder) / "autoscaler.yaml"
        config.write_text(autoscaler_config(port, head_cpus, worker, most, provider))
        environment = {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1", "PYTHONPATH": str(ROOT)}
        environment |= {"RAY_enable_autoscaler_v2": "1", "RAY_CLOUD_INSTANCE_ID": FAKE_HEAD_NODE_ID}
        head = NodePlan(
            head_cpus, options=(f"--autoscaling-config={config}",), environment={**environment, **ON_LOOPBACK}
        )
        with ray_cluster(Path(folder), [head], port) as cluster:
            cluster.environment.update(ON_LOOPBACK)
            yield cluster


def num_workers(cluster: RayCluster) -> int:
    """Number of worker nodes that run; a raylet's child has its name until it becomes a worker."""
    raylets = set(children_called(cluster.nodes[0].process.pid, "raylet"))
    parents = []
    for pid in raylets:
        with suppress(psutil.NoSuchProcess):
            parents.append(psutil.Process(pid).ppid())
    return sum(parent not in raylets for parent in parents) - 1
