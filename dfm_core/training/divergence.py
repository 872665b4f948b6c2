"""Divergence: conditions that end a training, and those that only skip a step."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dfm_core.training.curve import CurveRow

MOST_SKIPPED_IN_A_ROW = 10
_RUNAWAY = 1000.0
"""So many times its first value a loss is no longer one that comes back."""


class TrainingDivergedError(Exception):
    """The training diverged: to resume or restart it would end the same way."""


class NotFiniteError(TrainingDivergedError):
    """Gradients are not finite step after step."""


class Skips:
    """Steps that change nothing, since their gradients are not finite.

    One bad batch, or one overflow of bf16, must not end a training of days; many in a row are no accident. All workers
    see the same norm, so all count the same.
    """

    def __init__(self, most_in_a_row: int, already: int = 0) -> None:
        """Args: already: steps left out right before the first one, if a training goes on from there."""
        self._most_in_a_row = most_in_a_row
        self._in_a_row = already
        self._since_row = already

    def stepped(self, step: int, samples: range, *, skipped: bool) -> None:
        """Note step number `step`, on these global sample indices. Raises: NotFiniteError if it is one too many."""
        if not skipped:
            self._in_a_row = 0
            return
        self._in_a_row += 1
        self._since_row += 1
        if self._in_a_row >= self._most_in_a_row:
            raise NotFiniteError(
                f"gradients are not finite at step {step}, the {self._in_a_row}. in a row, with samples {samples[0]} "
                f"to {samples[-1]} of the training's order: lower training.learning_rate, or look at these images?"
            )

    def taken(self) -> dict[str, float]:
        """Return the entry of the next row of the curve about steps skipped since the row before; empty if none was."""
        skipped, self._since_row = self._since_row, 0
        return {"skipped_steps": float(skipped)} if skipped else {}


def check_loss(rows: Sequence[CurveRow]) -> None:
    """Args: rows: of the whole curve. Raises: TrainingDivergedError if its last loss is no number or has run away."""
    first, loss, step = rows[0]["loss"], rows[-1]["loss"], rows[-1]["step"]
    if not math.isfinite(loss):
        raise TrainingDivergedError(f"loss {loss} at step {step:.0f}: lower training.learning_rate?")
    if loss > _RUNAWAY * first:
        raise TrainingDivergedError(
            f"loss {loss:.4g} at step {step:.0f}, from {first:.4g} at step {rows[0]['step']:.0f}: "
            "lower training.learning_rate?"
        )
