"""Ray's private interfaces that this project uses, all seen in Ray 2.60."""
# ruff: noqa: SLF001

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_LOG = logging.getLogger(__name__)


def listen_on_loopback() -> None:
    """Make a cluster that this process starts later listen on 127.0.0.1 alone.

    Ray 2.60 listens on every interface, `_node_ip_address` or not, unless it takes the machine for a laptop
    (ray-project/ray#30770). The public variable RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER is read once, when ray is imported.
    """
    from ray._private import ray_constants

    ray_constants.ENABLE_RAY_CLUSTER = False


def start_workers_with_this_python() -> None:
    """Make the workers of a cluster on this machine run in this process's environment under `uv run`, too.

    Ray 2.60 would copy the working directory and start each worker by another `uv run`, which makes an environment of
    its own there. The public variable RAY_ENABLE_UV_RUN_RUNTIME_ENV is read once, when ray is imported.
    """
    from ray._private import ray_constants

    ray_constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV = False


def never_start_alone() -> None:
    """Make calls fail once Ray was left, instead of starting a cluster in the ending process.

    The public variable RAY_ENABLE_AUTO_CONNECT is read once, when ray is imported, as of Ray 2.60.
    """
    from ray._private import auto_init_hook

    auto_init_hook.enable_auto_connect = False


def reread_environment() -> None:
    """Make Ray read its RAY_* variables again, RAY_AUTH_MODE among them.

    Ray 2.60 reads them when it is imported; `ray.init` itself does this where it turns tokens on by default
    (ray-project/ray#64755), and offers no public call for it.
    """
    import ray

    ray._config.initialize("")


def draining_nodes() -> Mapping[str, int]:
    """Return the nodes that are to be taken away: hex id to deadline in ms since the epoch, 0 for none.

    Ray 2.60's public `ray.nodes()` and state API know alive and dead nodes only; Ray Train asks in this way too
    (ray-project/ray#63807).
    """
    import ray

    nodes: dict[str, int] = ray._private.state.state.get_draining_nodes()
    return nodes


def placement_groups_of_dead_actors(job: str) -> list[bytes]:
    """Return the ids of a job's placement groups whose creating actor is dead; detached and removed ones left out.

    The state API of Ray 2.60 does not say what became of the creator, and needs a dashboard; Ray Train's own cleaner
    (ray-project/ray#58515) can be killed with the run.

    Args: job: hex id.
    """
    import ray
    from ray.core.generated.gcs_pb2 import PlacementGroupTableData

    ids = []
    for serialized in ray._private.state.state._connect_and_get_accessor().get_placement_group_table():
        group = PlacementGroupTableData.FromString(serialized)
        is_of_job = group.creator_job_id.hex() == job and not group.is_detached
        by_actor = not ray.ActorID(group.creator_actor_id).is_nil()  # of others Ray says that their creator is dead
        if is_of_job and by_actor and group.creator_actor_dead and group.state != PlacementGroupTableData.REMOVED:
            ids.append(group.placement_group_id)
    return ids


@dataclass(frozen=True)
class Claim:
    """CPUs and GPUs that a job holds on a node, or waits for."""

    owner: str
    """Hex id of the actor, or of the placement group, one bundle of which this is."""
    is_bundle: bool
    node: str
    """Hex id."""
    num_cpus: float
    num_gpus: float
    is_waiting: bool


def claims_of_job(job: str) -> Iterator[Claim]:
    """Yield what placement groups and actors of a job hold or wait for of CPUs and GPUs.

    Ray 2.60's public table of placement groups does not name their job, and its state API needs a dashboard.

    Args: job: hex id.
    """
    import ray
    from ray.core.generated.gcs_pb2 import ActorTableData, PlacementGroupTableData

    accessor = ray._private.state.state._connect_and_get_accessor()
    waiting = (PlacementGroupTableData.PENDING, PlacementGroupTableData.RESCHEDULING)
    for serialized in accessor.get_placement_group_table():
        group = PlacementGroupTableData.FromString(serialized)
        if group.creator_job_id.hex() == job and group.state != PlacementGroupTableData.REMOVED:
            for bundle in group.bundles:
                owner, node, is_waiting = group.placement_group_id.hex(), bundle.node_id.hex(), group.state in waiting
                yield from _claims(owner, True, node, bundle.unit_resources, is_waiting)
    for state in ("PENDING_CREATION", "ALIVE"):
        for serialized in accessor.get_actor_table(ray.JobID(bytes.fromhex(job)), state):
            actor = ActorTableData.FromString(serialized)
            if not actor.placement_group_id:  # else its group was counted
                # One that waits names the node that it asked first.
                owner, node, is_waiting = actor.actor_id.hex(), actor.address.node_id.hex(), state != "ALIVE"
                yield from _claims(owner, False, node, actor.required_resources, is_waiting)


def _claims(
    owner: str, is_bundle: bool, node: str, resources: Mapping[str, float], is_waiting: bool
) -> Iterator[Claim]:
    cpus, gpus = resources.get("CPU", 0.0), resources.get("GPU", 0.0)
    if cpus or gpus:
        yield Claim(owner, is_bundle, node, cpus, gpus, is_waiting)


def free_resources() -> Mapping[str, Mapping[str, float]]:
    """Return what nobody uses of each node, by its hex id.

    Ray 2.60's public call gives a sum over the cluster alone (ray-project/ray#60134).
    """
    import ray

    free: dict[str, dict[str, float]] = ray._private.state.available_resources_per_node()
    return free


def autoscaler_config_file(port: int) -> str | None:
    """Return the file that the autoscaler on this node, its cluster's head, was started with; None: there is none.

    Open-source Ray 2.60 tells nobody what its autoscaler may start: `report_cluster_config` is never called
    (ray-project/ray#63012). The command line of its process names the file, with `ray up` ~/ray_bootstrap_config.yaml.

    Args: port: of the cluster's control service.
    """
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = process.read_bytes().decode(errors="replace").split("\0")
        except OSError:  # it has ended meanwhile
            continue
        options = dict(argument.partition("=")[::2] for argument in arguments)
        is_monitor = any(argument.endswith("/monitor.py") for argument in arguments)
        if is_monitor and options.get("--gcs-address", "").endswith(f":{port}"):
            return options.get("--autoscaling-config")
    return None


def kill_train_controllers(job: str) -> None:
    """End the Ray Train runs of a job, so that their `fit` returns.

    Ray Train 2.60 gives nobody the handle of a run's controller, and aborts a run on SIGINT only if `fit` is called in
    the main thread. A thread that waits in `fit` while Ray shuts down can end the process by a segmentation fault.

    Args: job: hex id of this process's job.
    """
    import ray

    for identity, actor in ray._private.state.state.actor_table(None, ray.JobID(bytes.fromhex(job))).items():
        if actor["ActorClassName"].endswith("TrainController") and actor["State"] != "DEAD":
            ray._private.worker.global_worker.core_worker.kill_actor(ray.ActorID(bytes.fromhex(identity)), True)


def upload_sizes(folder: Path) -> tuple[Mapping[str, int], int]:
    """Return the bytes of each entry of a folder that go to a cluster with a job, and the most that Ray 2.60 takes.

    Ray leaves out what .rayignore and .gitignore name, and refuses the rest, zipped, only when it is all there.
    """
    from ray._private.runtime_env.packaging import GCS_STORAGE_MAX_SIZE, _dir_travel

    sizes: Counter[str] = Counter()

    def add(path: Path) -> None:
        if path.is_file():
            sizes[path.relative_to(folder).parts[0]] += path.stat().st_size

    _dir_travel(folder, [], add, include_gitignore=True, logger=_LOG)
    return sizes, GCS_STORAGE_MAX_SIZE
