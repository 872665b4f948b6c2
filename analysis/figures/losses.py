"""Training losses: all stages together, each stage, and each over its timesteps, beside how often these are drawn."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from analysis.comparison.joined_sweep import JoinedSweep
from analysis.drawing.chart import Chart, Group, Line, Panel, wants_log
from analysis.figures.line_selection import LineSelection, select_lines
from analysis.records.record import Curve
from analysis.results.cells import mean

_MOST_POINTS = 400
_BIN = re.compile(r"((?:loss|draws)_stage_\d+)_t(\d+)of(\d+)")
"""Name of a stage's loss over samples whose timestep is in one of equal bins of [0, 1], and of their share."""


def collect_losses(joined_sweep: JoinedSweep) -> tuple[Group, ...]:
    """Make charts of losses against training steps and, for the last quarter of each training, against timesteps."""
    labels = joined_sweep.plan.training_labels()
    curves = {labels[digest]: joined_sweep.record(digest).curves for digest in joined_sweep.plan.trainings}
    charts = (_over_steps(curves), _over_timesteps(curves))
    return (Group("", tuple(chart for chart in charts if chart)),)


def _over_steps(curves: Mapping[str, Mapping[str, Curve]]) -> Chart | None:
    names = sorted({name for losses in curves.values() for name, curve in losses.items() if curve})
    whole = [name for name in names if not _BIN.fullmatch(name)]
    if not whole:
        return None
    selection = select_lines(
        [(label, losses[whole[0]][-1][1]) for label, losses in curves.items() if losses.get(whole[0])], "lower"
    )
    panels = []
    for name in whole:
        lines = [
            _line(label, losses[name], color)
            for color, (label, losses) in enumerate(curves.items())
            if losses.get(name) and label in selection.named | selection.grey
        ]
        panels.append(Panel("training steps", name.replace("_", " "), selection.shown(lines)))
    return _chart("training-loss", "Training loss", "Training losses against training steps", panels, selection)


def _line(label: str, curve: Curve, color: int) -> Line:
    thinned = thin(curve)
    return Line(label, tuple(float(step) for step, _ in thinned), tuple(value for _, value in thinned), color=color)


def thin(curve: Curve) -> Curve:
    """Thin a curve to at most 400 points: the mean of neighbours, at the step of the last of them."""
    size = math.ceil(len(curve) / _MOST_POINTS)
    groups = [curve[start : start + size] for start in range(0, len(curve), max(size, 1))]
    return tuple((group[-1][0], mean([value for _, value in group])) for group in groups)


def _over_timesteps(curves: Mapping[str, Mapping[str, Curve]]) -> Chart | None:
    """Make two panels for each stage; a bin that no sample of the last quarter fell into is left out."""
    stages: dict[str, list[Line]] = {}
    for color, (label, losses) in enumerate(curves.items()):
        points: dict[str, list[tuple[float, float]]] = {}
        for name, curve in losses.items():
            match = _BIN.fullmatch(name)
            value = _at_the_end(curve) if match else None
            if match and value is not None:
                points.setdefault(match[1], []).append(((int(match[2]) + 0.5) / int(match[3]), value))
        for stage, pairs in points.items():
            xs, ys = zip(*sorted(pairs), strict=True)
            stages.setdefault(stage, []).append(Line(label, xs, ys, color=color))
    # Most is drawn where signal and noise are about equal, if scales and timesteps fit each other.
    order = sorted(stages, key=lambda name: (name.rpartition("_")[2], not name.startswith("loss")))
    losses_alone = [stages[name] for name in order if name.startswith("loss")]
    lasts = {line.label: line.y[-1] for lines in reversed(losses_alone) for line in lines}
    selection = select_lines(list(lasts.items()), "lower")
    panels = [
        Panel("timestep (0 noise, 1 data)", _timestep_label(name), selection.shown(stages[name])) for name in order
    ]
    about = "Training losses against the timestep, and the share of samples drawn there: last quarter of each training"
    chart = _chart("loss-per-timestep", "Training loss per timestep", about, panels, selection)
    return replace(chart, markers=True, columns=2 if len(order) > len(losses_alone) else 3) if chart else None


def _timestep_label(name: str) -> str:
    return name.replace("_", " ") if name.startswith("loss") else f"share of samples, {name[6:].replace('_', ' ')}"


def _at_the_end(curve: Curve) -> float | None:
    last = max((step for step, _ in curve), default=0)
    values = [value for step, value in curve if step > 0.75 * last]
    return mean(values) if values else None


def _chart(name: str, title: str, about: str, panels: Sequence[Panel], selection: LineSelection) -> Chart | None:
    if not panels:
        return None
    losses = [panel for panel in panels if panel.y_label.startswith("loss")]
    log_y = wants_log([y for panel in losses for line in panel.lines for y in line.y])
    drawn = tuple(replace(panel, log_y=log_y) if panel in losses else panel for panel in panels)
    last = ", ".join(f"{line.label}: {line.y[-1]:.4g}" for line in drawn[0].lines if not line.faint)
    text = f"{about}. Last values of the {drawn[0].y_label}: {last}.{selection.note and f' {selection.note}'}"
    return Chart(name, title, text, drawn, markers=False, note=selection.note, columns=3)
