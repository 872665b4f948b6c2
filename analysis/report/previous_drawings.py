"""Drawings of a previous report in the same folder, to be used again for figures that did not change."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs

from analysis.contract.regular_files import IrregularFileError, read_file
from analysis.drawing.render import Drawing
from analysis.report.write_files import read_manifest

DRAWINGS = "figures/drawings.json"
"""File of the drawing ids of a report, by the name of the figure."""


@dataclass(frozen=True)
class PreviousDrawings:
    """The drawings of a previous report; empty if there is none, or none that can be read."""

    ids: Mapping[str, str] = field(default_factory=dict)
    """Drawing id by the name of the figure or picture."""
    hashes: Mapping[str, str] = field(default_factory=dict)
    """Sha256 by path inside the folder."""
    filesystem: AbstractFileSystem | None = None
    root: str = ""

    def drawing(self, name: str, identity: str) -> Drawing | None:
        """Return the drawing of a figure, if its files are there, whole, and of the same id."""
        svg = self.svg(name, identity)
        png = None if svg is None else self.read(f"figures/{name}.png")
        return None if svg is None or png is None else Drawing(svg, png)

    def svg(self, name: str, identity: str) -> bytes | None:
        """Return the SVG alone of a figure or of a picture of the page."""
        return self.read(f"figures/{name}.svg") if self.ids.get(name) == identity else None

    def read(self, path: str) -> bytes | None:
        """Read a file as the report wrote it; None if it is gone or changed since."""
        if self.filesystem is None:
            return None
        try:
            data = read_file(self.filesystem, f"{self.root}/{path}")
        except (OSError, IrregularFileError):
            return None
        return data if hashlib.sha256(data).hexdigest() == self.hashes.get(path) else None


def read_previous(output: str, storage_options: Mapping[str, Any] | None = None) -> PreviousDrawings:
    """Read the drawings in a folder or at an fsspec URL; one that cannot be read is drawn again."""
    try:
        filesystem, root = url_to_fs(output, **(storage_options or {}))
        previous = PreviousDrawings({}, read_manifest(filesystem, root), filesystem, root)
        # Read with its checksum: a list that an interrupted report did not rewrite may be of other drawings.
        ids = json.loads(previous.read(DRAWINGS) or b"{}")
        return replace(previous, ids={**ids})
    except Exception:  # noqa: BLE001  each backend raises its own family; writing the report will tell what is wrong
        return PreviousDrawings()


def encode_drawings(ids: Mapping[str, str]) -> bytes:
    """Encode the drawing ids for the next report."""
    return json.dumps(dict(ids), indent=1, sort_keys=True).encode() + b"\n"
