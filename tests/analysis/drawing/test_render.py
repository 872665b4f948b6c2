"""Charts as files: the same bytes, whatever stands in them, in both themes."""

from __future__ import annotations

import io
import math
import re
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules

import matplotlib as mpl
import matplotlib.style
import numpy as np
import pytest
from PIL import Image

import analysis.drawing
from analysis.drawing import render
from analysis.drawing.chart import Bar, BarPanel, Chart, ImagePanel, Line, Panel, chart_csv, slug
from analysis.drawing.images import make_mosaic
from analysis.drawing.render import _figure, draw, drawing_id
from analysis.drawing.theme import DARK, LIGHT, Theme, color_of, dashes_of, marker_of, recolor

LINE = Line("a", (1.0, 2.0), (1.0, 3.0), (0.5, 0.0))
PLAIN = Chart("x", "x", "x", (Panel("x", "y", (LINE,), 0.5),))
IMAGES = ImagePanel(("one", "two"), ("cat", ""), np.arange(2 * 2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 2, 4, 4, 3))
BARS = BarPanel("cost", (Bar("one", 4.0, "4"), Bar("two", 8.0, "not reached", "at least", 1), Bar("three", 0.0, "0")))


@pytest.mark.parametrize("caption", ["", "a $x$ <b> & " * 40])
def test_a_caption_is_drawn_as_it_is(caption: str) -> None:
    panel = Panel("x", "y", (Line("a", (1.0,), (1.0,)),))
    chart = Chart("x", "x", "x", (panel,), caption=caption)
    drawn = _figure(chart, LIGHT).get_suptitle().replace("\\$", "$")
    assert " ".join(drawn.split()) == " ".join(caption.split())
    assert draw(chart).svg.startswith(b"<?xml")


def test_part_names_become_safe_file_names() -> None:
    assert slug("../../etc/<x> é") == "etc-x"
    assert slug("///") == "x"


@pytest.mark.parametrize("panel", [PLAIN.panels[0], BARS, IMAGES])
def test_a_chart_draws_the_same_bytes_twice(panel: Panel | BarPanel | ImagePanel) -> None:
    chart = replace(PLAIN, panels=(panel,))
    first, second = draw(chart), draw(chart)
    assert first == second
    assert not any(word in data for word in (b"Matplotlib", b"dc:date") for data in (first.svg, first.png))


OWN_SETTINGS: tuple[dict[str, object], ...] = (
    {"text.usetex": True, "svg.fonttype": "none"},
    {"savefig.bbox": "tight", "savefig.transparent": True, "figure.constrained_layout.h_pad": 1.0},
    {"axes.grid": True, "lines.linewidth": 9.0, "font.weight": "bold", "axes.formatter.use_locale": True},
)


@pytest.mark.parametrize("panel", [PLAIN.panels[0], BARS, IMAGES])
@pytest.mark.parametrize("settings", [*OWN_SETTINGS, "dark_background"])
def test_a_matplotlibrc_or_style_of_the_user_changes_no_byte(
    panel: Panel | BarPanel | ImagePanel, settings: dict[str, object] | str
) -> None:
    chart = replace(PLAIN, panels=(panel,))
    expected = draw(chart)
    with mpl.rc_context(settings) if isinstance(settings, dict) else mpl.style.context(settings):
        before = dict(mpl.rcParams)
        assert draw(chart) == expected
        assert dict(mpl.rcParams) == before


@pytest.mark.filterwarnings("ignore:Glyph .* missing")
@pytest.mark.parametrize("label", ["_hidden", "$x$", "$", "<b>&", "a" * 300, "日本", "\\frac"])
def test_hostile_labels_and_values_can_be_drawn(label: str) -> None:
    line = Line(label, (1.0, 2.0, 3.0), (math.nan, math.inf, 2.0), (0.0, 1.0, math.nan), 23)
    level = Line(label, (math.nan,), (math.nan,), style="level")
    panel = Panel(label, label, (line, level, replace(line, faint=True)), math.nan, log_y=True)
    bars = BarPanel(label, (Bar(label, 1.0, label, "at most"),))
    assert draw(Chart("x", label, label, (panel, bars)), DARK).svg.startswith(b"<?xml")
    images = replace(IMAGES, rows=(label, ""), columns=(label, label))
    assert draw(Chart("x", label, label, (images,), caption=label)).svg.startswith(b"<?xml")


@pytest.mark.parametrize("label", ["_hidden", "$x$ and $", "plain"])
def test_the_legend_shows_every_label_as_it_is(label: str) -> None:
    panel = Panel("x", "y", (Line(label, (1.0,), (1.0,)), Line("second", (1.0,), (1.0,), color=1)), real_images=0.5)
    (legend,) = _figure(Chart("x", "x", "x", (panel,)), LIGHT).legends
    shown = [text.get_text().replace("\\$", "$") for text in legend.get_texts()]
    assert shown == [label, "second", "real images"]


def test_the_colours_of_a_theme_are_replaced_by_those_of_the_other_and_nothing_else() -> None:
    assert len(set(LIGHT.colors)) == len(LIGHT.colors) == len(DARK.colors)
    light = draw(PLAIN).svg
    ids = re.compile(rb"[mpC_][0-9a-f_]{9,}")  # of shapes; they depend on the colour
    assert ids.sub(b"id", recolor(light, LIGHT, DARK)) == ids.sub(b"id", draw(PLAIN, DARK).svg)
    assert recolor(recolor(light, LIGHT, DARK), DARK, LIGHT) == light


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_dozens_of_lines_and_points_can_be_told_apart(theme: Theme) -> None:
    assert len({(color_of(theme, n), str(dashes_of(n))) for n in range(28)}) == 28
    assert len({(color_of(theme, n), marker_of(n)) for n in range(49)}) == 49


def test_a_drawing_depends_on_every_part_of_its_chart() -> None:
    large = replace(IMAGES, pixels=np.zeros((2, 2, 20, 20, 3), np.uint8))  # which no longer shows all it holds
    other = large.pixels.copy()
    other[1, 0, 10, 10, 2] += 1
    charts = [
        PLAIN,
        replace(PLAIN, caption="c"),
        replace(PLAIN, panels=(replace(PLAIN.panels[0], real_images=0.6),)),
        replace(PLAIN, panels=(large,)),
        replace(PLAIN, panels=(replace(large, pixels=other),)),
    ]
    assert len({drawing_id(chart) for chart in charts}) == len(charts)
    assert drawing_id(PLAIN) == drawing_id(replace(PLAIN))


def test_every_module_of_the_package_is_part_of_the_identity_of_a_drawing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    modules = {Path(module.origin or "") for module in map(find_spec, _module_names()) if module}
    assert {"bars.py", "lines.py", "images.py", "theme.py", "chart.py"} <= {path.name for path in modules}
    assert set(render.SOURCES) == modules
    before = drawing_id(PLAIN)
    for index, path in enumerate(render.SOURCES):
        changed = tmp_path / path.name
        changed.write_bytes(path.read_bytes() + b"\n")
        monkeypatch.setattr(render, "SOURCES", (*render.SOURCES[:index], changed, *render.SOURCES[index + 1 :]))
        assert drawing_id(PLAIN) != before, path.name
        monkeypatch.undo()


def _module_names() -> list[str]:
    package = analysis.drawing
    return [package.__name__, *(f"{package.__name__}.{found.name}" for found in iter_modules(package.__path__))]


def test_pictures_are_drawn_pixel_by_pixel_with_gaps_between_them() -> None:
    canvas = make_mosaic(IMAGES)
    assert canvas.shape == (9, 9, 4)
    assert (canvas[5:, 5:, :3] == IMAGES.pixels[1, 1]).all()
    assert not canvas[4].any()
    assert not canvas[:, 4].any()


def test_nothing_of_a_picture_of_long_names_is_cut_off() -> None:
    chart = replace(PLAIN, panels=(replace(IMAGES, rows=("w" * 60, "two")),))
    canvas = np.asarray(Image.open(io.BytesIO(draw(chart).png)).convert("L"))
    assert (canvas[:, :3] == 255).all(), "the left edge is empty"


def test_the_csv_holds_every_point_at_full_precision_and_what_it_is() -> None:
    star = Line("b (paper)", (2.0,), (0.1 + 0.2,), style="published")
    named = Panel("steps", "fd", (Line("c", (1.0,), (5.0,)),), x_names=("9+3", "3+9"))
    text = chart_csv(replace(PLAIN, panels=(Panel("x", "y", (LINE, star), 0.5), BARS, named)))
    assert text.splitlines() == [
        "panel,x_label,series,x,y,half_width,what,seeds,low,high,share_reached",
        "y,x,a,1.0,1.0,0.5,95% over seeds,,,,",
        "y,x,a,2.0,3.0,,,,,,",
        "y,x,b (paper),2.0,0.30000000000000004,,published,,,,",
        "y,x,real images,,0.5,,floor,,,,",
        "cost,,one,,4.0,,exact,,,,",
        "cost,,two,,8.0,,at least,,,,",
        "cost,,three,,0.0,,exact,,,,",
        "fd,steps,c,3+9,5.0,,,,,,",
    ]


@pytest.mark.parametrize(
    "text", ["1.20 × 10¹³", "not reached by 1.20 × 10¹³, 1.00 × (from 1.00; reached in 47%) of all draws"]
)
def test_the_text_at_the_end_of_a_bar_is_inside_the_picture(text: str) -> None:
    panel = BarPanel("FLOPs", (Bar("pyramidal_flow", 1.2e13, text, "at least"), Bar("dfm", 8.0e12, "0.66 ×")))
    drawn = np.asarray(Image.open(io.BytesIO(draw(Chart("x", "t", "a", (panel,), columns=1)).png)).convert("L"))
    dark = np.flatnonzero((drawn[: drawn.shape[0] // 4] < 128).any(axis=0))  # the upper bar
    assert drawn.shape[1] - 150 < dark.max() < drawn.shape[1] - 6
