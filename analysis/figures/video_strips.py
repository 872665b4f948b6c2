"""Videos as strips: the frames of a clip in a row, the rows of a part below each other (Figures 13-15)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.comparison.joined_sweep import JoinedSweep
from analysis.drawing.chart import Chart, Group, ImagePanel, slug
from analysis.figures.qualitative import shown_smaller
from analysis.plan.model import Part
from analysis.records.grid_images import cut_grid, grid_text

_CLIPS = 3
_MOST_ROWS = 8


@dataclass(frozen=True)
class Strips:
    """Some frames of the first clips of an evaluation, or of real clips."""

    pixels: np.ndarray
    """[clips, frames, H, W, 3] uint8."""
    labels: tuple[str, ...]
    """The class of each clip."""
    frames: tuple[int, ...]
    """Their numbers, from 0."""
    num_frames: int
    """Of a clip."""


def cut_strips(png: bytes) -> Strips | None:
    """The strips in a picture whose text `dfm.grid` says `frames`, one for each column, `num_frames`, and `labels`, one
    for each row; None if it is another.
    """
    try:
        said = json.loads(grid_text(png) or "")
        frames, num_frames = tuple(map(int, said["frames"])), int(said["num_frames"])
        labels = tuple(map(str, said["labels"]))
        cut = cut_grid(png)
        if cut is None or len(frames) != said["columns"] or not labels:
            return None
        size = len(labels), len(frames), *cut.pixels.shape[1:]
        return Strips(cut.pixels[: len(labels) * len(frames)].reshape(size), labels, frames, num_frames)
    except (ValueError, KeyError, TypeError):
        return None


def collect_strips(evidence: JoinedSweep) -> tuple[Group, ...]:
    """For each part whose samples are videos a chart for each of the first clips, a line for each row."""
    groups = []
    for number, part in enumerate(evidence.plan.parts, 1):
        charts = _charts(evidence, part, number)
        if charts:
            groups.append(Group(part.title, charts))
    return tuple(groups)


def _charts(evidence: JoinedSweep, part: Part, number: int) -> tuple[Chart, ...]:
    """Rows whose clips are of one draw and size: of many an even choice, of a search the best."""
    trials = [trial for row in part.rows for trial in evidence.plan.trials_of(part.name, row)[:1]]
    size = 1 if part.search else -(-len(trials) // _MOST_ROWS) or 1
    found: dict[str, Strips] = {}
    kind: tuple[object, ...] | None = None
    for trial in trials[::size][:_MOST_ROWS]:
        _, digest = trial.evaluations[-1]
        data = evidence.record(digest).strips
        strips = None if data is None else cut_strips(data)
        if strips is None:
            continue
        own = (evidence.plan.evaluations[digest].noise, strips.pixels.shape, strips.frames, strips.labels)
        kind = kind or own
        if own == kind:
            found[trial.row] = strips
    left_out = len(trials) - len(found)
    note = f"{left_out} of {len(trials)} rows are not shown." if left_out else ""
    clips = len(next(iter(found.values())).labels) if found else 0
    name = f"videos-{number}-{slug(part.name)}"
    return tuple(_chart(f"{name}-{clip}", clip, found, _real(evidence), note) for clip in range(min(_CLIPS, clips)))


def _real(evidence: JoinedSweep) -> Strips | None:
    """The first real clips, if the sweep has one set of them."""
    pictures = {data for digest in evidence.plan.references if (data := evidence.record(digest).strips) is not None}
    return cut_strips(pictures.pop()) if len(pictures) == 1 else None


def _chart(name: str, clip: int, found: dict[str, Strips], real: Strips | None, note: str) -> Chart:
    first = next(iter(found.values()))
    label = first.labels[clip]
    lines = {row: strips.pixels[clip] for row, strips in found.items()}
    same = [index for index, other in enumerate(real.labels) if other == label] if real else []
    if real and same and (real.frames, real.pixels.shape[2:]) == (first.frames, first.pixels.shape[2:]):
        lines["a real clip"] = real.pixels[same[0]]
    columns = tuple(f"frame {frame}" for frame in first.frames)
    panel = ImagePanel(tuple(lines), columns, shown_smaller(np.stack(list(lines.values()))))
    title = f"Clip {clip}: {label}" if label else f"Clip {clip}"
    about = f"{title}. Frames {_listed(first.frames)} of {first.num_frames} of the same draw: {', '.join(lines)}."
    return Chart(name, title, f"{about} {note}".strip(), (panel,), note=note, columns=1)


def _listed(frames: Sequence[int]) -> str:
    return ", ".join(map(str, frames))
