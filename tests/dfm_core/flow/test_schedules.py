"""The stage schedule against the released schedulers and worked examples, and the calls it makes (numerics 4.1-4.3)."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from dfm_core.config import SamplingConfig
from dfm_core.config.choices import Solver
from dfm_core.flow.schedules import (
    guided_scales,
    linear_grid,
    network_calls,
    sampling_legs,
    shifted,
    single_stage_schedule,
    stage_schedule,
    tied_schedule,
)
from tests.support.models import golden_json, tiny_cascade, tiny_dfm, tiny_pyramidal_flow

OFFICIAL = golden_json("dfm_official_schedule")
FLUX = golden_json("flux_schedule")
DIFFUSERS = golden_json("diffusers_flow_euler")


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


SHIFTS = st.sampled_from((1.0, 0.2, 3.0, 20.0))


@given(stages(), SHIFTS)
def test_every_schedule_runs_from_noise_to_data_and_never_back(
    case: tuple[list[int], list[float]], shift: float
) -> None:
    steps, tau = case
    schedule = stage_schedule(steps, tau, shift)
    times = torch.tensor(schedule.times, dtype=torch.float64)
    assert schedule.num_steps == sum(steps) == len(times) - 1
    assert times[0].eq(0).all()
    torch.testing.assert_close(times[-1], torch.ones(len(steps), dtype=torch.float64), rtol=0, atol=1e-12)
    moves = times[1:] - times[:-1]
    assert moves.ge(-1e-15).all()
    for n, num_active in enumerate(schedule.num_active):
        assert moves[n, num_active:].eq(0).all()
        assert moves[n, num_active - 1] > 0


@given(stages(), st.floats(0.01, 100))
def test_0_and_1_and_the_thresholds_are_exact_whatever_the_shift(
    case: tuple[list[int], list[float]], shift: float
) -> None:
    steps, tau = case
    times = stage_schedule(steps, tau, shift).times
    assert set(times[0]) == {0.0}
    assert set(times[-1]) == {1.0}
    for stage, threshold in enumerate([*tau, 1.0]):
        row = times[sum(steps[: stage + 1])]
        assert row[stage] == threshold
        assert set(row[stage + 1 :]) <= ({1.0} if row is times[-1] else {0.0})


@pytest.mark.parametrize(("steps", "tau"), [((10, 10), 0.11), ((3, 7), 0.1)])
def test_thresholds_that_a_product_would_miss_by_a_rounding_are_exact(steps: tuple[int, int], tau: float) -> None:
    times = stage_schedule(steps, (tau,)).times
    assert tau * steps[0] / steps[0] != tau or tau + (1 - tau) * steps[1] / steps[1] != 1
    assert (times[steps[0]], times[-1]) == ((tau, 0.0), (1.0, 1.0))


@given(stages(), SHIFTS)
def test_a_shift_moves_points_along_the_lines_and_not_the_lines(
    case: tuple[list[int], list[float]], shift: float
) -> None:
    steps, tau = case
    straight, moved = (np.array(stage_schedule(steps, tau, s).times) for s in (1.0, shift))
    ends = np.cumsum(steps)
    for n in range(sum(steps)):
        newest = int(np.searchsorted(ends, n, side="right"))
        progress = moved[n, newest] / [*tau, 1.0][newest]
        clock = ends[newest] - steps[newest] + steps[newest] * progress
        for scale in range(len(steps)):
            line = np.interp(clock, np.arange(len(straight)), straight[:, scale])
            assert moved[n, scale] == pytest.approx(line, abs=1e-12)


@given(stages())
@example(([49, 49], [0.7]))  # 49 * (1 / 49) is not 1: the linear grid must not take that way
def test_shift_one_is_the_linear_grid_bit_for_bit(case: tuple[list[int], list[float]]) -> None:
    steps, tau = case
    times = stage_schedule(steps, tau, 1.0).times
    assert times == stage_schedule(steps, tau).times
    begin = 0
    for stage, (count, threshold) in enumerate(zip(steps, [*tau, 1.0], strict=True)):
        assert [times[begin + k][stage] for k in range(count)] == [threshold * k / count for k in range(count)]
        begin += count


@pytest.mark.parametrize("name", FLUX)
def test_the_shifted_grid_equals_that_of_flux(name: str) -> None:
    # shift = e^mu, mu linear in the number of tokens: 0.5 at 256 and 1.15 at 4096.
    num_steps, num_tokens = (int("".join(filter(str.isdigit, part))) for part in name.split("_"))
    mu = 0.5 + (1.15 - 0.5) * (num_tokens - 256) / (4096 - 256)
    times = stage_schedule((num_steps,), (), math.exp(mu)).times
    assert [1 - t for (t,) in times] == pytest.approx(FLUX[name], abs=1e-6)


@pytest.mark.parametrize(
    ("name", "shift"),
    [
        ("shift1_linspace10", 1.0),
        ("shift1_linspace40", 1.0),
        ("shift3_linspace10", 3.0),
        ("flux_dynamic_mu1.15_linspace10", math.exp(1.15)),
    ],
)
def test_the_shifted_grid_equals_that_of_diffusers(name: str, shift: float) -> None:
    sigmas = DIFFUSERS[name]["sigmas"]
    assert [1 - t for (t,) in stage_schedule((len(sigmas) - 1,), (), shift).times] == pytest.approx(sigmas, abs=1e-6)


def test_a_stage_of_a_shifted_schedule_is_the_shifted_grid_times_its_threshold() -> None:
    times = stage_schedule((4, 2), (0.8,), 3.0).times
    assert [row[0] for row in times[:5]] == pytest.approx([0.8 * u for u in (0, 1 / 10, 1 / 4, 1 / 2, 1)])
    assert times[5] == pytest.approx((0.8 + 0.2 / 4, 1 / 4))  # half of stage 2: u / (3 - 2 u) = 1 / 4


@given(st.floats(0, 1), st.floats(0.01, 100))
def test_the_inverse_shift_shifts_back(u: float, shift: float) -> None:
    assert shifted(shifted(u, shift), 1 / shift) == pytest.approx(u, abs=1e-12)
    assert 1 - shifted(1 - u, shift) == pytest.approx(shifted(u, 1 / shift), abs=1e-12)


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_tied_scales_share_the_grid_of_one_stage(shift: float) -> None:
    tied = tied_schedule(5, 3, shift)
    assert tied.times == tuple(row * 3 for row in stage_schedule((5,), (), shift).times)
    assert tied.num_active == (3,) * 5
    assert [tied.ends_stage(n) for n in range(5)] == [False] * 4 + [True]


def test_sampling_follows_the_law_of_training() -> None:
    sampling = SamplingConfig((3, 2), (0.7,), time_shift=2.0)
    assert sampling_legs(tiny_dfm(), sampling) == (stage_schedule((3, 2), (0.7,), 2.0),)
    assert sampling_legs(tiny_dfm({"training.timesteps": "tied"}), sampling) == (tied_schedule(5, 2, 2.0),)


def test_a_cascade_samples_each_level_by_itself_and_holds_its_condition() -> None:
    sampling = SamplingConfig((2, 4), (), condition_noise=0.125)
    first, second = sampling_legs(tiny_cascade(None), sampling)
    assert first.times == ((0, 0), (0.5, 0), (1, 0))
    assert second.times == tuple((0.875, t) for t in (0, 0.25, 0.5, 0.75, 1))
    assert [first.moving(n) for n in range(2)] == [range(1)] * 2
    assert [second.moving(n) for n in range(4)] == [range(1, 2)] * 4
    assert (first.num_active, second.num_active) == ((1,) * 2, (2,) * 4)
    assert [leg.ends_stage(n) for leg in (first, second) for n in range(leg.num_steps)] == [
        *(False, True),
        *(False, False, False, True),
    ]


def test_the_grid_of_a_cascade_is_shifted_inside_each_level() -> None:
    first, second = sampling_legs(tiny_cascade(None), SamplingConfig((4, 2), (), time_shift=3.0))
    expected = stage_schedule((4,), (), 3.0).times
    assert [row[0] for row in first.times] == pytest.approx([t for (t,) in expected])
    assert [row[1] for row in second.times] == pytest.approx([0, 0.25, 1])


def test_pyramidal_flow_samples_each_level_by_itself_and_holds_nothing() -> None:
    config = tiny_pyramidal_flow({"decomposition.resolutions": (2, 4, 8)})
    first, second, third = sampling_legs(config, SamplingConfig((1, 3, 2), ()))
    assert first.times == ((0, 0, 0), (1, 0, 0))
    assert [row[1] for row in second.times] == pytest.approx([0, 0.4995, 0.999, 1])
    assert [row[2] for row in third.times] == pytest.approx([0, 0.999, 1])
    assert all(row[0] == row[1] == 0 for row in third.times)
    assert [leg.moving(0) for leg in (first, second, third)] == [range(1), range(1, 2), range(2, 3)]
    assert [leg.num_active for leg in (first, second, third)] == [(1,), (2,) * 3, (3,) * 2]


def test_one_scale_alone_moves_and_its_condition_rests() -> None:
    schedule = single_stage_schedule((0.0, 0.4, 1.0), 1, 3, condition=0.9)
    assert schedule.times == ((0.9, 0.0, 0.0), (0.9, 0.4, 0.0), (0.9, 1.0, 0.0))
    assert [schedule.moving(n) for n in range(2)] == [range(1, 2)] * 2
    assert [schedule.ends_stage(n) for n in range(2)] == [False, True]


@given(st.integers(1, 60), st.floats(0.01, 100))
def test_a_grid_of_one_stage_is_the_schedule_of_one_stage(steps: int, shift: float) -> None:
    expected = [t for (t,) in stage_schedule((steps,), (), shift).times]
    assert linear_grid(steps, shift) == pytest.approx(expected, abs=1e-12)
    assert (linear_grid(steps, shift)[0], linear_grid(steps, shift)[-1]) == (0.0, 1.0)


@given(stages(), SHIFTS)
def test_as_many_steps_end_a_stage_as_there_are_stages(case: tuple[list[int], list[float]], shift: float) -> None:
    steps, tau = case
    schedule = stage_schedule(steps, tau, shift)
    ends = [n + 1 for n in range(schedule.num_steps) if schedule.ends_stage(n)]
    assert ends == np.cumsum(steps).tolist()


QUARTERS = stage_schedule((2, 2), (0.5,))
"""(0, 0), (1/4, 0), (1/2, 0), (3/4, 1/2), (1, 1)."""


@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        ((0.0, 1.0), [(0,), (0,), (0, 1), (0, 1)]),
        ((0.25, 0.5), [(), (0,), (0,), (1,)]),
        ((0.0, 0.0), [(0,), (), (1,), ()]),
        ((0.9, 1.0), [(), (), (), ()]),
    ],
)
def test_each_scale_is_guided_by_its_own_timestep(
    interval: tuple[float, float], expected: list[tuple[int, ...]]
) -> None:
    sampling = SamplingConfig((2, 2), (0.5,), guidance=2.0, guidance_interval=interval)
    found = [guided_scales(QUARTERS.times[n], QUARTERS.moving(n), sampling) for n in range(QUARTERS.num_steps)]
    assert found == expected


def test_a_condition_is_not_guided() -> None:
    sampling = SamplingConfig((2, 2), (), guidance=2.0)
    first, second = sampling_legs(tiny_cascade(None), sampling)
    assert guided_scales(first.times[0], first.moving(0), sampling) == (0,)
    assert guided_scales(second.times[0], second.moving(0), sampling) == (1,)
    early = SamplingConfig((2, 2), (), guidance=2.0, guidance_interval=(0.0, 0.4))
    assert [guided_scales(second.times[n], second.moving(n), early) for n in range(2)] == [(1,), ()]


def test_guidance_one_guides_no_scale() -> None:
    assert guided_scales((0.5, 0.5), range(2), SamplingConfig(guidance=1.0)) == ()


@pytest.mark.parametrize(
    ("solver", "guidance", "interval", "expected"),
    [
        ("euler", 1.0, (0.0, 1.0), [(1, 1), (1, 1), (2, 1), (2, 1)]),
        ("euler", 2.0, (0.0, 1.0), [(1, 2), (1, 2), (2, 2), (2, 2)]),
        ("euler", 2.0, (0.1, 0.4), [(1, 1), (1, 2), (2, 1), (2, 1)]),
        # Heun also evaluates at the end of each step but the last, with the stage of the step.
        ("heun", 1.0, (0.0, 1.0), [(1, 1)] * 4 + [(2, 1)] * 3),
        ("heun", 2.0, (0.1, 0.4), [(1, 1), (1, 2), (1, 2), (1, 1), (2, 1), (2, 1), (2, 1)]),
    ],
)
def test_network_calls_are_counted(
    solver: Solver, guidance: float, interval: tuple[float, float], expected: list[tuple[int, int]]
) -> None:
    sampling = SamplingConfig((2, 2), (0.5,), guidance=guidance, guidance_interval=interval, solver=solver)
    assert list(network_calls(QUARTERS, sampling)) == expected


@pytest.mark.parametrize(("solver", "calls"), [("euler", [1, 1, 2, 2, 2]), ("heun", [1, 1, 1, 2, 2, 2, 2, 2])])
def test_networks_of_a_cascade_are_called_in_their_own_steps(solver: Solver, calls: list[int]) -> None:
    sampling = SamplingConfig((2, 3), (), solver=solver)
    legs = sampling_legs(tiny_cascade(None), sampling)
    assert [stage for leg in legs for stage, _ in network_calls(leg, sampling)] == calls


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


@pytest.mark.parametrize("shift", [0.0, -1.0, float("inf"), float("nan")])
def test_a_shift_that_is_not_a_positive_number_is_refused(shift: float) -> None:
    with pytest.raises(ValueError, match="the time shift must be positive and finite"):
        stage_schedule((3, 2), (0.7,), shift)
