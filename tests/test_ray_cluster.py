"""ray_cluster.yaml is what `ray up` takes, and the commands of docs/clusters.md are ones for the shell."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from orchestration.cluster.capacity import Capacity, NodeSize
from orchestration.cluster.capacity_checks import capacity_problems
from orchestration.cluster.node_types import NodeTypes
from orchestration.spec.load import load_sweep
from tests.support.sweeps import SHIPPED

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "clusters.md").read_text()


@pytest.fixture
def config() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "ray_cluster.yaml").read_text())
    return loaded


def fenced(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def assert_shell(script: str) -> None:
    done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{script}\n{done.stderr}"


def test_the_cluster_file_fits_rays_own_schema(config: dict[str, Any]) -> None:
    validate_config(prepare_config(config))


def test_gpu_workers_come_with_demand_alone(config: dict[str, Any]) -> None:
    worker, head = config["available_node_types"]["gpu_worker"], config["available_node_types"]["head"]
    assert worker["min_workers"] == 0
    assert 0 < worker["max_workers"] <= config["max_workers"]
    assert worker["resources"]["GPU"] > 0
    assert "GPU" not in head["resources"]
    assert worker["node_config"]["ImageId"] == head["node_config"]["ImageId"]


@pytest.mark.parametrize(
    "more", [(), ("workers.use_gpu=true", "workers.num_workers=4", "workers.gpus_per_evaluator=1")]
)
@pytest.mark.parametrize("sweep", SHIPPED, ids=lambda path: path.stem)
def test_the_shipped_sweeps_fit_on_the_shipped_cluster(
    config: dict[str, Any], sweep: Path, more: tuple[str, ...]
) -> None:
    workers = load_sweep(sweep, more).runtime.workers
    coming = NodeTypes.of(config).can_come([], workers)
    head = NodeSize(config["available_node_types"]["head"]["resources"]["CPU"])
    capacity = Capacity((head,), coming=coming)
    assert list(capacity_problems(capacity, workers)) == []
    assert capacity.concurrent_trainings(workers) >= 1
    assert len(coming) == (4 if workers.use_gpu else 0)


def test_every_node_has_the_token_for_its_owner_alone_and_starts_ray_with_it(config: dict[str, Any]) -> None:
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    assert "chmod 600 ~/.ray/auth_token" in config["setup_commands"][0]
    assert any("RAY_AUTH_MODE=token" in command for command in config["setup_commands"])
    for kind in ("head_start_ray_commands", "worker_start_ray_commands"):
        assert all(command.startswith("source ~/.dfm_environment && ") for command in config[kind])
    (start,) = [command for command in config["head_start_ray_commands"] if "ray start" in command]
    assert "--dashboard-host=127.0.0.1" in start


def test_what_is_copied_is_there_and_every_command_is_one_for_the_shell(config: dict[str, Any]) -> None:
    for source in config["file_mounts"].values():
        assert source.startswith("~") or (ROOT / source).is_file()
    for kind in ("setup_commands", "head_start_ray_commands", "worker_start_ray_commands"):
        for command in config[kind]:
            assert_shell(command)
    (install,) = [command for command in config["setup_commands"] if "--constraint" in command]
    assert "--no-require-hashes --constraint hashes.txt --constraint constraints.txt" in install


def test_the_commands_of_each_walk_are_for_the_shell_and_name_files_that_are_there() -> None:
    image, kubernetes, slurm, machines = fenced("bash")
    for script in (image, kubernetes, slurm, machines):
        assert_shell(script)
    named = set(re.findall(r"(?:deploy|sweeps|orchestration)/[\w./]+", PAGE)) - {"sweeps/site.yaml"}  # the reader's own
    assert len(named) > 8
    assert [name for name in named if not (ROOT / name.rstrip(".")).exists()] == []
    for script in (kubernetes, slurm, machines):
        assert "sweeps/table1.yaml" in script
