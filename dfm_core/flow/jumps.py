"""Pyramidal Flow's stages and the jumps between them (Jin et al. 2024; numerics 8.1). Needs no torch.

Inside a stage the state runs straight from `start = S n + (1 - S) up(coarser level)` to `end = e n + (1 - e) level`,
with the same noise n at both. A jump upsamples the end of a stage, which makes its noise constant in every 2 x 2 block;
noise of the opposite correlation makes it white again, and a factor puts both onto the next stage's start.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

NUM_TICKS = 1000
"""Ticks of the original's clock, 1000 at pure noise; it also cuts the progress inside a stage into as many."""


@dataclass(frozen=True)
class PyramidStage:
    """One stage; noise shares are of the standard deviation, 1 - share is the signal's."""

    start_noise: float
    """S: share of noise where the stage starts."""
    end_noise: float
    """e: share of noise where it ends; 0 in the last stage."""
    start_t: float
    """Timestep that the network is given at the start: 1 - ticks / 1000."""
    end_t: float
    """Timestep at the end, which is the next stage's at its start."""
    jump_scale: float
    """alpha: factor on the upsampled end of the stage before; 1 in the first."""
    jump_noise: float
    """beta: factor on the block noise that is added to it; 0 in the first."""

    def network_t(self, progress: float) -> float:
        """Timestep that the network is given at a progress in [0, 1] inside the stage."""
        return self.start_t + (self.end_t - self.start_t) * progress


def pyramid_stages(num_stages: int, gamma: float) -> tuple[PyramidStage, ...]:
    """Return the stages, coarsest first (numerics 8.1).

    Args: gamma: strength of the block noise, in (0, 1/3].
    Raises: ValueError if gamma is out of range: beyond 1/3 no noise has such a covariance.
    """
    if not 0.0 < gamma <= 1.0 / 3.0:
        raise ValueError(f"gamma must be in (0, 1/3], got {gamma}")
    cuts = [(NUM_TICKS - int(stage / num_stages * NUM_TICKS)) / NUM_TICKS for stage in range(num_stages)]
    ends = [*cuts[1:], 0.0]
    white = (1.0 + 1.0 / gamma) ** 0.5  # deviation of a block's noise after the jump, in units of that before
    scales = [1.0, *(1.0 / (white * cut + (1.0 - cut)) for cut in cuts[1:])]
    starts = [1.0, *(1.0 - scale * (1.0 - cut) for scale, cut in zip(scales[1:], cuts[1:], strict=True))]
    noises = [0.0, *(scale * cut / gamma**0.5 for scale, cut in zip(scales[1:], cuts[1:], strict=True))]
    times = _clock([start - end for start, end in zip(starts, ends, strict=True)])
    return tuple(
        PyramidStage(starts[q], ends[q], *times[q], jump_scale=scales[q], jump_noise=noises[q])
        for q in range(num_stages)
    )


def _clock(lengths: list[float]) -> list[tuple[float, float]]:
    """Timesteps at both ends of every stage, shared out by the stages' lengths in whole ticks, of which the last is
    not used."""
    shares = [sum(lengths[:stage]) / sum(lengths) for stage in range(len(lengths) + 1)]
    ticks = [min(int(share * NUM_TICKS), NUM_TICKS - 1) for share in shares]
    return [(begin / NUM_TICKS, end / NUM_TICKS) for begin, end in pairwise(ticks)]


def progress_grid(num_steps: int) -> tuple[float, ...]:
    """Progress inside a stage at every solver step: even steps to one tick before the end, and the end."""
    last = 1.0 - 1.0 / NUM_TICKS
    return (*(last * step / max(num_steps - 1, 1) for step in range(num_steps)), 1.0)
