"""Numbers that can be averaged and drawn: what is larger than any measurement is left out of what was read."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from analysis.tracking.history import MetricHistory

LARGEST = 1e150
"""Largest number of a metric, loss or cost; the square of a larger one is beyond a float."""
SoundMetrics = tuple[dict[str, float], tuple[str, ...]]
"""Metrics by name, and a note on each that was left out."""


def sound_metrics(metrics: Mapping[str, float]) -> SoundMetrics:
    """Return the metrics by name, less finite ones that are too large, and a note on each of these."""
    too_large = {name: value for name, value in metrics.items() if LARGEST < abs(value) < np.inf}
    kept = {name: value for name, value in sorted(metrics.items()) if name not in too_large}
    return kept, tuple(
        f"{name} is {value:g}, which nothing measures; it is left out" for name, value in too_large.items()
    )


def sound_curves(curves: Mapping[str, MetricHistory]) -> dict[str, MetricHistory]:
    """Return the histories by name; points that are too large are infinite in them."""
    sound = {}
    for name, curve in sorted(curves.items()):
        too_large = np.abs(curve.values) > LARGEST
        values = (
            np.where(too_large, np.copysign(np.inf, curve.values), curve.values) if too_large.any() else curve.values
        )
        sound[name] = MetricHistory(curve.steps, values)
    return sound
