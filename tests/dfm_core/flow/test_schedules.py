"""The stage schedule against the released scheduler and the worked examples (numerics 4.1, 4.2)."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dfm_core.flow.schedules import stage_schedule
from tests.dfm_core.builders import golden_json

OFFICIAL = golden_json("dfm_official_schedule")


@pytest.mark.parametrize("name", OFFICIAL)
def test_two_stages_equal_the_released_schedule(name: str) -> None:
    golden = OFFICIAL[name]
    schedule = stage_schedule(golden["num_steps_per_scale"], golden["tau"])
    times = torch.tensor(schedule.times, dtype=torch.float64)
    mask = torch.tensor(golden["mask"], dtype=torch.float64)
    torch.testing.assert_close(times[:-1], torch.tensor(golden["t_data"], dtype=torch.float64), rtol=0, atol=1e-6)
    moves = (times[1:] - times[:-1]) * mask
    torch.testing.assert_close(moves, -torch.tensor(golden["delta"], dtype=torch.float64) * mask, rtol=0, atol=1e-6)
    assert list(schedule.num_active) == mask.sum(dim=1).int().tolist()


def test_two_stages_follow_the_worked_example() -> None:
    schedule = stage_schedule((30, 10), (0.7,))
    for n, times in {0: (0, 0), 1: (0.7 / 30, 0), 29: (0.7 * 29 / 30, 0), 30: (0.7, 0), 31: (0.73, 0.1)}.items():
        assert schedule.times[n] == pytest.approx(times, abs=1e-12)
    assert schedule.times[39] == pytest.approx((0.97, 0.9))
    assert schedule.times[40] == (1.0, 1.0)
    assert schedule.num_active == (1,) * 30 + (2,) * 10


def test_three_stages_follow_the_worked_example() -> None:
    schedule = stage_schedule((20, 10, 10), (0.9, 0.9))
    expected = {
        10: (0.45, 0, 0),
        20: (0.9, 0, 0),
        25: (0.925, 0.45, 0),
        30: (0.95, 0.9, 0),
        35: (0.975, 0.95, 0.5),
        40: (1, 1, 1),
    }
    for n, times in expected.items():
        assert schedule.times[n] == pytest.approx(times, abs=1e-12)
    assert schedule.num_active == (1,) * 20 + (2,) * 10 + (3,) * 10


def test_one_stage_is_the_linear_grid() -> None:
    assert stage_schedule((40,), ()).times == tuple((n / 40,) for n in range(41))


@st.composite
def stages(draw: st.DrawFn) -> tuple[list[int], list[float]]:
    steps = draw(st.lists(st.integers(1, 12), min_size=1, max_size=5))
    tau = st.floats(0.01, 1.0)
    return steps, draw(st.lists(tau, min_size=len(steps) - 1, max_size=len(steps) - 1))


@given(stages())
def test_every_schedule_runs_from_noise_to_data_and_never_back(case: tuple[list[int], list[float]]) -> None:
    steps, tau = case
    schedule = stage_schedule(steps, tau)
    times = torch.tensor(schedule.times, dtype=torch.float64)
    assert schedule.num_steps == sum(steps) == len(times) - 1
    assert times[0].eq(0).all()
    torch.testing.assert_close(times[-1], torch.ones(len(steps), dtype=torch.float64), rtol=0, atol=1e-12)
    moves = times[1:] - times[:-1]
    assert moves.ge(-1e-15).all()
    for n, num_active in enumerate(schedule.num_active):
        assert moves[n, num_active:].eq(0).all()
        assert moves[n, num_active - 1] > 0


@given(stages())
def test_every_stage_ends_at_its_threshold(case: tuple[list[int], list[float]]) -> None:
    steps, tau = case
    times = stage_schedule(steps, tau).times
    for stage, threshold in enumerate([*tau, 1.0]):
        assert times[sum(steps[: stage + 1])][stage] == pytest.approx(threshold)


@given(stages())
def test_a_finished_scale_runs_in_one_straight_line(case: tuple[list[int], list[float]]) -> None:
    steps, tau = case
    times = torch.tensor(stage_schedule(steps, tau).times, dtype=torch.float64)
    for stage in range(len(steps) - 1):
        rest = times[sum(steps[: stage + 1]) :, stage]
        torch.testing.assert_close(
            rest.diff().diff(), torch.zeros(len(rest) - 2, dtype=torch.float64), rtol=0, atol=1e-12
        )


@pytest.mark.parametrize("tau", [(), (0.5, 0.5)])
def test_a_wrong_number_of_thresholds_is_refused(tau: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"2 stage\(s\) need 1 tau"):
        stage_schedule((3, 2), tau)


@pytest.mark.parametrize(("steps", "tau"), [((3, 0), 0.5), ((3, 2), 0.0), ((3, 2), 1.01), ((3, 2), float("nan"))])
def test_steps_and_thresholds_out_of_range_are_refused(steps: tuple[int, int], tau: float) -> None:
    with pytest.raises(ValueError, match=r"steps must be positive and tau in \(0, 1\]"):
        stage_schedule(steps, (tau,))
