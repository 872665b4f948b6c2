"""All figures of a report: collected, numbered, drawn, and as files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count
from typing import Protocol

from analysis.comparison.joined_sweep import JoinedSweep
from analysis.drawing.chart import Chart, Group, ImagePanel, Panel, chart_csv, chart_rows
from analysis.drawing.render import Drawing, draw, draw_svg, drawing_id
from analysis.drawing.theme import DARK, LIGHT, recolor
from analysis.figures.registry import FIGURES, FigureKind

_MOST_ROWS_ON_PAGE = 60


class EarlierDrawings(Protocol):
    """The drawings of a previous report, by name and drawing id; None for what it does not have."""

    def drawing(self, name: str, identity: str) -> Drawing | None: ...

    def svg(self, name: str, identity: str) -> bytes | None: ...


@dataclass(frozen=True)
class Picture:
    """A chart, or one of its panels, as the page shows it: without the caption, which stands beside it as text."""

    title: str
    """Axis of the panel; "" for the whole chart."""
    name: str
    """Name of its file, which the next report takes again; "" if it is the figure's own."""
    identity: str
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


def make_galleries(joined_sweep: JoinedSweep, earlier: EarlierDrawings) -> tuple[Gallery, ...]:
    """Make the gallery of every kind that has figures, or a text for their absence; figures are numbered through."""
    numbers = count(1)
    galleries = []
    for kind_id, kind in FIGURES.items():
        groups = tuple(
            FigureGroup(group, tuple(_figure(chart, next(numbers), earlier) for chart in group.charts))
            for group in kind.collect(joined_sweep)
        )
        if any(group.figures for group in groups) or kind.empty:
            galleries.append(Gallery(kind_id, kind, groups))
    return tuple(galleries)


def _figure(chart: Chart, number: int, earlier: EarlierDrawings) -> Figure:
    identity = drawing_id(chart)
    drawing = earlier.drawing(chart.name, identity) or draw(chart)
    rows = tuple(chart_rows(chart))
    on_page = rows if len(rows) <= _MOST_ROWS_ON_PAGE else ()
    pictures = tuple(_pictures(chart, drawing, identity, earlier))
    return Figure(number, chart, pictures, drawing, identity, on_page, len(rows))


def _pictures(chart: Chart, drawing: Drawing, identity: str, earlier: EarlierDrawings) -> Iterator[Picture]:
    for title, shown in _shown(chart).items():
        if shown is chart:
            yield Picture(title, "", identity, drawing.svg, recolor(drawing.svg, LIGHT, DARK))
            continue
        name, own_identity = f"page/{shown.name}", drawing_id(shown)
        svg = earlier.svg(name, own_identity) or draw_svg(shown)
        yield Picture(title, name, own_identity, svg, recolor(svg, LIGHT, DARK))


def _shown(chart: Chart) -> dict[str, Chart]:
    """Return the charts among which a reader chooses, by title."""
    # The page has caption and note beside the image, a file has to carry them.
    bare = replace(chart, caption="", note="") if chart.caption or chart.note else chart
    panels = [panel for panel in chart.panels if isinstance(panel, Panel)]
    if not chart.has_choice or len(panels) == 1:
        return {"": bare}
    return {
        panel.x_label: replace(bare, name=f"{chart.name}-{at}", panels=(panel,), columns=1)
        for at, panel in enumerate(panels)
    }


def figure_files(galleries: tuple[Gallery, ...]) -> dict[str, bytes]:
    """Return SVG, PNG and the data of each figure, and the pictures of the page that differ from them, by path."""
    files: dict[str, bytes] = {}
    for figure in (figure for gallery in galleries for figure in gallery.figures):
        path = f"figures/{figure.chart.name}"
        files |= {f"{path}.svg": figure.drawing.svg, f"{path}.png": figure.drawing.png}
        if figure.has_data:
            files[f"{path}.csv"] = chart_csv(figure.chart).encode()
        files |= {f"figures/{picture.name}.svg": picture.light for picture in figure.pictures if picture.name}
    return files


def drawing_ids(galleries: tuple[Gallery, ...]) -> Mapping[str, str]:
    """Return the drawing id of each figure, and of each picture that is a file of its own, by name."""
    figures = [figure for gallery in galleries for figure in gallery.figures]
    pictures = {picture.name: picture.identity for figure in figures for picture in figure.pictures if picture.name}
    return {figure.chart.name: figure.identity for figure in figures} | pictures
