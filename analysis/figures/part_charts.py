"""A chart for each part of a sweep."""

from __future__ import annotations

from collections.abc import Callable

from analysis.figures.chart import Chart, Group
from analysis.plan_types import Part, PlanFile


def one_of_each_part(plan: PlanFile, draw: Callable[[Part, int], Chart | None]) -> tuple[Group, ...]:
    """Args: draw: the chart of a part and its number, which counts from 1; None: there is nothing to draw of it."""
    charts = ((part, draw(part, number)) for number, part in enumerate(plan.parts, 1))
    return tuple(Group(part.title, (chart,)) for part, chart in charts if chart is not None)
