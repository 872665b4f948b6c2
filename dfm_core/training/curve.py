"""The training curve. Needs no torch."""

from __future__ import annotations

import re

CurveRow = dict[str, float]
"""One point of the training curve: `step` and the values averaged over the steps since the row before.

`loss_stage_<s>_t<b>of<n>` is the mean loss of stage s over the samples whose timestep is in bin b of n, and
`draws_stage_<s>_t<b>of<n>` the share of the stage's samples that these are, in (0, 1]; only in rows at whose step a
checkpoint or snapshot is saved."""

_BIN = re.compile(r"loss_stage_\d+_t\d+of\d+")


def has_timesteps(row: CurveRow) -> bool:
    """Return True if a row has the losses by timestep."""
    return any(map(_BIN.fullmatch, row))
