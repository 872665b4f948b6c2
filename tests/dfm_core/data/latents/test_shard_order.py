"""The order of a store that is larger than its cache: every sample once an epoch, few shards at a time."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from dfm_core.data.latents.shard_order import ShardOrder
from dfm_core.data.sample_order import dataset_rows

SIZES = (5, 4, 0, 7, 3, 6)
NUM = sum(SIZES)


@pytest.mark.parametrize("window", [1, 2, 4, 5])
def test_every_epoch_shows_each_sample_once(window: int) -> None:
    rows = ShardOrder(3, SIZES, window).rows(range(4 * NUM)).reshape(4, NUM)
    for epoch in rows:
        assert sorted(epoch) == list(range(NUM))
    assert len({tuple(epoch) for epoch in rows}) == 4
    assert tuple(ShardOrder(4, SIZES, window).rows(range(NUM))) != tuple(rows[0])


@pytest.mark.parametrize("window", [6, 100])
def test_a_window_of_all_shards_is_the_full_shuffle(window: int) -> None:
    rows = ShardOrder(3, SIZES, window).rows(range(2 * NUM))
    assert np.array_equal(rows, dataset_rows(3, range(2 * NUM), NUM))


def test_the_row_depends_on_the_index_alone() -> None:
    whole = ShardOrder(3, SIZES, 2).rows(range(20 * NUM))
    backwards = ShardOrder(3, SIZES, 2).rows(range(20 * NUM - 1, -1, -1))
    pieces = [ShardOrder(3, SIZES, 2).rows(range(begin, begin + 5)) for begin in range(0, 20 * NUM, 5)]
    assert np.array_equal(whole, backwards[::-1])
    assert np.array_equal(whole, np.concatenate(pieces))


def test_a_window_is_read_to_its_end_before_the_next_and_is_shuffled() -> None:
    order = ShardOrder(0, (50,) * 6, 2)
    shards = (order.rows(range(300)) // 50).reshape(3, 100)
    seen = [set(window) for window in shards]
    assert all(len(window) == 2 for window in seen)
    assert set.union(*seen) == set(range(6))
    changes = [int(np.count_nonzero(np.diff(window))) for window in shards]
    assert min(changes) > 30  # of 99 neighbours half come from different shards, not one


def test_every_window_of_every_epoch_is_shuffled_in_its_own_way() -> None:
    inside = ShardOrder(0, (50, 50), 1).rows(range(300)).reshape(6, 50) % 50
    assert len({tuple(window) for window in inside}) == 6


def test_the_shards_to_come_are_those_that_are_read() -> None:
    order = ShardOrder(1, (10,) * 5, 2)
    rows = order.rows(range(150)).reshape(15, 10) // 10
    for index in (0, 19, 20, 45, 49, 50, 120):
        coming = list(islice(order.shards_from(index), 10))
        now = {shard for ahead, shard in coming if ahead == 0}
        assert set(rows[index // 10].tolist()) <= now
        epoch, position = divmod(index, 50)
        begin = epoch * 50 + min((position // 20 + 1) * 20, 50)  # where the next window starts
        length = 10 if begin % 50 == 40 else 20
        expected = set((order.rows(range(begin, begin + length)) // 10).tolist())
        assert {shard for ahead, shard in coming if ahead == 1} == expected


@pytest.mark.parametrize(("sizes", "window"), [((1, 2), 0), ((), 1), ((0,), 1)])
def test_nothing_to_order_is_refused(sizes: tuple[int, ...], window: int) -> None:
    with pytest.raises(ValueError, match="both >= 1"):
        ShardOrder(0, sizes, window)
