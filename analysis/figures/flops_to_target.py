"""Training FLOPs that each row needs to reach the best value of the baselines (the paper: DFM needs about half)."""

from __future__ import annotations

import math

from analysis.comparison.flops_to_target import RowReached, Target
from analysis.comparison.joined_sweep import JoinedSweep
from analysis.drawing.chart import Bar, BarPanel, Chart, Group, slug
from analysis.figures.series import group_by_part
from analysis.plan.model import Part
from analysis.text.caveats import chart_caption, some_of
from analysis.text.cost_tables import reach_text


def collect_flops_to_target(joined_sweep: JoinedSweep) -> tuple[Group, ...]:
    """Make a chart with a panel per metric for each part that has baselines and rows of DFM."""
    return group_by_part(joined_sweep.plan, lambda part, number: [_chart(joined_sweep, part, number)])


def _chart(joined_sweep: JoinedSweep, part: Part, number: int) -> Chart | None:
    panels, captions = [], dict[str, None]()
    for target, comparability in joined_sweep.targets[part.name]:
        captions[chart_caption(comparability)] = None
        panels += [_panel(target)] if target else []
    if not panels:
        return None
    texts = (f"{panel.x_label}: " + ", ".join(f"{bar.label} {bar.text}" for bar in panel.bars) for panel in panels)
    about = f"{part.title}: training FLOPs until each row is as good as the best baseline. {'; '.join(texts)}."
    title = "FLOPs to reach the best of the baselines"
    caption = " ".join(filter(None, captions))
    return Chart(f"reach-{number}-{slug(part.name)}", title, about, tuple(panels), caption=caption, columns=1)


def _panel(target: Target) -> BarPanel:
    """Make a bar of each row that has values."""
    source = "declared" if target.is_declared else f"best of {target.holder}"
    num_seeds = f"{target.num_seeds} seed{'' if target.num_seeds == 1 else 's'}"
    left_out = f"; without {some_of(target.left_out)}" if target.left_out else ""
    x_label = f"training FLOPs to {target.metric.title} {target.value:.4g} ({source}; {num_seeds}{left_out})"
    return BarPanel(x_label, tuple(_bar(target, row) for row in target.rows), target.num_seeds)


def _bar(target: Target, row: RowReached) -> Bar:
    color = target.part.rows.index(row.label)
    low, high = _interval(target, row)
    share_reached = row.draws.share_reached if row.draws else None
    return Bar(row.label, row.reached.x, reach_text(row), row.reached.end, color, low, high, share_reached)


def _interval(target: Target, row: RowReached) -> tuple[float | None, float | None]:
    if row.draws is None:
        return None, None
    low, high = (target.unit * end if math.isfinite(end) else None for end in (row.draws.low, row.draws.high))
    return low, high
