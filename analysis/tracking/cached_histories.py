"""Histories and files of runs, out of the cache where a run ended before it was read, else from their source."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from analysis.tracking.cache import CacheSession, Item
from analysis.tracking.history import Points
from analysis.tracking.local_artifacts import local_files, local_folder
from analysis.tracking.run import STATUS_TAG, FileSource, History, Run, RunSource

_ASKED = "asked"
"""Names of the files that a run was asked for: what is not kept of them is not there."""
Files = dict[str, bytes]


class CachedSource:
    """The runs of an experiment, some of which were read before."""

    def __init__(self, source: RunSource, files: FileSource, kept: CacheSession) -> None:
        self._source, self._files, self._kept = source, files, kept

    def _find(self, run: Run, name: str, state: str) -> bytes | None:
        return self._kept.find(run.run_id, name, state) if run.ended else None

    def _keep(self, run: Run, name: str, state: str, data: bytes) -> None:
        if run.ended:
            self._kept.add(Item(run.run_id, name, state, data))

    def histories(self, wanted: Sequence[History]) -> Iterator[tuple[History, Points]]:
        """Each history that is asked for, in no order."""
        missing = []
        for history in wanted:
            data = self._find(history.run, f"curve/{history.key}", _state(history.run, history.key))
            if data is None:
                missing.append(history)
            else:
                yield history, Points.from_bytes(data)
        for history, points in self._source.histories(missing):
            self._keep(history.run, f"curve/{history.key}", _state(history.run, history.key), points.to_bytes())
            yield history, points

    def files(self, wanted: Sequence[tuple[Run, Iterable[str]]]) -> Iterator[tuple[Run, Files]]:
        """For each run those of the named files that it has, in no order."""
        missing = []
        for run, names in wanted:
            folder, state = local_folder(run), _state(run)
            if folder is not None and _is_here(folder):
                yield run, local_files(folder, names)
            elif set(names) <= set((self._find(run, _ASKED, state) or b"").decode().split("\n")):
                found = {name: self._find(run, f"file/{name}", state) for name in names}
                yield run, {name: data for name, data in found.items() if data is not None}
            else:
                missing.append((run, frozenset(names)))
        asked = {run.run_id: names for run, names in missing}
        for run, files in self._files.files(missing):
            for name, data in files.items():
                self._keep(run, f"file/{name}", _state(run), data)
            self._keep(run, _ASKED, _state(run), "\n".join(sorted(asked[run.run_id])).encode())
            yield run, files


def _is_here(folder: Path) -> bool:
    """Whether runs of an experiment have their artifacts on this machine; a run without any has no folder."""
    return folder.is_dir() or (len(folder.parents) > 1 and folder.parents[1].is_dir())


def _state(run: Run, key: str = "") -> str:
    """What changes when a later attempt takes up a run that ended."""
    value = repr(run.metrics.get(key)) if key else ""
    return f"{run.status} {run.end_time} {run.tags.get(STATUS_TAG)} {value}"
