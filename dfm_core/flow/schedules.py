"""The stage schedule of sampling: which scale moves when (DFM, section 3.4 and Figure 2a; numerics 4.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class StageSchedule:
    """Timesteps of every scale at every solver step, in float64."""

    times: tuple[tuple[float, ...], ...]
    """t_s(n) for n = 0..N, [N + 1][S]; each row starts at 0 and ends at 1."""
    num_active: tuple[int, ...]
    """Number of scales that move in step n, [N]; they are the first ones."""

    @property
    def num_steps(self) -> int:
        return len(self.num_active)


def stage_schedule(steps: Sequence[int], tau: Sequence[float]) -> StageSchedule:
    """The schedule of S stages (numerics 4.1).

    Scale s rests at 0 until its stage begins at C_{s-1}, rises straight to tau_s at C_s, and from there in one
    straight line to 1 at the last step (numerics A7: it is not re-scaled at later switches).

    Args: steps: solver steps of each stage, [S]. tau: threshold of each stage but the last, [S - 1], in (0, 1].
    Raises: ValueError if the lengths do not match or a value is out of range.
    """
    if len(tau) != len(steps) - 1:
        raise ValueError(f"{len(steps)} stage(s) need {len(steps) - 1} tau, got {list(tau)}")
    if min(steps) < 1 or not all(0 < value <= 1 for value in tau):
        raise ValueError(f"steps must be positive and tau in (0, 1], got steps {list(steps)}, tau {list(tau)}")
    ends = [sum(steps[: stage + 1]) for stage in range(len(steps))]
    total = ends[-1]
    thresholds = [*tau, 1.0]

    def time(stage: int, n: int) -> float:
        begin, end, threshold = ends[stage] - steps[stage], ends[stage], thresholds[stage]
        if n <= begin:
            return 0.0
        if n <= end:
            return threshold * (n - begin) / steps[stage]
        return threshold + (1.0 - threshold) * (n - end) / (total - end)

    times = tuple(tuple(time(stage, n) for stage in range(len(steps))) for n in range(total + 1))
    num_active = tuple(sum(end - own <= n for end, own in zip(ends, steps, strict=True)) for n in range(total))
    return StageSchedule(times=times, num_active=num_active)


def tied_schedule(num_steps: int, num_stages: int) -> StageSchedule:
    """All scales together on the uniform grid n / N, none waiting (the paper's "tied" ablation, Table 1b)."""
    times = tuple((n / num_steps,) * num_stages for n in range(num_steps + 1))
    return StageSchedule(times=times, num_active=(num_stages,) * num_steps)
