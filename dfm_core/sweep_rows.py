"""The parts of a sweep's trained row, from whatever package is installed that knows sweeps.

This library imports nothing of sweeps. `orchestration` offers its function by an entry point of its distribution, which
is looked for when it is first wanted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from dfm_core.autoencoders.base import Autoencoder
from dfm_core.training.state import Snapshot

if TYPE_CHECKING:
    from dfm_core.models.flux.text_encoders import TextEncoders

ENTRY_POINT = "dfm_core.sweeps"


@dataclass(frozen=True)
class RowParts:
    """Everything that sampling from a row needs."""

    snapshot: Snapshot
    """With the row's own config: rows that share a training differ in their sampling."""
    autoencoder: Autoencoder | None
    text_encoders: TextEncoders | None


class SweepRowLoader(Protocol):
    """The function that an entry point names."""

    def __call__(
        self, sweep: Path, row: str, seed: int | None, overrides: Sequence[str], device: str, /
    ) -> RowParts: ...


def load_sweep_row(sweep: Path, row: str, seed: int | None, overrides: Sequence[str], device: str) -> RowParts:
    """Return the parts of a row; see `DFMPipeline.from_sweep`.

    Raises: ValueError if no package is installed that reads sweeps, or several are.
    """
    offered = sorted(entry_points(group=ENTRY_POINT))
    if len(offered) != 1:
        found = ", ".join(point.value for point in offered) or "none"
        install = "install the project as `make setup` does"
        raise ValueError(
            f"one package is needed that reads sweeps (entry point {ENTRY_POINT!r}), found: {found}; {install}"
        )
    loader = cast("SweepRowLoader", offered[0].load())
    return loader(sweep, row, seed, overrides, device)
