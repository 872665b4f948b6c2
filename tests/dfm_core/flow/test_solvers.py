"""Euler's method: its order, a trajectory of the original solver, and the Gaussian case that has a closed form."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from dfm_core.flow.schedules import stage_schedule
from dfm_core.flow.solvers import euler
from tests.dfm_core.builders import golden_tensors


def observed_order(errors: Sequence[float], num_steps: Sequence[int]) -> float:
    """Slope of log error on log step size."""
    return float(np.polyfit(-np.log(num_steps), np.log(errors), deg=1)[0])


def test_forty_steps_equal_the_original_solver() -> None:
    golden = golden_tensors("flow_paths_and_euler")

    def field(state: Sequence[Tensor], t: Tensor, num_active: int) -> list[Tensor]:
        assert num_active == 1
        return [0.4 * state[0] - 0.2 * t[0] + 0.1]

    (end,) = euler(field, [golden["euler_x_init"]], stage_schedule((40,), ()))
    torch.testing.assert_close(end.float(), golden["euler40_out"], rtol=0, atol=1e-6)


def test_euler_converges_with_order_one() -> None:
    # dx/dt = x cos t has x(1) = x(0) exp(sin 1).
    start = torch.tensor([[1.0, -2.0]], dtype=torch.float64)
    grids = [20, 40, 80, 160, 320]
    errors = []
    for steps in grids:
        (end,) = euler(lambda state, t, _: [state[0] * t[0].cos()], [start], stage_schedule((steps,), ()))
        errors.append(float((end - start * math.exp(math.sin(1))).abs().max()))
    assert observed_order(errors, grids) == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("scale", [0, 1])
def test_euler_converges_with_order_one_on_every_scale(scale: int) -> None:
    rates = (0.8, -1.3)
    grids = [20, 40, 80, 160, 320]
    errors = []
    for steps in grids:
        ends = euler(
            lambda state, t, _: [rate * x * (1 + time) for rate, x, time in zip(rates, state, t, strict=True)],
            [torch.ones(1, dtype=torch.float64)] * 2,
            stage_schedule((3 * steps, steps), (0.7,)),
        )
        errors.append(abs(float(ends[scale]) - math.exp(1.5 * rates[scale])))
    assert observed_order(errors, grids) == pytest.approx(1.0, abs=0.05)


def test_a_constant_velocity_is_integrated_exactly_whatever_the_schedule() -> None:
    noise, velocity = [torch.randn(2, 3), torch.randn(2, 5)], [torch.randn(2, 3), torch.randn(2, 5)]
    ends = euler(lambda *_: velocity, noise, stage_schedule((7, 4), (0.35,)))
    for end, start, move in zip(ends, noise, velocity, strict=True):
        torch.testing.assert_close(end, start.double() + move.double(), rtol=0, atol=1e-12)


def test_a_scale_rests_until_its_stage_begins() -> None:
    seen: list[tuple[float, int]] = []

    def field(state: Sequence[Tensor], t: Tensor, num_active: int) -> list[Tensor]:
        seen.append((float(state[1]), num_active))
        assert t.dtype == torch.float64
        return [torch.ones(1), torch.full((1,), 5.0)]

    euler(field, [torch.zeros(1), torch.full((1,), -3.0)], stage_schedule((3, 2), (0.7,)))
    assert seen[:4] == [(-3.0, 1), (-3.0, 1), (-3.0, 1), (-3.0, 2)]
    assert seen[4] == (-3.0 + 5.0 * 0.5, 2)


def test_the_noise_is_left_alone_and_the_state_is_float64() -> None:
    noise = torch.randn(2, 3)
    before = noise.clone()
    (end,) = euler(lambda state, *_: [state[0]], [noise], stage_schedule((4,), ()))
    assert torch.equal(noise, before)
    assert end.dtype == torch.float64
