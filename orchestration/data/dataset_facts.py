"""Facts of a dataset's files: what planning has to know of them, and shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dfm_core.data.files.folder_report import left_behind_text, shown_name

if TYPE_CHECKING:
    from dfm_core.data.files.raw_samples import RawDataset

_NUM_FIRST, _NUM_LAST = 3, 2
"""Classes that are shown, of many."""


@dataclass(frozen=True)
class DatasetFacts:
    """Facts of the training or the reference files."""

    fingerprint: str
    class_names: tuple[str, ...]
    num_units: int
    """Files that hold samples."""
    num_left_behind: int
    """Entries that are no part of the dataset; see `dfm_core/data/files/left_behind.py`."""
    left_behind: str
    """One of them."""

    @classmethod
    def of(cls, raw: RawDataset) -> DatasetFacts:
        left = [one.file for one in raw.left_out if not one.is_sample]
        return cls(raw.fingerprint, raw.class_names, len(raw.units), len(left), left[0] if left else "")

    def text(self, name: str) -> str:
        """Return the facts in words."""
        line = f"{name}: {self.num_units:,} files, {len(self.class_names):,} classes: {self._classes()}."
        return f"{line} {left_behind_text(self.num_left_behind, self.left_behind)}." if self.num_left_behind else line

    def _classes(self) -> str:
        """Return the first and last classes with their labels."""
        shown = [f"{shown_name(name)} ({label})" for label, name in enumerate(self.class_names)]
        if len(shown) > _NUM_FIRST + _NUM_LAST + 1:
            shown[_NUM_FIRST:-_NUM_LAST] = ["..."]
        return ", ".join(shown)
