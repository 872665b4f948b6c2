"""How far an axis reaches, by hand."""

from __future__ import annotations

import math

import pytest

from analysis.drawing.axis_range import y_range
from analysis.drawing.chart import Line, Panel


def panel(
    ys: tuple[float, ...], widths: tuple[float, ...] = (), *, real_images: float | None = None, log: bool = False
) -> Panel:
    return Panel("x", "y", (Line("a", tuple(map(float, range(len(ys)))), ys, widths),), real_images, log_y=log)


def test_without_intervals_it_reaches_over_the_values_and_the_floor() -> None:
    assert y_range(panel((10.0, 20.0))) == pytest.approx((9.5, 20.5))
    assert y_range(panel((10.0, 20.0), real_images=0.0)) == pytest.approx((-1.0, 21.0))


def test_short_intervals_are_inside_in_full() -> None:
    assert y_range(panel((10.0, 20.0), (1.0, 3.0))) == pytest.approx((9 - 0.7, 23 + 0.7))


def test_one_wide_interval_does_not_flatten_the_others() -> None:
    low, high = y_range(panel((10.0, 12.0, 20.0), (1.0, 500.0, 1.0))) or (0, 0)
    assert (low, high) == pytest.approx((5 - 1, 25 + 1))


def test_values_that_differ_by_less_than_their_intervals_show_these() -> None:
    low, high = y_range(panel((10.0, 10.1, 10.2), (5.0, 5.0, 5.0))) or (0, 0)
    assert low < 5
    assert high > 15.1


def test_on_a_logarithmic_axis_an_interval_below_zero_ends_at_its_edge() -> None:
    low, high = y_range(panel((1.0, 10.0, 100.0), (0.5, 20.0, 50.0), log=True)) or (0, 0)
    # Downwards the one in the middle would end below zero: it reaches half of the two decades below the lowest value.
    assert (low, high) == pytest.approx(
        (10 ** (-1 - 0.05 * math.log10(1500)), 10 ** (math.log10(150) + 0.05 * math.log10(1500)))
    )


@pytest.mark.parametrize("ys", [(), (3.0, 3.0), (math.nan, math.inf), (math.nan, 2.0)])
def test_it_is_left_open_where_no_two_values_differ(ys: tuple[float, ...]) -> None:
    assert y_range(panel(ys)) is None
    assert y_range(panel(tuple(-abs(y) for y in ys), log=True)) is None
