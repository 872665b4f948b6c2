"""The history of a metric as arrays."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from analysis.tracking.history import MetricHistory

pairs = st.lists(st.tuples(st.integers(-(2**62), 2**62), st.floats(allow_nan=False)), max_size=20)


@given(pairs)
def test_points_survive_their_bytes(points: list[tuple[int, float]]) -> None:
    history = MetricHistory.of(points)
    assert MetricHistory.from_bytes(history.to_bytes()) == points
    assert len(history) == len(points)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.floats(-9, 9)), max_size=20))
def test_the_point_logged_last_counts_at_each_step(logged: list[tuple[int, int, float]]) -> None:
    expected: dict[int, tuple[int, float]] = {}
    for step, timestamp, value in logged:
        if step not in expected or timestamp >= expected[step][0]:
            expected[step] = timestamp, value
    assert list(MetricHistory.of_logged(logged)) == [(step, value) for step, (_, value) in sorted(expected.items())]


def test_points_are_cut_like_a_sequence() -> None:
    points = MetricHistory.of([(1, 0.5), (2, 0.25), (3, 0.125)])
    assert points[-1] == (3, 0.125)
    assert points[:2] == [(1, 0.5), (2, 0.25)]
    assert points[0] != (2, 0.5)
