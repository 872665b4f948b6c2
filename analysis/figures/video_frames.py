"""Videos frame by frame: the frames of a clip in a row, the rows of a part below each other (Figures 13-15)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.comparison.joined_sweep import JoinedSweep
from analysis.drawing.chart import Chart, Group, ImagePanel, slug
from analysis.figures.qualitative import shrink_images
from analysis.figures.series import group_by_part
from analysis.plan.model import Part
from analysis.plan.row_selection import MOST_ROWS, choose_evenly, first_trials, left_out_note, select_alike
from analysis.records.grid_images import cut_grid

_CLIPS = 3


@dataclass(frozen=True)
class ClipFrames:
    """Some frames of the first clips of an evaluation, or of real clips."""

    pixels: np.ndarray
    """[clips, frames, H, W, 3] uint8."""
    labels: tuple[str, ...]
    """Class of each clip."""
    frames: tuple[int, ...]
    """Numbers of the frames, from 0."""
    num_frames: int
    """Frames of a whole clip."""


def cut_clip_frames(png: bytes) -> ClipFrames | None:
    """Cut the frames out of an image whose text `dfm.grid` gives `frames`, `num_frames` and `labels`; else None.

    The image has a column for each of `frames`, a row for each of `labels`.
    """
    try:
        cut = cut_grid(png)
        if cut is None:
            return None
        frames, num_frames = tuple(map(int, cut.said["frames"])), int(cut.said["num_frames"])
        labels = tuple(map(str, cut.said["labels"]))
        if len(frames) != cut.said["columns"] or not labels:
            return None
        size = len(labels), len(frames), *cut.pixels.shape[1:]
        return ClipFrames(cut.pixels[: len(labels) * len(frames)].reshape(size), labels, frames, num_frames)
    except (ValueError, KeyError, TypeError):
        return None


def collect_clip_frames(joined_sweep: JoinedSweep) -> tuple[Group, ...]:
    """Make, for each part whose samples are videos, a chart for each of the first clips, a line for each row."""
    return group_by_part(joined_sweep.plan, lambda part, number: _charts(joined_sweep, part, number))


def _charts(joined_sweep: JoinedSweep, part: Part, number: int) -> list[Chart]:
    """Chart rows whose clips are of one draw and size: of many an even choice, of a search the best."""

    def cut(digest: str) -> ClipFrames | None:
        data = joined_sweep.record(digest).strips
        return None if data is None else cut_clip_frames(data)

    def kind_of(digest: str, clips: ClipFrames) -> object:
        return joined_sweep.plan.evaluations[digest].noise, clips.pixels.shape, clips.frames, clips.labels

    trials = first_trials(joined_sweep.plan, part)
    rows = select_alike(choose_evenly(part, trials)[:MOST_ROWS], cut, kind_of)
    num_clips = len(next(iter(rows.values())).labels) if rows else 0
    name, real, note = f"videos-{number}-{slug(part.name)}", _cut_real_clips(joined_sweep), left_out_note(trials, rows)
    return [_chart(f"{name}-{clip}", clip, rows, real, note) for clip in range(min(_CLIPS, num_clips))]


def _cut_real_clips(joined_sweep: JoinedSweep) -> ClipFrames | None:
    """Cut the frames of the first real clips, if the sweep has one set of them."""
    images = {
        data
        for digest in joined_sweep.plan.titles["reference"]
        if (data := joined_sweep.record(digest).strips) is not None
    }
    return cut_clip_frames(images.pop()) if len(images) == 1 else None


def _chart(name: str, clip: int, rows: Mapping[str, ClipFrames], real: ClipFrames | None, note: str) -> Chart:
    first = next(iter(rows.values()))
    label = first.labels[clip]
    lines = {row: clips.pixels[clip] for row, clips in rows.items()}
    same = [index for index, other in enumerate(real.labels) if other == label] if real else []
    if real and same and (real.frames, real.pixels.shape[2:]) == (first.frames, first.pixels.shape[2:]):
        lines["a real clip"] = real.pixels[same[0]]
    columns = tuple(f"frame {frame}" for frame in first.frames)
    panel = ImagePanel(tuple(lines), columns, shrink_images(np.stack(list(lines.values()))))
    title = f"Clip {clip}: {label}" if label else f"Clip {clip}"
    about = f"{title}. Frames {_listed(first.frames)} of {first.num_frames} of the same draw: {', '.join(lines)}."
    return Chart(name, title, f"{about} {note}".strip(), (panel,), note=note, columns=1)


def _listed(frames: Sequence[int]) -> str:
    return ", ".join(map(str, frames))
