"""Samples of equal noise beside each other: across the rows of a part, and over a training (Figures 4, 11-25)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis.comparison.joined_sweep import JoinedSweep
from analysis.drawing.chart import Chart, Group, ImagePanel, slug
from analysis.plan.model import Part, Trial
from analysis.plan.row_selection import MOST_ROWS, choose_evenly, first_trials, left_out_note, select_alike
from analysis.records.grid_images import GridImages, cut_grid

_COLUMNS = 8
_MOST_ALONG = 12
_MOST_SIDE = 128
"""Largest side in pixels; larger images are shrunk by averages over blocks."""
_FIXED = (
    "A column is one sample index: the same class and the same random draw. Scales of different shape cannot have the "
    "same noise."
)


def collect_qualitative(joined_sweep: JoinedSweep) -> tuple[Group, ...]:
    """Chart each part's rows at their last evaluations, beside real images; then each row over its training."""
    across, along = list[Group](), list[Group]()
    seen: set[str] = set()
    for number, part in enumerate(joined_sweep.plan.parts, 1):
        firsts = first_trials(joined_sweep.plan, part)
        chart = _across(joined_sweep, part, number, firsts)
        across += [Group(part.title, (chart,))] if chart else []
        fresh = {trial.evaluations[-1][1]: trial for trial in firsts if trial.evaluations[-1][1] not in seen}
        seen |= fresh.keys()
        charts = [_along(joined_sweep, number, trial) for trial in [*fresh.values()][:_MOST_ALONG]]
        group = Group(f"{part.title}, over training", tuple(chart for chart in charts if chart), folded=True)
        along += [group] if group.charts else []
    return (*across, *along)


def _across(joined_sweep: JoinedSweep, part: Part, number: int, trials: Sequence[Trial]) -> Chart | None:
    """Chart rows whose samples are of one draw and size: of many an even choice, of a search the best."""
    rows = select_alike(
        choose_evenly(part, trials),
        lambda digest: cut_sample_images(joined_sweep, digest),
        lambda digest, images: (joined_sweep.plan.evaluations[digest].noise, images.pixels.shape[1:]),
    )
    name, about = f"samples-{number}-{slug(part.name)}", f"{part.title}: samples of each row after its training"
    real = cut_real_images(joined_sweep)
    return _chart(name, "Across rows", about, rows, left_out_note(trials, rows), real)


def _along(joined_sweep: JoinedSweep, number: int, trial: Trial) -> Chart | None:
    rows = {}
    for step, digest in trial.evaluations[-MOST_ROWS:]:
        images = cut_sample_images(joined_sweep, digest)
        if images is not None:
            rows[f"after {step:,} steps"] = images
    if len(rows) < 2:
        return None
    name = f"training-{number}-{slug(trial.part)}-{slug(trial.row)}-{trial.evaluations[-1][1][:8]}"
    return _chart(name, trial.row, f"{trial.row}: samples over its training", rows, "", None)


def cut_sample_images(joined_sweep: JoinedSweep, digest: str) -> GridImages | None:
    """Cut the first samples of an evaluation out of its grid; None while there is none."""
    image, task = joined_sweep.record(digest).image, joined_sweep.plan.evaluations[digest]
    sides = {
        joined_sweep.plan.trainings[train].resolution for train in task.trained if train in joined_sweep.plan.trainings
    }
    return None if image is None else cut_grid(image, sides.pop() if len(sides) == 1 else None)


def cut_real_images(joined_sweep: JoinedSweep) -> GridImages | None:
    """Cut the first real images out of their grid, if the sweep has one set of them."""
    grids = {
        image
        for digest in joined_sweep.plan.titles["reference"]
        if (image := joined_sweep.record(digest).image) is not None
    }
    sides = {task.resolution for task in joined_sweep.plan.trainings.values()}
    return cut_grid(grids.pop(), sides.pop() if len(sides) == 1 else None) if len(grids) == 1 else None


def _chart(
    name: str, title: str, about: str, rows: dict[str, GridImages], note: str, real: GridImages | None
) -> Chart | None:
    if not rows:
        return None
    first = next(iter(rows.values()))
    shape = first.pixels.shape[1:]
    same = {row: images for row, images in rows.items() if images.pixels.shape[1:] == shape}
    columns = min(_COLUMNS, *(len(images.pixels) for images in same.values()))
    pixels = {row: images.pixels[:columns] for row, images in same.items()}
    if real is not None and real.pixels.shape[1:] == shape and len(real.pixels) >= columns:
        title, places = _beside(real.labels, first.labels[:columns])
        pixels[title] = real.pixels[places]
    panel = ImagePanel(tuple(pixels), first.labels[:columns], shrink_images(np.stack(list(pixels.values()))))
    classes = ", ".join(dict.fromkeys(filter(None, first.labels[:columns])))
    listed = f" Classes: {classes}." if classes else ""
    text = f"{about}: {', '.join(pixels)}.{listed} {_FIXED}{note and f' {note}'}"
    return Chart(name, title, text, (panel,), note=note, columns=1)


def _beside(real: Sequence[str], wanted: Sequence[str]) -> tuple[str, list[int]]:
    """Return a title and the places of a real image for each column: of its class, or the first where one has none."""
    left, places = dict(enumerate(real)), list[int]()
    for label in wanted:
        same = next((place for place, own in left.items() if own == label), None)
        if same is None:
            return "real images of any class", list(range(len(wanted)))
        places.append(same)
        del left[same]
    return "real images", places


def shrink_images(pixels: np.ndarray) -> np.ndarray:
    """Shrink images, [R, N, H, W, 3] uint8, to sides of at most 128, by a whole factor; the remainder is cut off."""
    rows, columns, height, width, _ = pixels.shape
    factor = -(-max(height, width) // _MOST_SIDE)
    high, wide = height // factor, width // factor
    blocks = pixels[:, :, : high * factor, : wide * factor].reshape(rows, columns, high, factor, wide, factor, 3)
    return pixels if factor == 1 else blocks.mean(axis=(3, 5)).round().astype(np.uint8)
