"""The protocol of encodings that are made in parts, each by one call of an evaluator, and begun again where cut off."""

from __future__ import annotations

from typing import Protocol

from orchestration.tasks.task import EncodeTask


class PartEncoder(Protocol):
    """Maker of the parts of a task, and of its store when all are there."""

    def num_parts(self, task: EncodeTask) -> int:
        """Return how many parts a task has.

        Raises: ValueError if the data is not that which was planned with; what reading it raises.
        """

    def encode(self, task: EncodeTask, number: int, num_parts: int, batch_samples: int) -> float:
        """Write a part and its card. Returns the seconds that it took. Raises: as `num_parts`; DiskFullError."""

    def finish(self, task: EncodeTask, num_parts: int, seconds: float, accelerator_seconds: float) -> None:
        """Publish the store and the task's record.

        Raises: UnusableFolderError if more was left out than is allowed; ValueError if a part is missing.
        """
