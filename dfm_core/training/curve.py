"""The training curve. Needs no torch."""

from __future__ import annotations

CurveRow = dict[str, float]
"""One point of the training curve: `step` and the values averaged over the steps since the row before."""
