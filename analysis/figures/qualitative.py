"""Samples of equal noise beside each other: across the rows of a part, and over a training (Figures 4, 11-25)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis.comparison.joined_sweep import JoinedSweep
from analysis.drawing.chart import Chart, Group, ImagePanel, slug
from analysis.plan.model import Part, Trial
from analysis.records.grid_images import GridImages, cut_grid

_COLUMNS = 8
_MOST_ROWS, _MOST_ALONG = 8, 12
_MOST_SIDE = 128
"""Pixels; larger pictures are shown smaller, by averages over blocks."""
_FIXED = (
    "A column is one sample index: the same class and the same random draw. Scales of different shape cannot have the "
    "same noise."
)


def collect_qualitative(evidence: JoinedSweep) -> tuple[Group, ...]:
    """For each part its rows at their last evaluations, beside real images; then each row over its training."""
    across, along = list[Group](), list[Group]()
    seen: set[str] = set()
    for number, part in enumerate(evidence.plan.parts, 1):
        firsts = [trial for row in part.rows for trial in evidence.plan.trials_of(part.name, row)[:1]]
        chart = _across(evidence, part, number, firsts)
        across += [Group(part.title, (chart,))] if chart else []
        fresh = {trial.evaluations[-1][1]: trial for trial in firsts if trial.evaluations[-1][1] not in seen}
        seen |= fresh.keys()
        charts = [found for trial in [*fresh.values()][:_MOST_ALONG] if (found := _along(evidence, number, trial))]
        along += [Group(f"{part.title}, over training", tuple(charts), folded=True)] if charts else []
    return (*across, *along)


def _across(evidence: JoinedSweep, part: Part, number: int, trials: Sequence[Trial]) -> Chart | None:
    """Rows whose samples are of one draw and size: of many an even choice, of a search the best."""
    found: dict[str, GridImages] = {}
    kind: tuple[str, tuple[int, ...]] | None = None
    size = 1 if part.search else -(-len(trials) // _MOST_ROWS) or 1
    for trial in trials[::size]:
        if len(found) == _MOST_ROWS:
            break
        _, digest = trial.evaluations[-1]
        pictures = images_of(evidence, digest)
        if pictures is None:
            continue
        own = evidence.plan.evaluations[digest].noise, pictures.pixels.shape[1:]
        kind = kind or own
        if own == kind:
            found[trial.row] = pictures
    about = f"{part.title}: samples of each row after its training"
    left_out = len(trials) - len(found)
    more = f" {left_out} of {len(trials)} rows are not shown." if left_out else ""
    return _chart(f"samples-{number}-{slug(part.name)}", "Across rows", about, found, more, real_grid_images(evidence))


def _along(evidence: JoinedSweep, number: int, trial: Trial) -> Chart | None:
    found = {}
    for step, digest in trial.evaluations[-_MOST_ROWS:]:
        pictures = images_of(evidence, digest)
        if pictures is not None:
            found[f"after {step:,} steps"] = pictures
    if len(found) < 2:
        return None
    name = f"training-{number}-{slug(trial.part)}-{slug(trial.row)}-{trial.evaluations[-1][1][:8]}"
    return _chart(name, trial.row, f"{trial.row}: samples over its training", found, "", None)


def images_of(evidence: JoinedSweep, digest: str) -> GridImages | None:
    """The first samples of an evaluation, as its run has them; None while there are none."""
    image, task = evidence.record(digest).image, evidence.plan.evaluations[digest]
    sides = {evidence.plan.trainings[train].resolution for train in task.trained if train in evidence.plan.trainings}
    return None if image is None else cut_grid(image, sides.pop() if len(sides) == 1 else None)


def real_grid_images(evidence: JoinedSweep) -> GridImages | None:
    """The first real images, if the sweep has one set of them."""
    grids = {image for digest in evidence.plan.references if (image := evidence.record(digest).image) is not None}
    sides = {task.resolution for task in evidence.plan.trainings.values()}
    return cut_grid(grids.pop(), sides.pop() if len(sides) == 1 else None) if len(grids) == 1 else None


def _chart(
    name: str, title: str, about: str, found: dict[str, GridImages], more: str, real: GridImages | None
) -> Chart | None:
    if not found:
        return None
    first = next(iter(found.values()))
    shape = first.pixels.shape[1:]
    same = {row: pictures for row, pictures in found.items() if pictures.pixels.shape[1:] == shape}
    columns = min(_COLUMNS, *(len(pictures.pixels) for pictures in same.values()))
    rows = {row: pictures.pixels[:columns] for row, pictures in same.items()}
    if real is not None and real.pixels.shape[1:] == shape and len(real.pixels) >= columns:
        rows["real images"] = real.pixels[:columns]
    panel = ImagePanel(tuple(rows), first.labels[:columns], shown_smaller(np.stack(list(rows.values()))))
    classes = ", ".join(dict.fromkeys(filter(None, first.labels[:columns])))
    of = f" Classes: {classes}." if classes else ""
    text = f"{about}: {', '.join(rows)}.{of} {_FIXED}{more}"
    return Chart(name, title, text, (panel,), note=more.strip(), columns=1)


def shown_smaller(pixels: np.ndarray) -> np.ndarray:
    """Pictures, [R, N, H, W, 3] uint8, with sides of at most 128, by a whole factor; what is left of it is cut off."""
    rows, columns, height, width, _ = pixels.shape
    factor = -(-max(height, width) // _MOST_SIDE)
    high, wide = height // factor, width // factor
    blocks = pixels[:, :, : high * factor, : wide * factor].reshape(rows, columns, high, factor, wide, factor, 3)
    return pixels if factor == 1 else blocks.mean(axis=(3, 5)).round().astype(np.uint8)
