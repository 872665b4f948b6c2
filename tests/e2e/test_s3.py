"""The tiny sweep with everything on an S3 server: killed in the middle, it ends with the table of the local one."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestration.storage.store import MANIFEST, Store
from tests.e2e.conftest import FinishedSweep
from tests.support import s3
from tests.support.sweeps import ONLY_DFM, numbers, run, started, wait_until


@pytest.fixture
def bucket(with_reference: Path) -> Iterator[Store]:
    """A root that holds the measured real images, with server and credentials in the environment."""
    with s3.moto_server() as endpoint, s3.environment(s3.variables(endpoint)):
        store = Store(f"s3://{s3.make_bucket(endpoint)}/dfm")
        for path in with_reference.rglob("*"):
            if path.is_file():
                store.put(path, path.relative_to(with_reference).as_posix())
        yield store


def published(store: Store) -> list[str]:
    directories = [
        f"checkpoints/{digest}/{step}"
        for digest in store.names("checkpoints")
        for step in store.names(f"checkpoints/{digest}")
    ]
    return [directory for directory in directories if store.exists(f"{directory}/{MANIFEST}")]


@pytest.mark.proves(2)
@pytest.mark.slow
def test_a_killed_sweep_on_s3_is_continued_to_the_table_of_the_local_one(
    undisturbed: FinishedSweep, bucket: Store, tmp_path: Path
) -> None:
    tracking, log = f"tracking.uri=sqlite:///{tmp_path}/mlflow.db", tmp_path / "log"
    with started(bucket.root, log, ONLY_DFM, tracking) as driver:
        wait_until(lambda: len(published(bucket)) >= 2 or driver.poll() is not None, "two checkpoints")
        assert driver.poll() is None, log.read_text()
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
    resumed = run(bucket.root, ONLY_DFM, tracking)
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert s3.SECRET not in resumed.stdout + resumed.stderr + log.read_text()
    table = tmp_path / "reports" / "quickstart" / "table.csv"
    table.parent.mkdir(parents=True)
    table.write_bytes(bucket.read("reports/quickstart/table.csv"))
    assert numbers(tmp_path) == numbers(undisturbed.root, row="DFM")
    again = run(bucket.root, ONLY_DFM, tracking)
    assert "Everything is done already; nothing is computed." in again.stdout, again.stdout + again.stderr
