"""All numbers that the tables of the paper print, from published.yaml.

The text of arXiv v1 is the specification, so its values come first. The camera-ready text fills in what v1 does not
print; where it corrects v1 (Table 1f, 256-512-1024) the value stays v1's and carries the correction beside it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast

import yaml

from analysis.errors import UserError

Source = Literal["arxiv_v1", "camera_ready"]

_NUM_SAMPLES = re.compile(r"_(\d+)k$")
_NETWORKS = {
    "fid": "inception",
    "frame_fid": "inception",
    "is": "inception",
    "fdd": "dinov2",
    "fvd": "i3d",
    "clipsim": "clip",
}
"""Metric without its number of samples -> what the name of its feature network holds."""
_HIGHER = {"is", "clipsim"}
_FILE = Path(__file__).parent / "published.yaml"
_NO_GUIDANCE = 1.0


class UnknownPublishedError(UserError):
    """The paper has no such table, part, guidance or metric; the message names those that it has."""


@dataclass(frozen=True)
class PublishedValue:
    """One number of the paper."""

    printed: str
    """As the paper prints it, trailing zeros included."""
    source: Source
    correction: str | None = None
    """Value that the camera-ready text prints in its place, if it is another."""

    @property
    def value(self) -> float:
        return float(self.printed)


@dataclass(frozen=True)
class PublishedProtocol:
    """Training and measurement of a part, as the paper describes them; None or empty where it says nothing."""

    data: str
    resolution: int
    """Side of the images, pixels."""
    backbone: str
    training_steps: int | None
    num_samples: int | None
    """Number of samples of every metric of the part."""
    sampling: str
    page: int | None
    section: str
    remark: str

    @property
    def setting(self) -> str:
        """Data, resolution, backbone and training steps, for people."""
        steps = [] if self.training_steps is None else [f"{self.training_steps:,} steps"]
        return ", ".join([self.data, f"{self.resolution} px", self.backbone, *steps])

    @property
    def place(self) -> str:
        """Place of the part in the paper, "page 6, section 4.2"; empty if the text at hand has no pages."""
        page = [] if self.page is None else [f"page {self.page}"]
        return ", ".join([*page, *([f"section {self.section}"] if self.section else [])])


@dataclass(frozen=True)
class PublishedPart:
    """One part of a published table, at one guidance weight."""

    table: str
    part: str
    guidance: float | None
    """None where nothing is sampled."""
    protocol: PublishedProtocol
    metrics: tuple[str, ...]
    values: Mapping[tuple[str, str], PublishedValue]
    """By (row, metric)."""

    @property
    def rows(self) -> tuple[str, ...]:
        """Names of the rows, in the paper's order."""
        return tuple(dict.fromkeys(row for row, _ in self.values))


def published_network(metric: str) -> str | None:
    """Return what the name of a published metric's feature network holds; None if it is no metric of samples."""
    return _NETWORKS.get(_NUM_SAMPLES.sub("", metric))


def published_better(metric: str) -> Literal["lower", "higher"]:
    """Return the direction of a published metric."""
    return "higher" if _NUM_SAMPLES.sub("", metric) in _HIGHER else "lower"


@cache
def published_parts() -> tuple[PublishedPart, ...]:
    """Return all parts that the paper prints, in its order."""
    blocks = yaml.load(_FILE.read_text(encoding="utf-8"), yaml.BaseLoader)  # noqa: S506  it yields only text, as printed
    parts: dict[tuple[str, str, float | None], PublishedPart] = {}
    for part in map(_parse_block, blocks):
        key = part.table, part.part, part.guidance
        parts[key] = _with_later(parts[key], part) if key in parts else part
    return tuple(parts.values())


def _parse_block(block: Mapping[str, Any]) -> PublishedPart:
    metrics, source = tuple(block["metrics"]), cast("Source", block["source"])
    values = {
        (row, metric): PublishedValue(printed, source)
        for row, numbers in block["rows"].items()
        for metric, printed in zip(metrics, numbers, strict=True)
    }
    guidance = float(block["guidance"]) if "guidance" in block else None
    return PublishedPart(block["table"], block["part"], guidance, _parse_protocol(block), metrics, values)


def _parse_protocol(block: Mapping[str, Any]) -> PublishedProtocol:
    steps, samples, page = (
        int(block[key]) if key in block else None for key in ("training_steps", "num_samples", "page")
    )
    texts = (block.get(key, "") for key in ("section", "remark"))
    named = block["data"], int(block["resolution"]), block["backbone"]
    return PublishedProtocol(*named, steps, samples, block.get("sampling", ""), page, *texts)


def _with_later(first: PublishedPart, later: PublishedPart) -> PublishedPart:
    """Return a part with what a later text adds; of two numbers for a cell the later one is a correction."""
    values = dict(first.values)
    for key, value in later.values.items():
        earlier = values.get(key)
        values[key] = value if earlier is None else replace(earlier, correction=_other(earlier, value))
    return replace(first, metrics=tuple(dict.fromkeys((*first.metrics, *later.metrics))), values=values)


def _other(earlier: PublishedValue, later: PublishedValue) -> str | None:
    return later.printed if later.value != earlier.value else None


def find_published(table: str, part: str, guidance: float | None = None) -> PublishedPart:
    """Return a part of a published table.

    Args: table, part: as published.yaml names them. guidance: its weight; None: the only one that is printed, or 1.
    Raises: UnknownPublishedError if the paper has no such table, part or guidance.
    """
    in_table = _parts_of(table)
    in_part = [one for one in in_table if one.part == part]
    if not in_part:
        raise _unknown(f"part of {table}", part, (one.part for one in in_table))
    if guidance is None and len(in_part) == 1:
        return in_part[0]
    weight = _NO_GUIDANCE if guidance is None else guidance
    chosen = [one for one in in_part if one.guidance == weight]
    if not chosen:
        weights = (f"{one.guidance:g}" for one in in_part if one.guidance is not None)
        raise _unknown(f"guidance of {table} {part}", guidance, weights)
    return chosen[0]


def has_published(table: str, part: str) -> bool:
    """Return whether a published table has a part of this name.

    Raises: UnknownPublishedError if the paper has no such table.
    """
    return part in {one.part for one in _parts_of(table)}


def _parts_of(table: str) -> list[PublishedPart]:
    parts = published_parts()
    in_table = [part for part in parts if part.table == table]
    if not in_table:
        raise _unknown("table", table, (part.table for part in parts))
    return in_table


def check_published_metrics(table: str, metrics: Iterable[str]) -> None:
    """Raise UnknownPublishedError if the paper prints one of `metrics` nowhere in a table."""
    known = [metric for part in _parts_of(table) for metric in part.metrics]
    for metric in metrics:
        if metric not in known:
            raise _unknown(f"metric of {table}", metric, known)


def _unknown(what: str, given: object, known: Iterable[str]) -> UnknownPublishedError:
    names: Sequence[str] = list(dict.fromkeys(known))
    close = difflib.get_close_matches(given, names, n=1, cutoff=0.6) if isinstance(given, str) else []
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return UnknownPublishedError(f"published: {given!r} is not a {what}{hint}; known: {', '.join(names)}")
