"""The sweep on two hosts in one Ray cluster, one of which is cut off in the middle: the same table as on this machine.

The hosts are Linux namespaces on this machine (tests/support/hosts.py). They share files, and nothing else.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.e2e.conftest import FinishedSweep
from tests.support.hosts import Host, hosts_on_a_switch
from tests.support.ray_nodes import NodePlan, RayCluster, ray_cluster
from tests.support.sweeps import ONLY_DFM, TWO_EVALUATORS, Where, has_ended, numbers, slow_steps, started, wait_until

pytestmark = pytest.mark.timeout(1200)
PORT = 6379
WORKERS = ("RayTrainWorker", "Evaluator")


@dataclass
class Pair:
    """Two hosts in one cluster."""

    head: Host
    other: Host
    driver: Where
    """On the head."""
    cluster: RayCluster


@contextmanager
def joined(*num_cpus: int) -> Iterator[Pair]:
    """Two hosts with so many CPUs; the driver's has the head. A folder of /tmp: sockets need short paths."""
    with (
        tempfile.TemporaryDirectory(prefix="dfm-hosts-", dir="/tmp", ignore_cleanup_errors=True) as folder,
        hosts_on_a_switch(["north", "south"], Path(folder)) as hosts,
        ray_cluster(Path(folder), [plan(*one) for one in zip(hosts, num_cpus, strict=True)], PORT) as cluster,
    ):
        north, south = hosts
        yield Pair(north, south, Where(north.command, cluster.environment), cluster)


def plan(host: Host, num_cpus: int) -> NodePlan:
    return NodePlan(num_cpus, host.address, host.command)


def at_work(host: Host) -> set[str]:
    """Which kinds of workers run on a host."""
    return {kind for kind in WORKERS if any(kind in line for line in host.command_lines())}


@pytest.mark.multihost
def test_a_training_and_its_evaluations_run_on_both_hosts_to_the_same_table(
    undisturbed: FinishedSweep, with_reference: Path, tmp_path: Path
) -> None:
    """One CPU each, so that the two workers of a training, and the two evaluators, are on different hosts."""
    log, seen = tmp_path / "log", {"north": set[str](), "south": set[str]()}
    with joined(1, 1) as pair, started(with_reference, log, ONLY_DFM, TWO_EVALUATORS, where=pair.driver) as driver:

        def is_over() -> bool:
            for host in (pair.head, pair.other):
                seen[host.name] |= at_work(host)
            return driver.poll() is not None

        wait_until(is_over, "the sweep to end", seconds=400)
        assert driver.returncode == 0, log.read_text()
    assert "Ray: 2 node(s), 2 CPUs, 0 GPUs" in log.read_text()
    assert seen == {"north": set(WORKERS), "south": set(WORKERS)}
    assert numbers(with_reference) == numbers(undisturbed.root, row="DFM")


@pytest.mark.proves(3)
@pytest.mark.multihost
def test_a_host_that_is_cut_off_takes_nothing_with_it(
    undisturbed: FinishedSweep, with_reference: Path, tmp_path: Path
) -> None:
    """All work begins on the other host. Then this one gets room for it, and that one is cut off, to go on in vain."""
    log = tmp_path / "log"
    slowly = ("workers.checkpoint_every=1", "workers.keep_checkpoints=99")
    with joined(0, 2) as pair:
        where = replace(pair.driver, environment=pair.driver.environment | slow_steps(12, 24))
        with started(with_reference, log, ONLY_DFM, TWO_EVALUATORS, *slowly, where=where) as driver:
            wait_until(lambda: "RayTrainWorker" in at_work(pair.other) or driver.poll() is not None, "a training")
            pair.cluster.add(plan(pair.head, 2))
            wait_until(lambda: len(checkpoints(with_reference)) > 2 or driver.poll() is not None, "three checkpoints")
            before = checkpoints(with_reference)
            pair.other.cut_off()
            assert "RayTrainWorker" not in at_work(pair.head), log.read_text()
            assert len(before) < 60, log.read_text()
            has_ended(driver, 0, log, seconds=400)
    print(f"cut off after step {len(before)}:\n{log.read_text()}")
    after = checkpoints(with_reference)
    assert {path: after.get(path) for path in before} == before  # no step before them was done again
    assert numbers(with_reference) == numbers(undisturbed.root, row="DFM")


def checkpoints(root: Path) -> dict[Path, int]:
    """Manifests of those that are published, and when each was written."""
    return {path: path.stat().st_mtime_ns for path in root.glob("checkpoints/*/step-*/manifest.json")}
