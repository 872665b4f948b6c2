"""Clusters of which a part goes, or goes soon: nodes, heads, memory. The table at the end is the undisturbed one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.e2e.conftest import FinishedSweep
from tests.support.ray_nodes import NodePlan, RayCluster, RayNode, ray_cluster
from tests.support.sweeps import (
    ONLY_DFM,
    ROOT,
    TWO_EVALUATORS,
    Where,
    children_called,
    descendants,
    goes_on_to_the_table_of,
    has_checkpoints,
    has_ended,
    numbers,
    published_steps,
    slow_steps,
    started,
    wait_until,
)

DFM_AND_TWO_EVALUATORS = (ONLY_DFM, TWO_EVALUATORS)
SLOWLY = slow_steps(22, 34)


RUN_OF = pytest.mark.parametrize(
    "run_of", ["workers.reuse_under_minutes=5", "workers.reuse_under_minutes=0"], ids=["shared", "own"]
)
"""Trainings in a Ray Train run with others, or in their own: it decides by whom workers are replaced."""


@contextmanager
def cluster_of(*plans: NodePlan) -> Iterator[RayCluster]:
    with (
        tempfile.TemporaryDirectory(prefix="dfm-ray-", dir="/tmp", ignore_cleanup_errors=True) as folder,
        ray_cluster(Path(folder), plans) as cluster,
    ):
        yield cluster


def trains(node: RayNode) -> bool:
    """Whether workers of a training run on it."""
    for pid in descendants(node.process.pid):
        try:
            if "RayTrainWorker" in " ".join(psutil.Process(pid).cmdline()):
                return True
        except psutil.Error:
            continue
    return False


@pytest.mark.proves(3, 6)
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("program", ["raylet", "gcs_server"])
def test_a_driver_whose_raylet_or_head_is_killed_reports_it_soon_and_resumes(
    undisturbed: FinishedSweep, with_reference: Path, tmp_path: Path, program: str
) -> None:
    log = tmp_path / "log"
    with started(with_reference, log, *DFM_AND_TWO_EVALUATORS, where=Where(environment=SLOWLY)) as driver:
        has_checkpoints(with_reference)
        (process,) = children_called(driver.pid, program)
        os.kill(process, signal.SIGKILL)
        has_ended(driver, 6, log, seconds=120)
    assert f"Stopped: the {'head' if program == 'gcs_server' else 'raylet'}" in log.read_text()
    assert "the same command goes on from the last checkpoints" in log.read_text()
    assert "Traceback" not in log.read_text()
    goes_on_to_the_table_of(undisturbed.root, with_reference)


@pytest.mark.proves(6)
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_head_that_dies_ends_the_driver_before_ray_does_and_another_head_goes_on(
    undisturbed: FinishedSweep, with_reference: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with (
        cluster_of(NodePlan(2)) as cluster,
        started(
            with_reference, log, *DFM_AND_TWO_EVALUATORS, where=Where(environment=cluster.environment | SLOWLY)
        ) as driver,
    ):
        has_checkpoints(with_reference)
        cluster.nodes[0].kill("gcs_server")
        has_ended(driver, 6, log, seconds=180)
    assert "Stopped: the head" in log.read_text()
    with cluster_of(NodePlan(2)) as cluster:
        goes_on_to_the_table_of(undisturbed.root, with_reference, Where(environment=cluster.environment))


@pytest.mark.proves(3)
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_node_whose_raylet_is_killed_is_done_without(
    undisturbed: FinishedSweep, with_reference: Path, tmp_path: Path
) -> None:
    """The head does no work. What is left has no room for a training beside evaluators, which the cluster had."""
    log = tmp_path / "log"
    with (
        cluster_of(NodePlan(0), NodePlan(2), NodePlan(2)) as cluster,
        started(
            with_reference, log, *DFM_AND_TWO_EVALUATORS, where=Where(environment=cluster.environment | SLOWLY)
        ) as driver,
    ):
        has_checkpoints(with_reference)
        node = next(filter(trains, cluster.nodes[1:]))
        node.kill("raylet")
        has_ended(driver, 0, log)
    assert "Ray has 2 node(s), 2 CPUs, 0 GPUs now." in log.read_text()
    assert "starting again" in log.read_text()
    assert numbers(with_reference) == numbers(undisturbed.root, row="DFM")


@pytest.mark.proves(4)
@pytest.mark.slow
@pytest.mark.timeout(1800)
@RUN_OF
def test_a_training_leaves_a_drained_node_without_a_lost_step_or_counted_failure(
    undisturbed: FinishedSweep, with_reference: Path, tmp_path: Path, run_of: str
) -> None:
    log = tmp_path / "log"
    with cluster_of(NodePlan(0), NodePlan(2), NodePlan(2)) as cluster:
        where = Where(environment=cluster.environment | SLOWLY)
        strict = (
            *DFM_AND_TWO_EVALUATORS,
            run_of,
            "workers.max_failures=0",
            "workers.checkpoint_every=20",
            "workers.keep_checkpoints=99",
        )
        with started(with_reference, log, *strict, where=where) as driver:
            wait_until(lambda: published_steps(with_reference) == [20], "a checkpoint", seconds=600)
            node = next(filter(trains, cluster.nodes[1:]))
            drain(cluster, node, seconds=120)
            wait_until(lambda: len(published_steps(with_reference)) >= 2, "the checkpoint that the notice asks for")
            (kept,) = set(published_steps(with_reference)) - {20}
            wait_until(lambda: not trains(node), "its workers to leave", seconds=120)
            if node.has("raylet"):  # it ends by itself once nothing at all runs there
                node.kill("raylet")
            has_ended(driver, 0, log)
    assert 20 < kept < 40
    assert set(published_steps(with_reference)) == {20, kept, 40, 60}
    assert f"it goes on from step {kept} on others" in log.read_text()
    assert "Ray has 2 node(s), 2 CPUs, 0 GPUs now." in log.read_text()
    assert numbers(with_reference) == numbers(undisturbed.root, row="DFM")


def drain(cluster: RayCluster, node: RayNode, seconds: int) -> None:
    """The notice that a cloud gives, as its autoscaler passes it on."""
    (given,) = [part for part in psutil.Process(node.pid_of("raylet")).cmdline() if part.startswith("--node_id=")]
    subprocess.run(
        [
            *(str(Path(sys.executable).parent / "ray"), "drain-node", f"--address={cluster.address}"),
            f"--node-id={given.partition('=')[2]}",
            *("--reason=DRAIN_NODE_REASON_PREEMPTION", "--reason-message=the spot instance goes"),
            f"--deadline-remaining-seconds={seconds}",
        ],
        cwd=ROOT,
        env=os.environ | cluster.environment,
        check=True,
    )


@pytest.mark.proves(9)
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_training_that_rays_memory_monitor_ends_is_tried_again(
    undisturbed: FinishedSweep, with_reference: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    memory = psutil.virtual_memory()
    threshold = (memory.total - memory.available + 7 * 2**30) / memory.total
    if threshold > 0.95:
        pytest.fail("this machine has too little free memory to fill 7 GiB of it")
    where = Where(environment={"DFM_FAULT": "1:17:memory", "RAY_memory_usage_threshold": f"{threshold:.3f}"})
    with started(with_reference, log, *DFM_AND_TWO_EVALUATORS, where=where) as driver:
        has_ended(driver, 0, log)
    assert "starting again" in log.read_text()
    assert "out of memory" in log.read_text()
    assert numbers(with_reference) == numbers(undisturbed.root, row="DFM")
