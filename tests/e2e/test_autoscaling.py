"""Clusters that grow when a sweep asks, and shrink after it; Ray's fake autoscaler starts the nodes on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.autoscaling import NOBODY_COMES, autoscaling_cluster, num_workers
from tests.support.sweeps import ONLY_DFM, Where, has_ended, run, started, wait_until

FOUR = (ONLY_DFM, "seeds=[0, 1, 2, 3]", "evaluation.at_steps=[60]", "workers.num_workers=1", "workers.num_evaluators=1")
TWO_FIT = {"CPU": 2.0}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_cluster_grows_to_two_nodes_for_four_trainings_and_shrinks_after(
    with_reference: Path, tmp_path: Path
) -> None:
    log, most = tmp_path / "log", 0
    with autoscaling_cluster(1, TWO_FIT, 2) as cluster:
        assert num_workers(cluster) == 0
        with started(with_reference, log, *FOUR, where=Where(environment=cluster.environment)) as driver:

            def has_grown() -> bool:
                nonlocal most
                most = max(most, num_workers(cluster))
                return most == 2 or driver.poll() is not None

            wait_until(has_grown, "two nodes", seconds=300)
            has_ended(driver, 0, log)
        assert most == 2, log.read_text()
        wait_until(lambda: num_workers(cluster) == 0, "the nodes to go", seconds=120)
    assert "Ray: 1 node(s), 1 CPUs, 0 GPUs; 2 nodes can come" in log.read_text()
    assert len(list(with_reference.glob("checkpoints/*"))) == 4


@pytest.mark.proves(33)
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_what_waits_for_a_node_that_never_comes_is_told_and_the_sweep_goes_on(
    with_reference: Path, tmp_path: Path
) -> None:
    """The head has room for one training: once nobody expects a node any more, it does them all."""
    log, two = tmp_path / "log", (*FOUR, "seeds=[0, 1]", "workers.wait_for_workers_seconds=80")
    with (
        autoscaling_cluster(1, TWO_FIT, 2, NOBODY_COMES) as cluster,
        started(with_reference, log, *two, where=Where(environment=cluster.environment)) as driver,
    ):
        wait_until(lambda: "Waiting since" in log.read_text() or driver.poll() is not None, "the notice")
        wait_until(lambda: "Waiting since" in status(with_reference, two) or driver.poll() is not None, "the beat")
        has_ended(driver, 0, log)
    told = [line for line in log.read_text().splitlines() if line.startswith("Waiting since ")]
    assert any(
        "for 0:3" in line and "1 training, each for 1 worker with 1 CPU. Ray has 1 node(s)" in line for line in told
    )
    assert "Ray has 1 node(s), 1 CPUs, 0 GPUs now." in log.read_text()


def status(root: Path, more: tuple[str, ...]) -> str:
    return run(root, *more, "--status").stdout


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_node_type_that_holds_no_worker_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with autoscaling_cluster(1, TWO_FIT, 2) as cluster:
        where = Where(environment=cluster.environment)
        done = run(tmp_path / "runs", *FOUR, "workers.cpus_per_worker=3", where=where)
        assert num_workers(cluster) == 0
    assert done.returncode == 2, done.stdout + done.stderr
    assert "workers.cpus_per_worker: a worker with 3 CPU(s) fits on no node" in done.stdout + done.stderr
    assert "it can get 2 nodes of 2 CPUs, 0 GPUs" in done.stdout + done.stderr
    assert "started" not in done.stdout
