"""The solvers: their order, trajectories of the original solvers, and what a watcher sees (numerics 1, 4)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from dfm_core.config.choices import Solver
from dfm_core.flow.schedules import StageSchedule, single_stage_schedule, stage_schedule
from dfm_core.flow.solvers import SOLVERS, SolverStep, Times, VelocityField, solve
from tests.support.models import golden_json, golden_tensors

ORDERS: dict[Solver, int] = {"euler": 1, "heun": 2}
GRIDS = (20, 40, 80, 160, 320)
FLUX_SHIFT = math.exp(1.15)
DIFFUSERS_SHIFTS = {
    "shift1_linspace10": 1.0,
    "shift1_linspace40": 1.0,
    "shift3_linspace10": 3.0,
    "flux_dynamic_mu1.15_linspace10": FLUX_SHIFT,
}


def observed_order(errors: Sequence[float], num_steps: Sequence[int] = GRIDS) -> float:
    """Slope of log error on log step size."""
    return float(np.polyfit(-np.log(num_steps), np.log(errors), deg=1)[0])


def scalars(*values: float) -> list[Tensor]:
    return [torch.tensor([value], dtype=torch.float64) for value in values]


def staged(stages: int, steps: int, shift: float = 1.0) -> StageSchedule:
    return stage_schedule((3 * steps, steps, 2 * steps)[-stages:], (0.7, 0.8)[: stages - 1], shift)


def test_every_solver_has_its_order_here() -> None:
    assert set(ORDERS) == set(SOLVERS)


def test_forty_steps_equal_the_original_solver() -> None:
    golden = golden_tensors("flow_paths_and_euler")

    def field(state: Sequence[Tensor], times: Times, moving: range) -> list[Tensor]:
        assert moving == range(1)
        return [0.4 * state[0] - 0.2 * times[0] + 0.1]

    (end,) = solve(field, [golden["euler_x_init"]], stage_schedule((40,), ()))
    torch.testing.assert_close(end.float(), golden["euler40_out"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", DIFFUSERS_SHIFTS)
def test_trajectories_on_shifted_grids_equal_the_original_solver(name: str) -> None:
    # Noise-first there: v = 0.5 x + 0.3 sigma - 0.1, ours is the negative of that with sigma = 1 - t.
    golden, states = golden_json("diffusers_flow_euler")[name], []
    start = torch.tensor(golden["x_start"], dtype=torch.float64)
    schedule = stage_schedule((len(golden["trajectory"]) - 1,), (), DIFFUSERS_SHIFTS[name])
    solve(
        lambda state, times, _: [-(0.5 * state[0] + 0.3 * (1 - times[0]) - 0.1)],
        [start],
        schedule,
        watcher=lambda step: states.append(step.state[0]),
    )
    expected = torch.tensor(golden["trajectory"][1:], dtype=torch.float64)
    torch.testing.assert_close(torch.cat(states), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("solver", "order"), ORDERS.items())
@pytest.mark.parametrize("stages", [1, 2, 3])
@pytest.mark.parametrize("shift", [1.0, FLUX_SHIFT])
def test_each_scale_converges_with_the_order_of_the_solver(
    solver: Solver, order: int, stages: int, shift: float
) -> None:
    # dx/dt = r x (1 + t) has x(1) = x(0) exp(1.5 r).
    rates = (0.8, -1.3, 0.5)[:stages]
    errors = []
    for steps in GRIDS:
        ends = solve(
            lambda state, times, _: [r * x * (1 + t) for r, x, t in zip(rates, state, times, strict=True)],
            scalars(*[1.0] * stages),
            staged(stages, steps, shift),
            solver,
        )
        errors.append([abs(float(end) - math.exp(1.5 * r)) for end, r in zip(ends, rates, strict=True)])
    for scale in range(stages):
        assert observed_order([row[scale] for row in errors]) == pytest.approx(order, abs=0.1)


@pytest.mark.parametrize(("solver", "order"), ORDERS.items())
def test_a_scale_that_reads_the_one_before_converges_with_the_order_of_the_solver(solver: Solver, order: int) -> None:
    # x1 = exp(a t1); while t2 runs from 0 to 1, t1 = tau + (1 - tau) t2; dx2/dt2 = x1.
    rate, tau = 1.2, 0.7
    exact = math.exp(rate * tau) * math.expm1(rate * (1 - tau)) / (rate * (1 - tau))
    errors = []
    for steps in GRIDS:
        ends = solve(
            lambda state, *_: [rate * state[0], state[0]],
            scalars(1.0, 0.0),
            stage_schedule((steps, steps), (tau,)),
            solver,
        )
        errors.append(abs(float(ends[1]) - exact))
    assert observed_order(errors) == pytest.approx(order, abs=0.1)


def test_heun_takes_the_mean_of_both_ends_and_ends_with_a_step_of_euler() -> None:
    # dx/dt = t from 0 in three steps: 1/3 (0 + 1/3)/2, then 1/3 (1/3 + 2/3)/2, then Euler's 1/3 * 2/3.
    states: list[float] = []
    field: VelocityField = lambda state, times, _: [torch.full_like(state[0], times[0])]  # noqa: E731
    solve(field, scalars(0.0), stage_schedule((3,), ()), "heun", lambda step: states.append(float(step.state[0])))
    assert states == pytest.approx([1 / 18, 4 / 18, 8 / 18], abs=1e-15)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("tau", [0.7, 1.0])
def test_no_noise_is_left_where_the_data_does_not_vary(solver: Solver, tau: float) -> None:
    # The velocity of a point mass at 0, -x / (1 - t), has no value at t = 1: no solver may ask a moving scale for it.
    def field(state: Sequence[Tensor], times: Times, moving: range) -> list[Tensor]:
        assert times[moving[-1]] < 1
        return [-x / (1 - t) if t < 1 else torch.zeros_like(x) for x, t in zip(state, times, strict=True)]

    for end in solve(field, scalars(1.0, -2.0), stage_schedule((7, 5), (tau,)), solver):
        assert float(end) == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_a_constant_velocity_is_integrated_exactly_whatever_the_schedule(solver: Solver, shift: float) -> None:
    noise, velocity = [torch.randn(2, 3), torch.randn(2, 5)], [torch.randn(2, 3), torch.randn(2, 5)]
    ends = solve(lambda *_: velocity, noise, stage_schedule((7, 4), (0.35,), shift), solver)
    for end, start, move in zip(ends, noise, velocity, strict=True):
        torch.testing.assert_close(end, start.double() + move.double(), rtol=0, atol=1e-12)


def test_a_scale_rests_until_its_stage_begins() -> None:
    seen: list[tuple[float, int]] = []

    def field(state: Sequence[Tensor], _times: Times, moving: range) -> list[Tensor]:
        seen.append((float(state[1]), len(moving)))
        return [torch.ones(1), torch.full((1,), 5.0)]

    solve(field, [torch.zeros(1), torch.full((1,), -3.0)], stage_schedule((3, 2), (0.7,)))
    assert seen[:4] == [(-3.0, 1), (-3.0, 1), (-3.0, 1), (-3.0, 2)]
    assert seen[4] == (-3.0 + 5.0 * 0.5, 2)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_scale_that_is_held_rests_whatever_its_velocity(solver: Solver) -> None:
    # The middle one of three moves; the first is its condition, the last has not begun.
    seen: list[tuple[list[float], range]] = []

    def field(state: Sequence[Tensor], _times: Times, moving: range) -> list[Tensor]:
        seen.append(([float(x) for x in state[::2]], moving))
        return scalars(7.0, 2.0, -5.0)

    steps: list[SolverStep] = []
    schedule = single_stage_schedule((0.0, 0.25, 1.0), 1, 3, condition=0.9)
    ends = solve(field, scalars(1.0, 0.5, 3.0), schedule, solver, steps.append)
    assert [float(end) for end in ends] == pytest.approx([1.0, 0.5 + 2.0, 3.0], abs=1e-14)
    assert all(others == [1.0, 3.0] and moving == range(1, 2) for others, moving in seen)
    for step in steps:
        assert step.moving == range(1, 2)
        assert [float(v) for v in step.velocities] == [2.0]
        assert [float(x) for x in step.estimate()] == pytest.approx([1.0, 2.5], abs=1e-14)


def test_heun_keeps_the_stage_of_a_step_at_both_its_ends() -> None:
    # The step that ends stage 1 must not show the model the mask of stage 2.
    seen: list[tuple[tuple[float, ...], int]] = []

    def field(state: Sequence[Tensor], times: Times, moving: range) -> list[Tensor]:
        seen.append((tuple(times), len(moving)))
        return list(state)

    solve(field, scalars(1.0, 1.0), stage_schedule((2, 2), (0.5,)), "heun")
    first, second = [((0, 0), 1), ((0.25, 0), 1)], [((0.25, 0), 1), ((0.5, 0), 1)]
    assert seen == [*first, *second, ((0.5, 0), 2), ((0.75, 0.5), 2), ((0.75, 0.5), 2)]


def test_the_noise_is_left_alone_and_the_state_is_float64() -> None:
    noise = torch.randn(2, 3)
    before = noise.clone()
    (end,) = solve(lambda state, *_: [state[0].float()], [noise], stage_schedule((4,), ()))
    assert torch.equal(noise, before)
    assert end.dtype == torch.float64


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_watcher_sees_every_step_and_changes_nothing(solver: Solver) -> None:
    steps: list[SolverStep] = []
    field: VelocityField = lambda state, times, _: [x * (1 + t) for x, t in zip(state, times, strict=True)]  # noqa: E731
    schedule = stage_schedule((3, 2), (0.7,))
    watched = solve(field, scalars(1.0, 2.0), schedule, solver, steps.append)
    alone = solve(field, scalars(1.0, 2.0), schedule, solver)
    assert all(torch.equal(a, b) for a, b in zip(watched, alone, strict=True))
    assert [(step.n, step.num_steps) for step in steps] == [(n, 5) for n in range(1, 6)]
    assert [step.moving for step in steps] == [range(1)] * 3 + [range(2)] * 2
    assert [step.ends_stage for step in steps] == [False, False, True, False, True]
    assert [step.times for step in steps] == list(schedule.times[1:])
    assert all(torch.equal(a, b) for a, b in zip(steps[-1].state, watched, strict=True))
    assert steps[0].state[1] == 2.0


def test_the_estimate_is_the_end_of_the_line_that_the_step_followed() -> None:
    # dx/dt = c is such a line: from the first step on, the estimate is its end. Only active scales have one.
    steps: list[SolverStep] = []
    solve(lambda *_: scalars(3.0, -1.0), scalars(1.0, 2.0), stage_schedule((3, 2), (0.7,)), watcher=steps.append)
    for step in steps:
        assert [float(x) for x in step.estimate()] == pytest.approx([4.0, 1.0][: step.moving.stop], abs=1e-14)
