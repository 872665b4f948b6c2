"""Pictures of an earlier report in the same folder, to be used again where their figures did not change."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs

from analysis.drawing.render import Drawing
from analysis.report.write_files import written_before

DRAWINGS = "figures/drawings.json"
"""What each drawing of a report depends on, by the name of its figure."""


@dataclass(frozen=True)
class PreviousDrawings:
    """The figures of an earlier report; empty if there is none, or none that can be read."""

    drawings: Mapping[str, str] = field(default_factory=dict)
    """Name of a figure -> what its drawing depends on."""
    hashes: Mapping[str, str] = field(default_factory=dict)
    """Sha256 by path inside the folder."""
    filesystem: AbstractFileSystem | None = None
    root: str = ""

    def drawing(self, name: str, identity: str) -> Drawing | None:
        """The pictures of a figure, if they are there, whole, and of the same chart."""
        if self.drawings.get(name) != identity:
            return None
        svg, png = (self.read(f"figures/{name}.{ending}") for ending in ("svg", "png"))
        return None if svg is None or png is None else Drawing(svg, png)

    def read(self, path: str) -> bytes | None:
        """A file as the report wrote it; None if it is gone or changed since."""
        if self.filesystem is None:
            return None
        try:
            data = bytes(self.filesystem.cat_file(f"{self.root}/{path}"))
        except OSError:
            return None
        return data if hashlib.sha256(data).hexdigest() == self.hashes.get(path) else None


def read_previous(output: str, storage_options: Mapping[str, Any] | None = None) -> PreviousDrawings:
    """The figures in a folder or at an fsspec URL; what cannot be read counts as none, and is drawn."""
    try:
        filesystem, root = url_to_fs(output, **(storage_options or {}))
        earlier = PreviousDrawings({}, written_before(filesystem, root), filesystem, root)
        # One that a report which was cut off did not come to may be of other pictures.
        drawings = json.loads(earlier.read(DRAWINGS) or b"{}")
        return replace(earlier, drawings={**drawings})
    except Exception:  # noqa: BLE001  each backend raises its own family; writing the report will tell what is wrong
        return PreviousDrawings()


def drawings_file(drawings: Mapping[str, str]) -> bytes:
    """What the next report reads."""
    return json.dumps(dict(drawings), indent=1, sort_keys=True).encode() + b"\n"
