"""Ray's private interfaces do what `orchestration.private.ray` says: each test fails when one changes."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray._private import ray_constants, services
from ray._private.runtime_env import uv_runtime_env_hook
from ray.util.placement_group import PlacementGroup, placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from orchestration.private.ray import (
    autoscaler_config_file,
    claims_of_job,
    draining_nodes,
    free_resources,
    listen_on_loopback,
    placement_groups_of_dead_actors,
    start_workers_with_this_python,
)


def test_a_cluster_can_be_made_to_listen_on_loopback_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_constants, "ENABLE_RAY_CLUSTER", True)
    monkeypatch.setattr(ray._private.worker, "_global_node", None)
    listen_on_loopback()
    assert services.get_node_ip_address() == "127.0.0.1"


def test_workers_can_be_kept_from_an_environment_of_uv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_constants, "RAY_ENABLE_UV_RUN_RUNTIME_ENV", True)
    monkeypatch.setattr(uv_runtime_env_hook, "_get_uv_run_cmdline", lambda: ["uv", "run", "python", "sweep.py"])
    given = {"env_vars": {"PYTHONPATH": "/project"}}
    assert "py_executable" in ray._private.worker._maybe_modify_runtime_env(dict(given), False)
    start_workers_with_this_python()
    assert ray._private.worker._maybe_modify_runtime_env(dict(given), False) == given


def test_ray_reads_its_environment_again() -> None:
    """In a process of its own: the mode of authentication is global."""
    code = (
        "import os, ray\n"
        "from ray._raylet import AuthenticationMode, get_authentication_mode\n"
        "from orchestration.private.ray import reread_environment\n"
        "for mode, expected in (('token', AuthenticationMode.TOKEN), ('disabled', AuthenticationMode.DISABLED)):\n"
        "    os.environ['RAY_AUTH_MODE'] = mode\n"
        "    reread_environment()\n"
        "    assert get_authentication_mode() == expected, mode\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "RAY_AUTH_MODE"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=120)


@pytest.mark.usefixtures("ray_here")
def test_no_node_of_a_quiet_cluster_is_draining() -> None:
    assert dict(draining_nodes()) == {}


def test_draining_nodes_come_by_id_with_their_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    accessor = SimpleNamespace(get_draining_nodes=lambda: {"ab" * 28: 1_700_000_000_000})
    monkeypatch.setattr(ray._private.state.state, "_connect_and_get_accessor", lambda: accessor)
    assert draining_nodes() == {"ab" * 28: 1_700_000_000_000}


@ray.remote(num_cpus=0)
class Creator:
    def create(self) -> Any:
        group = placement_group([{"CPU": 1}])
        ray.get(group.ready())
        return group.id


@pytest.mark.usefixtures("ray_here")
def test_only_placement_groups_of_dead_actors_are_listed() -> None:
    job = ray.get_runtime_context().get_job_id()
    before = placement_groups_of_dead_actors(job)
    dead, living = Creator.remote(), Creator.remote()
    orphan, other = ray.get([dead.create.remote(), living.create.remote()])
    ray.kill(dead)
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(dead.create.remote())
    ids = set(placement_groups_of_dead_actors(job)) - set(before)  # actors of earlier tests may have died meanwhile
    assert orphan.binary() in ids
    assert other.binary() not in ids
    assert placement_groups_of_dead_actors("00" * 4) == []
    for identity in (orphan, other):
        ray.util.remove_placement_group(PlacementGroup(identity))
    ray.kill(living)
    assert not {orphan.binary(), other.binary()} & set(placement_groups_of_dead_actors(job))


@pytest.mark.usefixtures("ray_here")
def test_claims_are_what_groups_and_actors_of_this_job_hold_or_wait_for() -> None:
    job, node = ray.get_runtime_context().get_job_id(), ray.get_runtime_context().get_node_id()
    held = placement_group([{"CPU": 0.25}, {"CPU": 0.25}])
    ray.get(held.ready())
    waiting = placement_group([{"CPU": 1, "GPU": 64}])
    strategy = PlacementGroupSchedulingStrategy(held)
    inside = Holder.options(num_cpus=0.25, scheduling_strategy=strategy).remote()  # counted with its group
    actor, free_of_charge = Holder.options(num_cpus=0.125).remote(), Holder.options(num_cpus=0).remote()
    ray.get([one.hold.remote() for one in (inside, actor, free_of_charge)])
    claims = [claim for claim in claims_of_job(job) if claim.num_cpus < 1 or claim.num_gpus]
    ids = (held.id.hex(), waiting.id.hex(), actor._actor_id.hex())
    bundle = (ids[0], True, 0.25, 0.0, False)
    expected = [bundle, bundle, (ids[1], True, 1.0, 64.0, True), (ids[2], False, 0.125, 0.0, False)]
    found = [(one.owner, one.is_bundle, one.num_cpus, one.num_gpus, one.is_waiting) for one in claims]
    assert sorted(found) == sorted(expected)
    assert {claim.node for claim in claims if not claim.is_waiting} == {node}
    assert list(claims_of_job("00" * 4)) == []
    assert free_resources()[node]["CPU"] <= ray.cluster_resources()["CPU"]
    for group in (held, waiting):
        ray.util.remove_placement_group(group)
    for one in (inside, actor, free_of_charge):
        ray.kill(one)


@ray.remote
class Holder:
    def hold(self) -> None: ...


@pytest.mark.parametrize(("port", "file"), [(4242, "/x/ray_bootstrap_config.yaml"), (4243, None), (4244, None)])
def test_the_autoscalers_file_is_that_of_the_cluster_at_a_port(port: int, file: str | None) -> None:
    """4243 is a head without an autoscaler's file; nobody is at 4244."""
    options = ["--gcs-address=10.0.0.1:4242", "--autoscaling-config=/x/ray_bootstrap_config.yaml"]
    asleep = [sys.executable, "-c", "import time; print(flush=True); time.sleep(600)", "/ray/autoscaler/monitor.py"]
    others = [sys.executable, "-c", asleep[2], "/ray/log_monitor.py", *options]
    commands = ([*asleep, *options], [*asleep, "--gcs-address=10.0.0.1:4243"], others)
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE) for command in commands]
    try:
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        assert autoscaler_config_file(port) == file
    finally:
        for process in processes:
            process.kill()
            process.communicate()
