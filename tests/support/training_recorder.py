"""Observers of the training loop for tests."""

from __future__ import annotations

from pathlib import Path

from dfm_core.training.curve import CurveRow
from dfm_core.training.engine import TrainingEngine
from tests.support.state_folders import write_state_pieces


class Recorder:
    """Keeps what it is told; with an engine and a folder it writes the state of every save."""

    def __init__(self, engine: TrainingEngine | None = None, folder: Path | None = None) -> None:
        self.steps: list[int] = []
        self.rows: list[CurveRow] = []
        self.saved: dict[int, list[CurveRow]] = {}
        self._engine, self._folder = engine, folder

    def waited(self, seconds: float) -> None: ...

    def progress(self, step: int) -> None:
        self.steps.append(step)

    def log(self, row: CurveRow) -> None:
        self.rows.append(row)

    def save(self, step: int, curve: list[CurveRow]) -> None:
        self.saved[step] = list(curve)
        if self._engine and self._folder:
            directory = self._folder / str(step)
            directory.mkdir()
            write_state_pieces(self._engine, directory)
