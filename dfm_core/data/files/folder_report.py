"""Report of a folder of images: counts, and every file that cannot be used with its reason."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from dfm_core.data.files.image_files import Fault

_MAX_NAMED = 10


def shown_name(name: str) -> str:
    """Return a file's name, fit for a terminal whatever it holds."""
    return name if name.isprintable() else ascii(name)


@dataclass(frozen=True)
class BadFile:
    """A file that cannot be used."""

    file: str
    """Relative to the folder, with forward slashes."""
    fault: Fault
    reason: str
    holds_many: bool = False
    """A file of many samples: the number lost with it is unknown."""

    def __str__(self) -> str:
        return f"{shown_name(self.file)}: {self.reason}"

    @property
    def is_sample(self) -> bool:
        """Return whether a sample is missing for it."""
        return self.fault != "left behind"


@dataclass(frozen=True)
class FolderReport:
    """Counts and unusable files of a folder."""

    folder: Path | str
    """Or the URL."""
    num_used: int
    bad: tuple[BadFile, ...]
    """Unusable files, sorted by name."""
    other_files: tuple[str, ...]
    """Without the extension of an image, by name; their content was not read."""
    left_behind: tuple[str, ...] = ()
    """Entries that operating systems, archivers and editors leave, by name."""

    @property
    def num_found(self) -> int:
        return self.num_used + len(self.bad)

    @property
    def counts(self) -> dict[Fault, int]:
        """Bad files by what is wrong with them, the most frequent first."""
        return dict(Counter(bad.fault for bad in self.bad).most_common())

    def __str__(self) -> str:
        """Return all counts, and the first bad files by name."""
        kinds = ", ".join(f"{count} {fault}" for fault, count in self.counts.items())
        bad = f"{len(self.bad)} of {self.num_found} images cannot be used ({kinds})" if self.bad else ""
        lines = [f"{self.folder}: {bad or f'all {self.num_found} images can be used'}"]
        lines += [f"  {bad}" for bad in self.bad[:_MAX_NAMED]]
        if len(self.bad) > _MAX_NAMED:
            lines.append(f"  and {len(self.bad) - _MAX_NAMED} more")
        if self.other_files:
            lines.append(
                f"  {len(self.other_files)} other files were left alone, such as {shown_name(self.other_files[0])}"
            )
        if self.left_behind:
            lines.append(f"  {left_behind_text(len(self.left_behind), self.left_behind[0])}")
        return "\n".join(lines)


def left_behind_text(count: int, example: str) -> str:
    """Return in words how many such entries are no part of a dataset."""
    entries = "entry that a system, archiver or editor leaves behind is"
    if count > 1:
        entries = "entries that systems, archivers and editors leave behind are"
    return f"{count:,} {entries} left out, such as {shown_name(example)}"


class UnusableFolderError(ValueError):
    """More of a folder cannot be used than was allowed; the message is the report."""

    def __init__(self, report: FolderReport, hint: str) -> None:
        super().__init__(report, hint)
        self.report, self.hint = report, hint

    def __str__(self) -> str:
        return f"{self.report}\n  {self.hint}"
