"""Small sweeps, and a store to run them in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from orchestration.storage.store import Store
from tests.support.s3 import FaultyProxy, environment, moto_server, variables

ROOT = Path(__file__).resolve().parents[2]
QUICKSTART = ROOT / "sweeps" / "quickstart.yaml"

TINY = (
    "model.size=nano",
    "training.steps=12",
    "training.batch_size=8",
    "training.warmup_steps=3",
    "evaluation.at_steps=[4, 12]",
    "evaluation.num_samples=40",
    "workers.checkpoint_every=4",
    "workers.log_every=1",
)
"""Overrides that shrink the quickstart to seconds of work; the tasks, and how they hang together, stay."""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """A server with the S3 API, on loopback."""
    with moto_server() as endpoint:
        yield endpoint


@pytest.fixture
def proxy(s3_endpoint: str) -> Iterator[FaultyProxy]:
    """Before a healthy server, and in the environment."""
    proxy = FaultyProxy(s3_endpoint)
    with environment(variables(proxy.endpoint)):
        yield proxy
    proxy.close()


@pytest.fixture(scope="session")
def ray_here() -> Iterator[None]:
    """A Ray of our own with four CPUs to count with, once for all tests that need one in this process."""
    ray.init(
        address="local",
        num_cpus=4,
        object_store_memory=200_000_000,
        dashboard_host="127.0.0.1",
        runtime_env={"env_vars": {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}},
        log_to_driver=False,
        logging_level="ERROR",
    )
    yield
    ray.shutdown()
