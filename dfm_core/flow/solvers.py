"""Solvers of the sampling ODE: one step each, and the walk along a stage schedule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from dfm_core.config import Solver
from dfm_core.flow.schedules import StageSchedule, ends_at_data

Times = Sequence[float]
"""Timestep of each scale, [S]."""
VelocityField = Callable[[Sequence[Tensor], Times, int], list[Tensor]]
"""(scales, their timesteps, number of active scales) -> one velocity per scale."""
StepRule = Callable[[VelocityField, list[Tensor], Times, Times, int], tuple[list[Tensor], list[Tensor]]]
"""(field, state, times before, times after, number of active scales) -> (state after, velocity of the step)."""


@dataclass(frozen=True)
class SolverStep:
    """What a watcher sees after a step."""

    n: int
    """Steps done, 1..N."""
    num_steps: int
    times: Times
    """Timestep of each scale now, [S]."""
    num_active: int
    """Scales that moved in this step; they are the first ones."""
    ends_stage: bool
    state: Sequence[Tensor]
    """Scales now, float64."""
    velocities: Sequence[Tensor]
    """Velocity that the step followed, float64; of the active scales."""

    def estimate(self) -> list[Tensor]:
        """The active scales when each jumps to t = 1 along the last velocity: X^s + (1 - t_s) v^s (numerics 4.1)."""
        return [
            x + (1.0 - t) * v
            for x, t, v in zip(self.state[: self.num_active], self.times, self.velocities, strict=False)
        ]


Watcher = Callable[[SolverStep], None]


def euler_step(
    field: VelocityField, state: list[Tensor], before: Times, after: Times, num_active: int
) -> tuple[list[Tensor], list[Tensor]]:
    """X^s += (t_s(n+1) - t_s(n)) v^s for the active scales."""
    velocities = [v.double() for v in field(state, before, num_active)[:num_active]]
    return _advance(state, velocities, before, after), velocities


def heun_step(
    field: VelocityField, state: list[Tensor], before: Times, after: Times, num_active: int
) -> tuple[list[Tensor], list[Tensor]]:
    """The mean of the velocities at both ends of Euler's step; order 2.

    A step that ends at data is Euler's, as in EDM's sampler: the velocity at t = 1 cannot know the noise that is left
    of directions in which the data does not vary, and the mean would keep half of it. The order stays 2.
    """
    predicted, first = euler_step(field, state, before, after, num_active)
    if ends_at_data(after, num_active):
        return predicted, first
    second = [v.double() for v in field(predicted, after, num_active)[:num_active]]
    velocities = [(a + b) / 2 for a, b in zip(first, second, strict=True)]
    return _advance(state, velocities, before, after), velocities


SOLVERS: dict[Solver, StepRule] = {"euler": euler_step, "heun": heun_step}


def solve(
    field: VelocityField,
    noise: Sequence[Tensor],
    schedule: StageSchedule,
    solver: Solver = "euler",
    watcher: Watcher | None = None,
) -> list[Tensor]:
    """Follows the velocity from t = 0 to t = 1 along a stage schedule (numerics 4.1).

    The state is float64, as in the released code: forty additions in float32 would cost the last digits.

    Args: field: the velocity. noise: the state at t = 0, scale s [B, C_s, ...]. watcher: called after every step.
    Returns: the state at t = 1, float64, same shapes.
    """
    step = SOLVERS[solver]
    state = [scale.double() for scale in noise]
    for n, num_active in enumerate(schedule.num_active):
        after = schedule.times[n + 1]
        state, velocities = step(field, state, schedule.times[n], after, num_active)
        if watcher is not None:
            ends = schedule.ends_stage(n)
            watcher(SolverStep(n + 1, schedule.num_steps, after, num_active, ends, state, velocities))
    return state


def _advance(state: list[Tensor], velocities: list[Tensor], before: Times, after: Times) -> list[Tensor]:
    moved = [
        x + (end - begin) * v for x, v, begin, end in zip(state, velocities, before, after, strict=False)
    ]  # one for each velocity, that is, each active scale
    return [*moved, *state[len(moved) :]]
