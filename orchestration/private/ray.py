"""Ray's private interfaces that this project uses, all seen in Ray 2.60."""
# ruff: noqa: SLF001

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

_LOG = logging.getLogger(__name__)


def listen_on_loopback() -> None:
    """Make a cluster that this process starts later listen on 127.0.0.1 alone.

    Ray 2.60 listens on every interface, `_node_ip_address` or not, unless it takes the machine for a laptop
    (ray-project/ray#30770). The public variable RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER is read once, when ray is imported.
    """
    from ray._private import ray_constants

    ray_constants.ENABLE_RAY_CLUSTER = False


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


def is_preempted() -> bool:
    """Return whether a node of this Ray Train worker's run is to be taken away.

    The public `ray.train.get_preemption_info` of Ray 2.60 is a collective through an actor (ray-project/ray#65183), too
    slow for every point of a curve; this is the value in this process that it broadcasts.
    """
    from ray.train.v2._internal.execution.context import get_train_context

    return get_train_context().preemption_context.preemption_info is not None


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
