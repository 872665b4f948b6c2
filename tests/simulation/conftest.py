"""A process of its own for worlds."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest


@pytest.fixture(scope="package")
def world_process() -> Iterator[ProcessPoolExecutor]:
    """A process that has run no other test: theirs leave threads, clusters and kept values of the real outside."""
    process = ProcessPoolExecutor(1, get_context("spawn"))
    try:
        yield process
    finally:
        process.shutdown(wait=False, cancel_futures=True)
