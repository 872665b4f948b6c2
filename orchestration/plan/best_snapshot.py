"""The snapshot that is called best of its part; the analysis chooses it, the model registry takes it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BestSnapshot:
    """The snapshot of a row that is called best of its part."""

    part: str
    row: str
    step: int
    metric: str
    value: float
    """Mean over seeds."""
