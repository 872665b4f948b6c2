"""Work ahead of its consumer changes when things are done, and nothing else."""

from __future__ import annotations

import threading
import time

import pytest

from dfm_core.data.latents.read_ahead import ahead


def test_the_order_is_that_of_the_items_whoever_is_done_first() -> None:
    def slow_at_first(item: int) -> int:
        time.sleep(0.02 if item == 0 else 0.0)
        return item * item

    assert list(ahead(slow_at_first, range(20), depth=3, num_threads=4)) == [item * item for item in range(20)]


def test_no_more_than_the_depth_is_made_before_it_is_asked_for() -> None:
    made: list[int] = []
    results = ahead(lambda item: made.append(item), range(10), depth=2)
    next(results)
    time.sleep(0.05)
    assert made == [0, 1, 2]
    results.close()


def test_a_failure_comes_at_its_own_turn_and_ends_the_threads() -> None:
    def fails_at_two(item: int) -> int:
        if item == 2:
            raise KeyError("two")
        return item

    results = ahead(fails_at_two, range(10), depth=5)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(KeyError, match="two"):
        next(results)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]


def test_the_wait_is_hidden_behind_the_consumers_work() -> None:
    began = time.monotonic()
    for _ in ahead(lambda _: time.sleep(0.03), range(10), depth=1):
        time.sleep(0.03)
    assert time.monotonic() - began < 0.5  # one after the other it would be 0.6


@pytest.mark.parametrize(("depth", "num_threads"), [(0, 1), (1, 0)])
def test_nothing_ahead_is_a_mistake(depth: int, num_threads: int) -> None:
    with pytest.raises(ValueError, match="both are at least 1"):
        next(ahead(abs, [1], depth, num_threads))
