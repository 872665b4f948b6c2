"""Shapes of images, and the shape of each step."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from dfm_core.data.captions.bucket_order import BucketGroup, BucketOrder
from dfm_core.data.captions.buckets import Bucket, bucket_of, buckets_of


def test_side_1024_has_eleven_shapes_of_about_4096_tokens() -> None:
    buckets = buckets_of(1024, 16)
    assert [str(one) for one in buckets] == [
        "704x1408",
        "768x1344",
        "832x1216",
        "896x1152",
        "960x1088",
        "1024x1024",
        "1088x960",
        "1152x896",
        "1216x832",
        "1344x768",
        "1408x704",
    ]
    tokens = [one.height * one.width // 16**2 for one in buckets]
    assert (min(tokens), max(tokens)) == (3872, 4096)


def test_half_the_side_has_the_shapes_halved() -> None:
    assert buckets_of(512, 16) == tuple(Bucket(one.height // 2, one.width // 2) for one in buckets_of(1024, 16))


def test_large_tokens_make_fewer_shapes() -> None:
    assert [str(one) for one in buckets_of(64, 8)] == ["48x80", "56x72", "64x64", "72x56", "80x48"]


def test_side_that_is_no_multiple_of_its_cells_is_refused() -> None:
    with pytest.raises(ValueError, match="a side of 100 pixels is no multiple of 16"):
        buckets_of(100, 16)


@pytest.mark.parametrize(
    ("height", "width", "nearest"),
    [
        (2000, 2000, "1024x1024"),
        (1024, 1024, "1024x1024"),
        (3000, 2000, "1216x832"),
        (2000, 3000, "832x1216"),
        (9000, 1408, "1408x704"),  # ratios over 2 are cropped to it
        (1000, 1000, None),
        (1407, 704, None),
    ],
)
def test_image_has_the_nearest_shape_that_it_reaches(height: int, width: int, nearest: str | None) -> None:
    found = bucket_of(height, width, buckets_of(1024, 16))
    assert (found and str(found)) == nearest


GROUPS = (
    BucketGroup(64, Bucket(64, 64), 60),
    BucketGroup(64, Bucket(80, 48), 30),
    BucketGroup(64, Bucket(48, 80), 0),
    BucketGroup(128, Bucket(128, 128), 10),
)
STEPS = 6000


def test_shapes_are_drawn_by_side_and_by_their_images() -> None:
    order = BucketOrder(3, GROUPS, {64: 3.0, 128: 1.0})
    counts = Counter(order.place(step).group for step in range(STEPS))
    assert counts[2] == 0
    for group, share in ((0, 0.5), (1, 0.25), (3, 0.25)):
        deviation = (STEPS * share * (1 - share)) ** 0.5
        assert abs(counts[group] - STEPS * share) < 3 * deviation


def test_earlier_steps_of_a_shape_are_counted_from_any_step_on() -> None:
    order = BucketOrder(0, GROUPS, {64: 1.0, 128: 1.0})
    seen: Counter[int] = Counter()
    for step in range(3000):
        place = order.place(step)
        assert place.earlier == seen[place.group]
        seen[place.group] += 1
    resumed = BucketOrder(0, GROUPS, {64: 1.0, 128: 1.0})
    assert resumed.place(2999) == order.place(2999)
    assert resumed.place(5) == order.place(5)


def test_seeds_have_orders_of_their_own() -> None:
    first, second = ([BucketOrder(seed, GROUPS, {64: 1.0}).place(step).group for step in range(100)] for seed in (0, 1))
    assert first != second
    assert set(first) == {0, 1}


def test_side_without_images_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no image is large enough for data\.sides 256"):
        BucketOrder(0, GROUPS, {64: 1.0, 256: 1.0})


def test_shares_need_not_sum_to_one() -> None:
    order = BucketOrder(0, GROUPS, {64: 4.0, 128: 12.0})
    assert np.allclose(order.shares, [0.25 * 2 / 3, 0.25 / 3, 0.0, 0.75])
