"""Work ahead of its consumer changes when things are done, and nothing else."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from dfm_core.data.latents.read_ahead import ahead


def test_the_order_is_that_of_the_items_whoever_is_done_first() -> None:
    def slow_at_first(item: int) -> int:
        time.sleep(0.02 if item == 0 else 0.0)
        return item * item

    assert list(ahead(slow_at_first, range(20), depth=3, num_threads=4)) == [item * item for item in range(20)]


def test_no_more_than_the_depth_is_made_before_it_is_asked_for() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for item in range(10):
            taken.append(item)
            yield item

    results = ahead(lambda item: item, items(), depth=2)
    for item in range(8):
        assert next(results) == item
        assert taken == list(range(item + 3))
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


def test_the_next_is_made_while_the_consumer_works() -> None:
    made = [threading.Event() for _ in range(10)]
    for item in ahead(lambda item: made[item].set() or item, range(10), depth=1):  # type: ignore[func-returns-value]
        assert all(event.wait(60) for event in made[: item + 2])


@pytest.mark.parametrize(("depth", "num_threads"), [(0, 1), (1, 0)])
def test_nothing_ahead_is_a_mistake(depth: int, num_threads: int) -> None:
    with pytest.raises(ValueError, match="both are at least 1"):
        next(ahead(abs, [1], depth, num_threads))
