"""What scales are divided by before noising (numerics: `data.standardize`)."""

from __future__ import annotations

from collections.abc import Sequence

from dfm_core.config import ExperimentConfig


def scale_divisors(config: ExperimentConfig, scale_std: Sequence[float]) -> tuple[float, ...]:
    """Divisor of each scale, [S]: ones unless the data is standardised, then its standard deviation on the training
    data. Pyramidal Flow carries one level over into the next, so all its levels have the divisor of the finest."""
    stages = config.num_stages
    assert len(scale_std) == stages, f"{len(scale_std)} standard deviations for {stages} scales"
    if not config.data.standardize:
        return (1.0,) * stages
    if config.paradigm == "pyramidal_flow":
        return (scale_std[-1],) * stages
    return tuple(scale_std)
