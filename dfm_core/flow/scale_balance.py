"""The balance of signal and noise of each scale over the timesteps that a training draws.

A scale of standard deviation d has as much signal as noise at t = 1 / (1 + d). Where hardly a timestep is drawn there,
the network hardly learns to tell the two apart, and the scale stays noisy or empty.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from dfm_core.config import ExperimentConfig

FEWEST_NEAR_NOISE = 0.10
"""Share of a scale's timesteps that should be drawn where signal and noise are about equal."""
_POWER_RATIO = 2.0
_LOGIT_NORMAL = ("dfm", "flow_matching", "cascaded")
"""Paradigms whose scales draw their timesteps from the logit-normal of `training.location` and `scale`."""


@dataclass(frozen=True)
class WeakScale:
    """A scale that a training hardly shows where signal and noise are about equal."""

    stage: int
    std: float
    """Standard deviation of its coefficients as the model sees them: after standardisation, if there is one."""
    share: float
    """Share of its timesteps where the power of the signal is between half and twice that of the noise."""

    @property
    def equal_location(self) -> float:
        """The `training.location` whose median timestep has as much signal as noise."""
        return -math.log(self.std)


def share_near_noise(std: float, location: float, scale: float) -> float:
    """Return the share of logit-normal timesteps at which the power of signal is between half and twice that of noise.

    With x_t = t x + (1 - t) noise (paper, equation 1) the ratio of amplitudes is d t / (1 - t), whose logarithm is
    ln d + logit t: normal with mean ln d + location.

    Args: std: standard deviation d of the scale, > 0. location, scale: of the normal logit of t; scale > 0.
    """
    half_width = 0.5 * math.log(_POWER_RATIO)
    log_ratio = NormalDist(math.log(std) + location, scale)
    return log_ratio.cdf(half_width) - log_ratio.cdf(-half_width)


def weak_scales(config: ExperimentConfig, scale_std: Sequence[float]) -> Iterator[WeakScale]:
    """Yield the scales of which less than `FEWEST_NEAR_NOISE` of the timesteps are drawn near signal = noise.

    None for Pyramidal Flow, whose stages divide the timesteps among them. Args: scale_std: standard deviation of each
    scale on the training data, before standardisation, [S].
    """
    if config.paradigm not in _LOGIT_NORMAL:
        return
    for stage, measured in enumerate(scale_std):
        std = 1.0 if config.data.standardize else measured
        if std > 0.0 and stage in config.own_stages:
            share = share_near_noise(std, config.training.location, config.training.scale)
            if share < FEWEST_NEAR_NOISE:
                yield WeakScale(stage, std, share)
