"""The data order: every epoch a permutation, and a pure function of the index."""

from __future__ import annotations

import numpy as np
import pytest

from dfm_core.data.sample_order import dataset_rows


@pytest.mark.parametrize("num_images", [1, 7, 60])
def test_every_epoch_shows_each_image_once(num_images: int) -> None:
    rows = dataset_rows(3, range(4 * num_images), num_images).reshape(4, num_images)
    assert rows.dtype == np.int64
    for epoch in rows:
        assert sorted(epoch) == list(range(num_images))


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    rows = dataset_rows(3, range(300), 100).reshape(3, 100)
    orders = {tuple(epoch) for epoch in rows} | {tuple(dataset_rows(4, range(100), 100))}
    assert len(orders) == 4


def test_the_row_depends_on_the_index_alone() -> None:
    # More epochs than the cache holds, visited forwards, backwards and in pieces.
    whole = dataset_rows(3, range(70), 7)
    backwards = dataset_rows(3, range(69, -1, -1), 7)
    pieces = np.concatenate([dataset_rows(3, range(begin, begin + 5), 7) for begin in range(0, 70, 5)])
    assert np.array_equal(whole, backwards[::-1])
    assert np.array_equal(whole, pieces)


def test_a_batch_may_span_two_epochs() -> None:
    rows = dataset_rows(0, range(6, 10), 8)
    assert rows[:2].tolist() == dataset_rows(0, range(8), 8)[6:].tolist()
    assert rows[2:].tolist() == dataset_rows(0, range(8, 16), 8)[:2].tolist()
