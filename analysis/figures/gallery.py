"""All figures of a report: collected, numbered, drawn, and as files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import count

from analysis.comparison.joined_sweep import JoinedSweep
from analysis.drawing.chart import Chart, Group, ImagePanel, Panel, chart_csv, chart_rows
from analysis.drawing.render import Drawing, draw, draw_panels, drawing_id
from analysis.drawing.theme import DARK, LIGHT, recolor
from analysis.figures.registry import FIGURES, FigureKind

_MOST_ROWS_ON_PAGE = 60
FindDrawing = Callable[[str, str], Drawing | None]
"""Function from a figure's name and drawing id to the drawing of a previous report, if there is one."""


@dataclass(frozen=True)
class Picture:
    """A chart, or one of its panels, as the page shows it."""

    title: str
    """Axis of the panel; "" for the whole chart."""
    light: bytes
    dark: bytes
    """SVG."""


@dataclass(frozen=True)
class Figure:
    """A chart as the page shows it."""

    number: int
    chart: Chart
    pictures: tuple[Picture, ...]
    """One, or the panels among which the reader chooses."""
    drawing: Drawing
    """Drawing as files, with its caption in it."""
    identity: str
    rows: tuple[tuple[str, ...], ...]
    """Data behind it, if the page can show them all; else only the CSV has them."""
    num_rows: int

    @property
    def has_data(self) -> bool:
        """True if there is a CSV; images have none."""
        return not any(isinstance(panel, ImagePanel) for panel in self.chart.panels)


@dataclass(frozen=True)
class FigureGroup:
    """Figures under one heading; empty if they need none."""

    group: Group
    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class Gallery:
    """One kind of figures."""

    id: str
    kind: FigureKind
    groups: tuple[FigureGroup, ...]

    @property
    def figures(self) -> tuple[Figure, ...]:
        return tuple(figure for group in self.groups for figure in group.figures)


def make_galleries(joined_sweep: JoinedSweep, find_drawing: FindDrawing) -> tuple[Gallery, ...]:
    """Make the gallery of every kind that has figures, or a text for their absence; figures are numbered through."""
    numbers = count(1)
    galleries = []
    for kind_id, kind in FIGURES.items():
        groups = tuple(
            FigureGroup(group, tuple(_figure(chart, next(numbers), find_drawing) for chart in group.charts))
            for group in kind.collect(joined_sweep)
        )
        if any(group.figures for group in groups) or kind.empty:
            galleries.append(Gallery(kind_id, kind, groups))
    return tuple(galleries)


def _figure(chart: Chart, number: int, find_drawing: FindDrawing) -> Figure:
    identity = drawing_id(chart)
    drawing = find_drawing(chart.name, identity) or draw(chart)
    rows = tuple(chart_rows(chart))
    on_page = rows if len(rows) <= _MOST_ROWS_ON_PAGE else ()
    return Figure(number, chart, _pictures(chart, drawing), drawing, identity, on_page, len(rows))


def _pictures(chart: Chart, drawing: Drawing) -> tuple[Picture, ...]:
    titles = [panel.x_label for panel in chart.panels if isinstance(panel, Panel)]
    if chart.has_choice and len(titles) > 1:
        shown = dict(zip(titles, draw_panels(chart), strict=True))
    else:  # the page has caption and note beside the image, a file has to carry them
        shown = {"": draw(replace(chart, caption="", note="")).svg if chart.caption or chart.note else drawing.svg}
    return tuple(Picture(title, svg, recolor(svg, LIGHT, DARK)) for title, svg in shown.items())


def figure_files(galleries: tuple[Gallery, ...]) -> dict[str, bytes]:
    """Return SVG, PNG and the data of each figure, by path."""
    files: dict[str, bytes] = {}
    for figure in (figure for gallery in galleries for figure in gallery.figures):
        path = f"figures/{figure.chart.name}"
        files |= {f"{path}.svg": figure.drawing.svg, f"{path}.png": figure.drawing.png}
        if figure.has_data:
            files[f"{path}.csv"] = chart_csv(figure.chart).encode()
    return files


def drawing_ids(galleries: tuple[Gallery, ...]) -> Mapping[str, str]:
    """Return the drawing id of each figure by name."""
    return {figure.chart.name: figure.identity for gallery in galleries for figure in gallery.figures}
