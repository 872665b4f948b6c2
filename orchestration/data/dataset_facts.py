"""Facts of a dataset's files: what planning has to know of them, and shows."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from dfm_core.data.captions.caption import CAPTIONED
from dfm_core.data.files.folder_report import left_behind_text, shown_name
from dfm_core.data.files.left_behind import left_behind

if TYPE_CHECKING:
    from dfm_core.data.files.raw_samples import Listing, RawDataset

_NUM_FIRST, _NUM_LAST = 3, 2
"""Classes that are shown, of many."""
_FEWEST_REAL = 100
"""Number of real images under which a distance to them is mostly noise."""
_SPLITS = {"train", "training", "val", "valid", "validation", "test", "testing", "dev"}


@dataclass(frozen=True)
class DatasetFacts:
    """Facts of the training or the reference files."""

    fingerprint: str
    class_names: tuple[str, ...]
    num_units: int
    """Files that hold samples."""
    num_left_behind: int = 0
    """Entries that are no part of the dataset; see `dfm_core/data/files/left_behind.py`."""
    left_behind: str = ""
    """One of them."""
    num_bad: int = 0
    """Files that the listing alone shows to be unusable."""
    bad: str = ""
    """One of them, with the reason."""
    is_sorted: bool = True
    """The order of the classes is that of their names as text; else it is a class list's."""
    num_other: int = 0
    """Files that no reader looks at, such as images of formats that are not read."""
    other: str = ""
    """One of them."""
    listed: str = ""
    """Time at which an earlier command listed the files; empty: now."""
    stale: str = ""
    """Time of an earlier listing that the files have left behind."""

    @classmethod
    def of(cls, raw: RawDataset, listing: Listing) -> DatasetFacts:
        """Args: listing: all files, those that `raw` does not name too."""
        named = {unit.name for unit in raw.units} | {one.file for one in raw.left_out}
        others = [file.name for file in listing.files if file.name not in named and not left_behind(file.name)]
        if raw.class_names == CAPTIONED:
            beside = {unit.name.rpartition(".")[0] for unit in raw.units}
            others = [name for name in others if name.rpartition(".")[0] not in beside]
        left = [one.file for one in raw.left_out if not one.is_sample]
        bad = [str(one) for one in raw.left_out if one.is_sample]
        return cls(
            raw.fingerprint,
            raw.class_names,
            len(raw.units),
            len(left),
            left[0] if left else "",
            len(bad),
            bad[0] if bad else "",
            list(raw.class_names) == sorted(raw.class_names),
            len(others),
            others[0] if others else "",
        )

    @classmethod
    def planned(cls, fingerprint: str, num_classes: int, num_units: int) -> DatasetFacts:
        """Return the facts of files that are not there yet."""
        return cls(fingerprint, tuple(f"class {number}" for number in range(num_classes)), num_units)

    def require(self, max_bad_share: float) -> None:
        """Raises: ValueError if the listing alone shows that too much would be left out."""
        num_found = self.num_units + self.num_bad
        if self.num_bad > max_bad_share * num_found:
            allowed = f"a share of {max_bad_share:g} may be left out (max_bad_share)"
            raise ValueError(f"{self.num_bad:,} of {num_found:,} files cannot be used: {self.bad}; {allowed}")

    def text(self, name: str, *, counts_real: bool = False) -> str:
        """Return the facts in words. Args: counts_real: they count the images that samples are measured against."""
        line = f"{name}: {self.num_units:,} files, {len(self.class_names):,} classes: {self.classes_text}."
        if self.class_names == CAPTIONED:
            line = f"{name}: {self.num_units:,} files, {CAPTIONED[0]}."
        if self.is_sorted and (pair := self._out_of_number()):
            line += f" Their order is that of text, {pair[0]} before {pair[1]}; a class_list gives another."
        if {name.lower() for name in self.class_names} <= _SPLITS:
            line += " These look like splits, not classes: give the folder of one of them as files."
        if counts_real and self.num_units < _FEWEST_REAL:
            line += f" Samples are measured against these: under {_FEWEST_REAL} images tell little; take some hundreds."
        if self.listed:
            line += f" As listed on {self.listed}."
        if self.stale:
            line += f" Listed anew: the listing of {self.stale} is stale."
        if self.num_left_behind:
            line += f" {left_behind_text(self.num_left_behind, self.left_behind)}."
        if self.num_other:
            line += f" Other files, which are let alone: {self.num_other:,}, such as {shown_name(self.other)}."
        return f"{line} Left out: {self.num_bad:,}, such as {self.bad}." if self.num_bad else line

    @property
    def classes_text(self) -> str:
        """Return the first and last classes with their labels."""
        shown = [f"{shown_name(name)} ({label})" for label, name in enumerate(self.class_names)]
        if len(shown) > _NUM_FIRST + _NUM_LAST + 1:
            shown[_NUM_FIRST:-_NUM_LAST] = ["..."]
        return ", ".join(shown)

    def _out_of_number(self) -> tuple[str, str] | None:
        """Return two numbers among the classes that stand in another order than that of numbers."""
        numbers = [name for name in self.class_names if name.isdecimal()]
        return next((pair for pair in pairwise(numbers) if int(pair[0]) > int(pair[1])), None)
