"""The connection to Ray: joins a cluster where there is one, else starts one; checks it before anything is spent."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from typing import Any

import ray
from ray.exceptions import AuthenticationError

from orchestration.cluster.address import reach_nodes_directly, starts_its_own, through_client
from orchestration.cluster.authentication import (
    refuse_open_cluster,
    refuse_wrong_token,
    use_no_tokens,
    use_tokens,
)
from orchestration.cluster.capacity import Capacity, capacity_now
from orchestration.cluster.token_file import LOOPBACK_VARIABLE
from orchestration.common.errors import UserError
from orchestration.common.other_launchers import drop_other_launchers
from orchestration.common.project import ROOT
from orchestration.config.ray_job import JOB_VARIABLE
from orchestration.config.workers import WorkersConfig
from orchestration.private.ray import listen_on_loopback, never_start_alone

_QUIET = {"log_to_driver": False, "logging_level": "ERROR"}
_RECONNECT_VARIABLE, _RECONNECT_SECONDS = "RAY_gcs_rpc_server_reconnect_timeout_s", 600
"""Time without a head after which Ray aborts this process; its default of 60 s is too soon for a report."""
_LEAST_CPUS = 2
"""Least number on a cluster of this machine, so that the quickstart's two workers fit on one core too."""


@contextmanager
def cluster(workers: WorkersConfig, cluster_lost: Event | None = None) -> Iterator[Capacity]:
    """Connect to Ray for the length of a `with` block, see `connection`; yield the capacity.

    Raises: UserError as `connection`, and if the cluster is too small for one training.
    """
    os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", str(workers.wait_for_workers_seconds))
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")  # how soon a report is taken, a death seen
    os.environ.setdefault("RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S", "1")  # a notice may come a few seconds before the end
    # A process that is frozen whole says nothing itself; one that hangs in a step has ended itself before.
    os.environ.setdefault("RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S", str(2 * workers.hung_after_seconds))
    with connection(insecure=workers.insecure_no_auth, cluster_lost=cluster_lost):
        capacity = capacity_now()
        _check_capacity(capacity, workers)
        yield capacity


@contextmanager
def connection(*, insecure: bool, cluster_lost: Event | None = None) -> Iterator[str]:
    """Connect to the job's cluster in a submitted job, to that of RAY_ADDRESS if it is set, otherwise to a new cluster
    on this machine, which listens on loopback alone and ends with the block.

    Args: cluster_lost: once set, make no Ray calls: leaving a lost cluster would end the process with a signal while
        its threads wait for answers. The caller that set it ends the process by `os._exit`.
    Yields: host:port of the dashboard, which has the jobs API; "" if there is none.
    Raises: UserError if the cluster cannot be reached, or takes calls without a token and is not to be used `insecure`.
    """
    address = os.environ.get("RAY_ADDRESS", "")
    never_start_alone()
    try:
        if starts_its_own():
            context = _start_here(insecure=insecure)
        else:
            os.environ.setdefault(_RECONNECT_VARIABLE, str(_RECONNECT_SECONDS))
            in_job = JOB_VARIABLE in os.environ
            context = ray.init(**_QUIET) if in_job else _join(address, insecure=insecure)
        if not insecure and not through_client():
            refuse_open_cluster(ray.get_runtime_context().gcs_address)
        reach_nodes_directly()
        yield str(context.dashboard_url or "")
    finally:
        if starts_its_own() or cluster_lost is None or not cluster_lost.is_set():
            ray.shutdown()


def _join(address: str, *, insecure: bool) -> Any:
    if not insecure:
        if ":" in address:  # before our files and our token go there
            refuse_open_cluster(address)
        use_tokens(may_make_one=False)
        if ":" in address:
            refuse_wrong_token(address)
    try:
        return ray.init(runtime_env={"working_dir": str(ROOT)}, **_QUIET)
    except (AuthenticationError, ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError.of("RAY_ADDRESS", f"no Ray cluster at {address}: {reason}") from None


def _start_here(*, insecure: bool) -> Any:
    use_no_tokens() if insecure else use_tokens(may_make_one=True)
    drop_other_launchers(os.environ)  # the processes that Ray starts inherit it
    os.environ[LOOPBACK_VARIABLE] = "0"
    listen_on_loopback()
    return ray.init(
        address="local",
        num_cpus=_LEAST_CPUS if os.cpu_count() == 1 else None,  # else Ray counts, container limits included
        dashboard_host="127.0.0.1",
        runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}},
        **_QUIET,
    )


def _check_capacity(capacity: Capacity, workers: WorkersConfig) -> None:
    if capacity.concurrent_trainings(workers) < 1:
        unit = "GPU" if workers.use_gpu else "CPU"
        raise UserError.of(
            "workers.num_workers",
            f"{workers.num_workers} workers with {workers.cpus_per_worker} CPU(s)"
            f"{' and a GPU' if workers.use_gpu else ''} each do not fit: the cluster has {capacity.num_cpus} CPUs and "
            f"{capacity.num_gpus:g} GPUs. Lower workers.num_workers or add {unit} nodes",
        )
    if workers.gpus_per_evaluator * workers.num_evaluators > capacity.num_gpus:
        raise UserError.of(
            "workers.gpus_per_evaluator",
            f"{workers.num_evaluators} evaluators with {workers.gpus_per_evaluator} GPU each do not fit: "
            f"the cluster has {capacity.num_gpus:g} GPUs",
        )
