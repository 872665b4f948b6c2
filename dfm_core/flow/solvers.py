"""Solvers of the sampling ODE: functions of (velocity field, scales, schedule)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from dfm_core.flow.schedules import StageSchedule

VelocityField = Callable[[Sequence[Tensor], Tensor, int], list[Tensor]]
"""(scales, t: [S] float64, number of active scales) -> one velocity per scale."""


def euler(field: VelocityField, noise: Sequence[Tensor], schedule: StageSchedule) -> list[Tensor]:
    """Euler's method over the stage schedule (numerics 4.1): X^s += (t_s(n+1) - t_s(n)) v^s for the active scales.

    The state is float64, as in the released code: forty additions in float32 would cost the last digits.

    Args: field: the velocity. noise: the state at t = 0, scale s [B, C, r_s, r_s]. schedule: N steps.
    Returns: the state at t = 1, float64, same shapes.
    """
    state = [scale.double() for scale in noise]
    times = torch.tensor(schedule.times, dtype=torch.float64)
    for n, num_active in enumerate(schedule.num_active):
        velocities = field(state, times[n], num_active)
        delta = times[n + 1] - times[n]
        for stage in range(num_active):
            state[stage] = state[stage] + float(delta[stage]) * velocities[stage].double()
    return state
