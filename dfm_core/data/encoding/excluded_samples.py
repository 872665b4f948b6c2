"""Samples that an encoding leaves out: named, counted, and never more than the user allows."""

from __future__ import annotations

from collections.abc import Sequence

from dfm_core.data.files.folder_report import BadFile, FolderReport, UnusableFolderError


class ExcludedSamples:
    """The samples of a dataset that could not be encoded, so far."""

    def __init__(self, place: str, max_share: float, num_samples: int | None = None) -> None:
        """Args: max_share: 0 allows none; 0.01 up to 1%. num_samples: of the dataset; None: known at the end only."""
        if not 0.0 <= max_share < 1.0:
            raise ValueError(f"max_share is {max_share}; allowed is 0 or more, and less than 1")
        self._place, self._max_share, self._num_samples = place, max_share, num_samples
        self._num_lost = 0
        self.bad: list[BadFile] = []
        """With entries that are no samples, and count for nothing."""

    def add(self, bad: Sequence[BadFile]) -> None:
        """Raises: UnusableFolderError as soon as it is too much, whatever is still to come."""
        self.bad += bad
        if self._num_samples is not None and self._too_many(self._num_samples):
            raise self._error(self._num_samples - self.num_bad)
        if not self._max_share and self.num_bad:
            raise self._error(0)

    @property
    def num_bad(self) -> int:
        """Return how many samples are among `bad`."""
        return sum(one.is_sample for one in self.bad)

    def finish(self, class_counts: Sequence[int], class_names: Sequence[str], num_lost: int = 0) -> FolderReport:
        """Args: class_counts: samples of each class that were encoded. num_lost: samples that have no name of their
        own, lost with files of many.

        Raises: UnusableFolderError if too much was left out; ValueError naming classes of which nothing is left.
        """
        used = sum(class_counts)
        self._num_lost = num_lost
        if not used or self._too_many(used + self.num_bad + num_lost):
            raise self._error(used)
        report = self._report(used)
        if gone := [name for name, count in zip(class_names, class_counts, strict=True) if not count]:
            raise ValueError(
                f"{self._place}: of {len(gone)} classes no sample is left: {', '.join(gone[:10])}\n{report}"
            )
        return report

    def _too_many(self, num_samples: int) -> bool:
        return self.num_bad + self._num_lost > self._max_share * num_samples

    def _report(self, used: int) -> FolderReport:
        bad = sorted(self.bad, key=lambda file: file.file)
        left = tuple(one.file for one in bad if not one.is_sample)
        return FolderReport(self._place, max(used, 0), tuple(one for one in bad if one.is_sample), (), left)

    def _error(self, used: int) -> UnusableFolderError:
        hint = f"mend or remove them; a share of {self._max_share:g} may be left out (max_bad_share)"
        lost = f"{self._num_lost} more samples were lost with files of many; " if self._num_lost else ""
        return UnusableFolderError(self._report(used), lost + hint)
