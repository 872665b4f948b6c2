"""Solvers of the sampling ODE: one step each, and the walk along a stage schedule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from dfm_core.config.choices import Solver
from dfm_core.flow.schedules import StageSchedule, ends_at_data

Times = Sequence[float]
"""Timestep of each scale, [S]."""
VelocityField = Callable[[Sequence[Tensor], Times, range], list[Tensor]]
"""(scales, their timesteps, the scales that move) -> one velocity per scale; those of the moving ones are read."""
StepRule = Callable[[VelocityField, list[Tensor], Times, Times, range], tuple[list[Tensor], list[Tensor]]]
"""(field, state, times before, times after, moving scales) -> (state after, velocities of the moving scales)."""


@dataclass(frozen=True)
class SolverStep:
    """State of a solver after a step, for its watcher."""

    n: int
    """Steps done, 1..N."""
    num_steps: int
    times: Times
    """Timestep of each scale now, [S]."""
    moving: range
    """Scales that moved in this step."""
    ends_stage: bool
    state: Sequence[Tensor]
    """Scales now, float64."""
    velocities: Sequence[Tensor]
    """Velocity that the step followed, float64; of the moving scales."""

    def estimate(self) -> list[Tensor]:
        """The scales up to the last moving one when each jumps to t = 1 along the last velocity: X^s + (1 - t_s) v^s
        (numerics 4.1)."""
        estimates = list(self.state[: self.moving.stop])
        for s, v in zip(self.moving, self.velocities, strict=True):
            estimates[s] = estimates[s] + (1.0 - self.times[s]) * v
        return estimates


Watcher = Callable[[SolverStep], None]


def euler_step(
    field: VelocityField, state: list[Tensor], before: Times, after: Times, moving: range
) -> tuple[list[Tensor], list[Tensor]]:
    """X^s += (t_s(n+1) - t_s(n)) v^s for the moving scales."""
    velocities = _velocities(field, state, before, moving)
    return _advance(state, velocities, before, after, moving), velocities


def heun_step(
    field: VelocityField, state: list[Tensor], before: Times, after: Times, moving: range
) -> tuple[list[Tensor], list[Tensor]]:
    """Return the mean of the velocities at both ends of Euler's step; order 2.

    A step that ends at data is Euler's, as in EDM's sampler: the velocity at t = 1 cannot know the noise that is left
    of directions in which the data does not vary, and the mean would keep half of it. The order stays 2.
    """
    predicted, first = euler_step(field, state, before, after, moving)
    if ends_at_data(after, moving):
        return predicted, first
    second = _velocities(field, predicted, after, moving)
    velocities = [(a + b) / 2 for a, b in zip(first, second, strict=True)]
    return _advance(state, velocities, before, after, moving), velocities


SOLVERS: dict[Solver, StepRule] = {"euler": euler_step, "heun": heun_step}


def solve(
    field: VelocityField,
    start: Sequence[Tensor],
    schedule: StageSchedule,
    solver: Solver = "euler",
    watcher: Watcher | None = None,
    first_step: int = 0,
) -> list[Tensor]:
    """Follows the velocity along a stage schedule (numerics 4.1).

    The state is float64, as in the released code: forty additions in float32 would cost the last digits.

    Args: field: the velocity. start: the state where the first step starts, scale s [B, C_s, ...]. watcher: called
        after every step. first_step: the steps of the schedule before it are left out; N leaves out all.
    Returns: the state where it ends, float64, same shapes.
    """
    step = SOLVERS[solver]
    state = [scale.double() for scale in start]
    for n in range(first_step, schedule.num_steps):
        after, moving = schedule.times[n + 1], schedule.moving(n)
        state, velocities = step(field, state, schedule.times[n], after, moving)
        if watcher is not None:
            ends = schedule.ends_stage(n)
            watcher(SolverStep(n + 1, schedule.num_steps, after, moving, ends, state, velocities))
    return state


def _velocities(field: VelocityField, state: list[Tensor], times: Times, moving: range) -> list[Tensor]:
    velocities = field(state, times, moving)
    return [velocities[s].double() for s in moving]


def _advance(state: list[Tensor], velocities: list[Tensor], before: Times, after: Times, moving: range) -> list[Tensor]:
    moved = list(state)
    for s, v in zip(moving, velocities, strict=True):
        moved[s] = moved[s] + (after[s] - before[s]) * v
    return moved
