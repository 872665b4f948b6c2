"""The stage schedule of sampling: which scale moves when (DFM, section 3.4 and Figure 2a; numerics 4.1).

Needs no torch: planning counts network evaluations with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf

from dfm_core.config import ExperimentConfig, SamplingConfig
from dfm_core.flow.jumps import progress_grid


@dataclass(frozen=True)
class StageSchedule:
    """Timesteps of every scale at every solver step, in float64."""

    times: tuple[tuple[float, ...], ...]
    """t_s(n) for n = 0..N, [N + 1][S]."""
    num_active: tuple[int, ...]
    """Number of scales that the network sees in step n, [N]; they are the first ones."""
    first_moving: int = 0
    """The first scale that moves; the active ones before it stay where they are."""

    @property
    def num_steps(self) -> int:
        return len(self.num_active)

    def moving(self, n: int) -> range:
        """Return the scales that move in step n."""
        return range(self.first_moving, self.num_active[n])

    def ends_stage(self, n: int) -> bool:
        """Return True if another scale starts to move after step n, or none is left to."""
        return n + 1 == self.num_steps or self.num_active[n + 1] > self.num_active[n]


def shifted(u: float, shift: float) -> float:
    """Progress on the shifted grid: u / (s - (s - 1) u), which keeps 0 and 1 (numerics 4.2)."""
    return u / (shift - (shift - 1.0) * u)


def stage_schedule(steps: Sequence[int], tau: Sequence[float], time_shift: float = 1.0) -> StageSchedule:
    """Return the schedule of S stages (numerics 4.1).

    Scale s rests at 0 until its stage begins at C_{s-1}, rises straight to tau_s at C_s, and from there in one
    straight line to 1 at the last step (numerics A7: it is not re-scaled at later switches). A shift moves the grid
    points along these lines, inside each stage, not the lines.

    Args: steps: solver steps of each stage, [S]. tau: threshold of each stage but the last, [S - 1], in (0, 1].
        time_shift: > 0; 1 is the linear grid.
    Raises: ValueError if the lengths do not match or a value is out of range.
    """
    if len(tau) != len(steps) - 1:
        raise ValueError(f"{len(steps)} stage(s) need {len(steps) - 1} tau, got {list(tau)}")
    if min(steps) < 1 or not all(0 < value <= 1 for value in tau):
        raise ValueError(f"steps must be positive and tau in (0, 1], got steps {list(steps)}, tau {list(tau)}")
    if not 0 < time_shift < inf:
        raise ValueError(f"the time shift must be positive and finite, got {time_shift}")
    ends = [sum(steps[: stage + 1]) for stage in range(len(steps))]
    total = ends[-1]
    thresholds = [*tau, 1.0]

    def time(stage: int, clock: float) -> float:
        begin, end, threshold = ends[stage] - steps[stage], ends[stage], thresholds[stage]
        if clock <= begin:
            return 0.0
        if clock in (end, total):  # exactly, which the products below may miss by a rounding
            return threshold if clock == end else 1.0
        if clock < end:
            return threshold * (clock - begin) / steps[stage]
        return threshold + (1.0 - threshold) * (clock - end) / (total - end)

    clocks = [0.0]
    for end, count in zip(ends, steps, strict=True):
        clocks.extend(_clocks(end - count, count, time_shift))
    times = tuple(tuple(time(stage, clock) for stage in range(len(steps))) for clock in clocks)
    num_active = tuple(sum(end - own <= n for end, own in zip(ends, steps, strict=True)) for n in range(total))
    return StageSchedule(times=times, num_active=num_active)


def tied_schedule(num_steps: int, num_stages: int, time_shift: float = 1.0) -> StageSchedule:
    """Return all scales together on one grid, none waiting (the paper's "tied" ablation, Table 1b)."""
    clocks = [0.0, *_clocks(0, num_steps, time_shift)]
    times = tuple((clock / num_steps,) * num_stages for clock in clocks)
    return StageSchedule(times=times, num_active=(num_stages,) * num_steps)


def single_stage_schedule(
    grid: Sequence[float], stage: int, num_stages: int, condition: float | None = None
) -> StageSchedule:
    """Return one scale alone, from 0 to 1 along a grid; what was generated before it rests.

    Args: grid: timesteps of the scale, from 0 to 1. condition: timestep at which the scale before it is held as a
        condition; None: it is not looked at.
    """
    before = [0.0] * stage
    if condition is not None:
        before[-1] = condition
    after = [0.0] * (num_stages - stage - 1)
    times = tuple((*before, t, *after) for t in grid)
    return StageSchedule(times, (stage + 1,) * (len(grid) - 1), first_moving=stage)


def linear_grid(num_steps: int, time_shift: float = 1.0) -> tuple[float, ...]:
    """Return timesteps of one stage alone: 0, ..., 1, evenly or shifted towards the noise."""
    return (0.0, *(clock / num_steps for clock in _clocks(0, num_steps, time_shift)))


def _clocks(begin: int, count: int, time_shift: float) -> Iterator[float]:
    """Yield a stage's grid points on the linear clock of steps; its last is exactly its end."""
    for k in range(1, count + 1):
        yield begin + (k if time_shift == 1.0 or k == count else count * shifted(k / count, time_shift))


def sampling_legs(config: ExperimentConfig, sampling: SamplingConfig) -> tuple[StageSchedule, ...]:
    """Return the schedules that a paradigm follows one after the other to make an image."""
    stages = config.num_stages
    if config.paradigm == "cascaded":
        linear = [linear_grid(count, sampling.time_shift) for count in sampling.steps]
        held = (None, *[1.0 - sampling.condition_noise] * (stages - 1))
        return tuple(single_stage_schedule(linear[q], q, stages, held[q]) for q in range(stages))
    if config.paradigm == "pyramidal_flow":
        return tuple(single_stage_schedule(progress_grid(count), q, stages) for q, count in enumerate(sampling.steps))
    if config.training.timesteps == "tied":  # the model never saw a stage wait
        return (tied_schedule(sum(sampling.steps), stages, sampling.time_shift),)
    return (stage_schedule(sampling.steps, sampling.tau, sampling.time_shift),)


def guided_scales(times: Sequence[float], moving: range, sampling: SamplingConfig) -> tuple[int, ...]:
    """Return the moving scales that guidance steers at these timesteps, each by its own (numerics 4.3)."""
    if sampling.guidance == 1.0:
        return ()
    first, last = sampling.guidance_interval
    return tuple(scale for scale in moving if first <= times[scale] <= last)


def ends_at_data(after: Sequence[float], moving: range) -> bool:
    """Return True if the generated scale is clean after a step: without noise it has no velocity."""
    return after[moving[-1]] == 1.0


def guided_calls(schedule: StageSchedule, n: int, sampling: SamplingConfig) -> tuple[tuple[int, ...], ...]:
    """The guided scales at each call of the velocity in step n; Heun calls at both ends, but once if that is data."""
    moving = schedule.moving(n)
    corrects = sampling.solver == "heun" and not ends_at_data(schedule.times[n + 1], moving)
    points = (n, n + 1) if corrects else (n,)
    return tuple(guided_scales(schedule.times[point], moving, sampling) for point in points)


def network_calls(schedule: StageSchedule, sampling: SamplingConfig) -> Iterator[tuple[int, int]]:
    """(active scales, evaluations) of every call of the velocity; guidance evaluates twice, Heun calls twice a step,
    but once in a step that ends at data."""
    for n, num_active in enumerate(schedule.num_active):
        for guided in guided_calls(schedule, n, sampling):
            yield num_active, 2 if guided else 1
