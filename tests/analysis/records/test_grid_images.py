"""Pictures out of grids, and beside each other."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from analysis.comparison.joined_sweep import JoinedSweep
from analysis.drawing.chart import Chart, ImagePanel
from analysis.figures.qualitative import collect_qualitative
from analysis.plan.read import parse_plan
from analysis.records.grid_images import cut_grid
from analysis.records.record import Record
from orchestration.evaluation.sample_grids import grid_png, image_grid
from tests.support.plans import evaluate_digest, make_plan, plan_document, png

GENERATOR = np.random.default_rng(3)
LABELS = [f"class {index % 10}" for index in range(40)]


def pixels(count: int = 40, channels: int = 3, side: int = 32) -> np.ndarray:
    return GENERATOR.integers(0, 256, (count, channels, side, side), dtype=np.uint8)


@pytest.mark.parametrize(("count", "channels", "side"), [(40, 3, 32), (13, 1, 28), (40, 3, 96), (3, 3, 128)])
def test_a_grid_is_cut_into_exactly_the_pictures_that_were_put_in(count: int, channels: int, side: int) -> None:
    given = pixels(count, channels, side)
    found = cut_grid(grid_png(given, LABELS[:count]))
    assert found is not None
    expected = np.broadcast_to(given.transpose(0, 2, 3, 1), (count, side, side, 3))
    assert np.array_equal(found.pixels, expected)
    assert found.labels == tuple(LABELS[:count])


def test_of_a_video_the_middle_frame_is_cut_out() -> None:
    clips = GENERATOR.integers(0, 256, (2, 3, 5, 16, 16), dtype=np.uint8)
    found = cut_grid(grid_png(clips, ["a", "b"]))
    assert found is not None
    assert np.array_equal(found.pixels, clips[:, :, 2].transpose(0, 2, 3, 1))


def test_a_grid_of_before_is_cut_by_its_shape() -> None:
    given = pixels()
    buffer = io.BytesIO()
    image_grid(given, LABELS).save(buffer, format="PNG")
    found = cut_grid(buffer.getvalue(), 32)
    assert found is not None
    assert np.array_equal(found.pixels, given.transpose(0, 2, 3, 1))
    assert set(found.labels) == {""}


def saying(layout: Any) -> bytes:
    text, buffer = PngInfo(), io.BytesIO()
    text.add_itxt("dfm.grid", layout if isinstance(layout, str) else json.dumps(layout))
    Image.new("RGB", (20, 20)).save(buffer, format="PNG", pnginfo=text)
    return buffer.getvalue()


SOUND = {"columns": 2, "caption": 0, "side": [10, 10], "factor": 1, "labels": ["a"] * 4}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x89PNG\r\n\x1a\n",
        png(),
        saying("{"),
        saying([]),
        *(saying({**SOUND, "columns": value}) for value in (0, -1, "x", None)),
        *(saying({**SOUND, "caption": value}) for value in (-1, "x", None, 10**9)),
        *(saying({**SOUND, "side": value}) for value in (0, None, [0, 0], [10], [10**9, 10])),
        *(saying({**SOUND, "factor": value}) for value in (0, -1, "x", None, 10**9)),
        saying({**SOUND, "labels": None}),
    ],
)
def test_what_is_no_grid_gives_no_pictures(data: bytes) -> None:
    assert cut_grid(saying(SOUND)) is not None
    assert cut_grid(data) is None


def chart_of(records: dict[str, Record], **plan: Any) -> tuple[Chart, ...]:
    groups = collect_qualitative(JoinedSweep.of(make_plan(**plan), records))
    return tuple(chart for group in groups for chart in group.charts)


def panel_of(chart: Chart) -> ImagePanel:
    (panel,) = chart.panels
    assert isinstance(panel, ImagePanel)
    return panel


def test_rows_and_steps_stand_beside_each_other_by_sample_index() -> None:
    grids = {step: pixels() for step in (100, 200)}
    records = {evaluate_digest("DFM", step): Record("done", image=grid_png(g, LABELS)) for step, g in grids.items()}
    real = pixels()
    records["reference"] = Record("done", image=grid_png(real, LABELS))
    across, along = chart_of(records)
    assert panel_of(across).rows == ("DFM", "real images")
    assert panel_of(across).columns == tuple(LABELS[:8])
    assert np.array_equal(panel_of(across).pixels[0], grids[200][:8].transpose(0, 2, 3, 1))
    assert np.array_equal(panel_of(across).pixels[1], real[:8].transpose(0, 2, 3, 1))
    assert panel_of(along).rows == ("after 100 steps", "after 200 steps")
    assert np.array_equal(panel_of(along).pixels[0], grids[100][:8].transpose(0, 2, 3, 1))


def test_real_images_are_of_the_class_above_them_or_say_that_they_are_of_any() -> None:
    samples, real = pixels(), pixels()
    for labels, title, places in [
        (LABELS[::-1], "real images", [9, 8, 7, 6, 5, 4, 3, 2]),
        (["class 1", *LABELS[1:]], "real images", [10, 0, 2, 3, 4, 5, 6, 7]),
        (["class 0"] * 40, "real images of any class", list(range(8))),
    ]:
        records = {
            evaluate_digest("DFM", 200): Record("done", image=grid_png(samples, LABELS)),
            "reference": Record("done", image=grid_png(real, labels)),
        }
        (across,) = chart_of(records)
        assert panel_of(across).rows == ("DFM", title)
        assert np.array_equal(panel_of(across).pixels[1], real[places].transpose(0, 2, 3, 1))


def test_samples_of_another_draw_or_size_are_not_set_beside_each_other() -> None:
    document = plan_document(parts={"p": ("a", "b", "c")})
    document["tasks"][evaluate_digest("b", 200)]["payload"]["evaluation"]["seed"] = 5
    sides = {"a": 32, "b": 32, "c": 16}
    records = {
        evaluate_digest(row, 200): Record("done", image=grid_png(pixels(side=side), LABELS))
        for row, side in sides.items()
    }
    (group,) = collect_qualitative(JoinedSweep.of(parse_plan(json.dumps(document)), records))
    assert panel_of(group.charts[0]).rows == ("a",)
    assert group.charts[0].note == "2 of 3 rows are not shown."


def test_large_pictures_are_shown_smaller_by_block_means() -> None:
    given = np.zeros((10, 3, 256, 256), np.uint8)
    given[:, :, ::2] = 200
    records = {evaluate_digest("DFM", 200): Record("done", image=grid_png(given, LABELS[:10]))}
    (chart,) = chart_of(records)
    assert panel_of(chart).pixels.shape == (1, 8, 128, 128, 3)
    assert set(np.unique(panel_of(chart).pixels)) == {100}
