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
from ray.util.placement_group import PlacementGroup, placement_group

from orchestration.private.ray import (
    draining_nodes,
    listen_on_loopback,
    placement_groups_of_dead_actors,
)


def test_a_cluster_can_be_made_to_listen_on_loopback_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_constants, "ENABLE_RAY_CLUSTER", True)
    monkeypatch.setattr(ray._private.worker, "_global_node", None)
    listen_on_loopback()
    assert services.get_node_ip_address() == "127.0.0.1"


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
    ids = [identity for identity in placement_groups_of_dead_actors(job) if identity not in before]
    assert ids == [orphan.binary()]
    assert placement_groups_of_dead_actors("00" * 4) == []
    for identity in (orphan, other):
        ray.util.remove_placement_group(PlacementGroup(identity))
    ray.kill(living)
    assert placement_groups_of_dead_actors(job) == before
