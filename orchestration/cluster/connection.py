"""The connection to Ray: joins a cluster where there is one, else starts one; checks it before anything is spent."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from contextlib import contextmanager
from threading import Event
from typing import Any

import ray
from ray.exceptions import AuthenticationError

from orchestration.cluster.address import reach_nodes_directly, starts_its_own, through_client
from orchestration.cluster.authentication import is_refused, refuse_open_cluster, refuse_wrong_token, use_tokens
from orchestration.cluster.capacity_checks import capacity_problems
from orchestration.cluster.cluster_view import ClusterView, cluster_view
from orchestration.cluster.ray_start import QUIET, await_workers, start_here
from orchestration.cluster.start_checks import RayDidNotStartError, upload_problems
from orchestration.common.background import in_background
from orchestration.common.errors import UserError
from orchestration.common.exit_codes import EXIT_HANGUP, EXIT_TERMINATED
from orchestration.common.project import IS_CHECKOUT, ROOT
from orchestration.config.ray_job import JOB_VARIABLE, variables_of_job
from orchestration.config.workers import WorkersConfig
from orchestration.control.end_signals import EndSignals
from orchestration.private.ray import never_start_alone
from orchestration.startup.full_precision import ONEDNN_STRICT

_RECONNECT_VARIABLE, _RECONNECT_SECONDS = "RAY_gcs_rpc_server_reconnect_timeout_s", 600
"""Time without a head after which Ray aborts this process; its default of 60 s is too soon for a report."""
_JOIN_SECONDS = 300.0
"""Longest time in which a running cluster lets this process in, with the upload of the project."""
_OWN_WORKER_SECONDS = 120.0
"""Longest time for the first worker of a cluster on this machine, which takes seconds."""


@contextmanager
def cluster(workers: WorkersConfig, cluster_lost: Event | None = None) -> Iterator[ClusterView]:
    """Connect to Ray for the length of a `with` block, see `connection`; yield the view of the cluster.

    Raises: UserError as `connection`, and if the cluster is, and stays, too small for one training.
    """
    os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", str(workers.wait_for_workers_seconds))
    # The dashboard shows runs, and nodes get notice of their end, where somebody has started the cluster for us.
    is_given = "0" if starts_its_own() else "1"
    os.environ.setdefault("RAY_TRAIN_ENABLE_STATE_TRACKING", is_given)
    os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", is_given)
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")  # how soon a report is taken, a death seen
    os.environ.setdefault("RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S", "1")  # a notice may come a few seconds before the end
    # A process that is frozen whole says nothing itself; one that hangs in a step has ended itself before.
    os.environ.setdefault("RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S", str(2 * workers.hung_after_seconds))
    wait_seconds = workers.wait_for_workers_seconds
    with connection(insecure=workers.insecure_no_auth, wait_seconds=wait_seconds, cluster_lost=cluster_lost):
        view = cluster_view(workers)
        if problems := list(capacity_problems(view.look(), workers)):
            raise UserError(problems)
        yield view


@contextmanager
def connection(*, insecure: bool, wait_seconds: float, cluster_lost: Event | None = None) -> Iterator[str]:
    """Connect to the job's cluster in a submitted job, to that of RAY_ADDRESS if it is set, otherwise to a new cluster
    on this machine, which listens on loopback alone and ends with the block.

    Args: wait_seconds: for the first worker. cluster_lost: once set, make no Ray calls: leaving a lost cluster would
        end the process with a signal while its threads wait for answers. The caller that set it ends the process by
        `os._exit`.
    Yields: host:port of the dashboard, which has the jobs API; "" if there is none.
    Raises: UserError if the cluster cannot be reached, or takes calls without a token and is not to be used `insecure`;
        RayDidNotStartError; SystemExit after SIGTERM or SIGHUP.
    """
    never_start_alone()
    try:
        try:
            dashboard = _connect(insecure=insecure, wait_seconds=wait_seconds)
        except SystemExit as ended:
            # Ray's own handlers of SIGTERM have codes of their own.
            raise SystemExit(EXIT_HANGUP if ended.code == EXIT_HANGUP else EXIT_TERMINATED) from None
        yield dashboard
    finally:
        # Of a cluster that did not let this process in, the thread that waits for it is left alone.
        is_lost = cluster_lost is not None and cluster_lost.is_set()
        if starts_its_own() or (ray.is_initialized() and not is_lost):
            ray.shutdown()


def _connect(*, insecure: bool, wait_seconds: float) -> str:
    """Connect; return when a worker has answered."""
    with EndSignals() as signals:
        if starts_its_own():
            context = start_here(insecure=insecure)
            wait_seconds = min(wait_seconds, _OWN_WORKER_SECONDS)
            signals.listen()  # in the place of Ray's own handler, which would wait until the node is drained
        else:
            os.environ.setdefault(_RECONNECT_VARIABLE, str(_RECONNECT_SECONDS))
            signals.listen()
            context = _join(insecure=insecure, signals=signals)
        reach_nodes_directly()
        await_workers(wait_seconds, signals)
        if not insecure and not through_client():
            refuse_open_cluster(ray.get_runtime_context().gcs_address)
        if signals.early_exit is not None:
            raise SystemExit(signals.early_exit.exit_code)
    return str(context.dashboard_url or "")


def _join(*, insecure: bool, signals: EndSignals) -> Any:
    if JOB_VARIABLE in os.environ:
        of_job = variables_of_job(os.environ)  # of which Ray lets a driver set none again
        strict = {name: value for name, value in ONEDNN_STRICT.items() if name not in of_job}
        return _let_in(lambda: ray.init(runtime_env={"env_vars": strict}, **QUIET), signals)
    address = os.environ["RAY_ADDRESS"]
    print(f"Joining the Ray cluster at {address}.", flush=True)  # one that is away is silent for half a minute
    if not insecure:
        if ":" in address:  # before our files and our token go there
            refuse_open_cluster(address)
        use_tokens(may_make_one=False)
        if ":" in address:
            refuse_wrong_token(address)
    elif ":" in address:
        is_refused(address)  # or does not answer, which Ray would not notice
    if IS_CHECKOUT and (problems := list(upload_problems(ROOT))):
        raise UserError(problems)
    # An installed project lies among all other packages of its Python; the nodes have it installed, too.
    project = {"working_dir": str(ROOT)} if IS_CHECKOUT else {}
    runtime_env = {**project, "env_vars": ONEDNN_STRICT}
    try:
        return _let_in(lambda: ray.init(runtime_env=runtime_env, **QUIET), signals)
    except (AuthenticationError, ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError.of("RAY_ADDRESS", f"no Ray cluster at {address}: {reason}") from None


def _let_in(join: Callable[[], Any], signals: EndSignals) -> Any:
    """Return Ray's context. Ray itself may wait for a cluster for ever, deaf to signals.

    Raises: RayDidNotStartError; SystemExit after a signal; what `join` does.
    """
    if through_client():  # has a limit of its own
        return join()
    joining, deadline = in_background("ray-init", join), time.monotonic() + _JOIN_SECONDS
    while not wait([joining], timeout=0.5).done:
        if signals.early_exit is not None:
            raise SystemExit(signals.early_exit.exit_code)
        if time.monotonic() > deadline:
            where = f"Ray at {os.environ.get('RAY_ADDRESS') or 'the address of this job'}"
            raise RayDidNotStartError.of(where, f"has not let this process in within {_JOIN_SECONDS:g} s")
    return joining.result()
