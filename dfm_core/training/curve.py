"""The training curve. Needs no torch."""

from __future__ import annotations

CurveRow = dict[str, float]
"""One point of the training curve: `step` and the values averaged over the steps since the row before.

`loss_stage_<s>_t<b>of<n>` is the mean loss of stage s over the samples whose timestep is in bin b of n; only in rows at
whose step a checkpoint or snapshot is saved."""
