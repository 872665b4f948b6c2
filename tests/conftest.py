"""The fake GPU, which must be there before torch is, and no site file of the user: both for every test."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import cuda_hooks

if TYPE_CHECKING:
    from tests.support.fake_cuda import FakeCuda, HostWaits


if "PYTEST_XDIST_WORKER" in os.environ:  # before torch is imported; two processes of two threads wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")
cuda_hooks.load(Path(__file__).parents[1] / ".pytest_cache" / "d" / "fake-cuda")  # before other files import torch

os.environ["DFM_SITE"] = os.environ["DFM_WITH"] = ""
# Ray's workers run at niceness 15, and would starve beside the other test process.
os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112  Ray spells it so


def pytest_collection_finish() -> None:
    """Leave what was collected out of later garbage collections: of ten thousand tests each would take seconds."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def fake_cuda() -> Iterator[tuple[FakeCuda, HostWaits]]:
    """A GPU that computes nothing, and a count of the host's waits for it."""
    from tests.support.fake_cuda import fake_gpu

    if not cuda_hooks.is_loaded():
        pytest.skip("needs a build of torch for CPUs, and g++")
    with fake_gpu() as gpu:
        yield gpu
