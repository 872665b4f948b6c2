"""Videos as strips of frames, cut out of what an evaluation leaves, and in motion beside the page."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from analysis.comparison.joined_sweep import JoinedSweep
from analysis.drawing.chart import Chart, ImagePanel
from analysis.figures.video_frames import collect_clip_frames, cut_clip_frames
from analysis.plan.model import PublishedPlan
from analysis.plan.read import parse_plan
from analysis.records.from_storage import read_record_files
from analysis.records.record import Record
from analysis.records.sample_images import image_names
from analysis.records.stored_files import StorageRoot
from analysis.report.build import render_report
from orchestration.evaluation.sample_grids import grid_png, moving_grid_gif, strips_png
from tests.support.mlflow_records import read_records
from tests.support.plans import Database, evaluate_digest, make_plan, plan_document

GENERATOR = np.random.default_rng(5)
LABELS = [f"class {index % 4}" for index in range(40)]


def clips(count: int = 9, channels: int = 3, frames: int = 12, side: int = 16) -> np.ndarray:
    return GENERATOR.integers(0, 256, (count, channels, frames, side, side), dtype=np.uint8)


def record(videos: np.ndarray) -> Record:
    shown = grid_png(videos, LABELS), strips_png(videos, LABELS), moving_grid_gif(videos, LABELS)
    return Record("done", {"fd": 1.0}, image=shown[0], strips=shown[1], moving=shown[2], run_id="r")


@pytest.mark.parametrize(("count", "channels", "frames"), [(9, 3, 12), (2, 1, 3), (1, 3, 1)])
def test_strips_are_cut_into_exactly_the_frames_that_were_put_in(count: int, channels: int, frames: int) -> None:
    given = clips(count, channels, frames)
    found = cut_clip_frames(strips_png(given, LABELS))
    assert found is not None
    assert found.num_frames == frames
    assert (found.frames[0], found.frames[-1]) == (0, frames - 1)
    assert found.labels == tuple(LABELS[: min(count, 8)])
    expected = np.broadcast_to(given[:8, :, list(found.frames)].transpose(0, 2, 3, 4, 1), found.pixels.shape)
    assert np.array_equal(found.pixels, expected)


def saying(**changes: Any) -> bytes:
    sound = {"columns": 2, "caption": 0, "side": [10, 10], "factor": 1, "labels": ["a", "b"], "frames": [0, 4]}
    text, buffer = PngInfo(), io.BytesIO()
    text.add_itxt("dfm.grid", json.dumps({**sound, "num_frames": 5, **changes}))
    Image.new("RGB", (20, 20)).save(buffer, format="PNG", pnginfo=text)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GIF89a",
        grid_png(clips(), LABELS),
        saying(frames=[0]),
        saying(frames="x"),
        saying(frames=None),
        saying(num_frames=None),
        saying(labels=[]),
        saying(labels=["a", "b", "c"]),
        saying(columns=3),
    ],
)
def test_what_is_no_strip_gives_none(data: bytes) -> None:
    assert cut_clip_frames(saying()) is not None
    assert cut_clip_frames(data) is None


def charts(plan: PublishedPlan, records: dict[str, Record]) -> tuple[Chart, ...]:
    groups = collect_clip_frames(JoinedSweep.of(plan, records))
    return tuple(chart for group in groups for chart in group.charts)


def panel(chart: Chart) -> ImagePanel:
    (found,) = chart.panels
    assert isinstance(found, ImagePanel)
    return found


def test_rows_of_clips_stand_below_each_other_with_a_real_one_of_the_class_last() -> None:
    given = {row: clips() for row in ("flow matching", "DFM")}
    records = {evaluate_digest(row, 200): record(videos) for row, videos in given.items()}
    real = clips()
    of_real = ["class 3", "class 1", *["class 9"] * 7]
    records["reference"] = Record("done", strips=strips_png(real, of_real))
    first, second, third = charts(make_plan(), records)
    assert [chart.title for chart in (first, second, third)] == [
        "Clip 0: class 0",
        "Clip 1: class 1",
        "Clip 2: class 2",
    ]
    assert panel(first).rows == ("flow matching", "DFM")
    assert panel(second).rows == ("flow matching", "DFM", "a real clip")
    shown = panel(second)
    frames = [int(name.removeprefix("frame ")) for name in shown.columns]
    assert len(frames) == 10
    for line, videos in zip(shown.pixels, (*given.values(), real), strict=True):
        assert np.array_equal(line, videos[1][:, frames].transpose(1, 2, 3, 0))
    assert "Frames 0, 1, 2, 4, 5, 6, 7, 9, 10, 11 of 12" in second.about


def test_rows_of_another_draw_or_size_are_left_out_and_counted() -> None:
    document = plan_document(parts={"p": ("a", "b", "c", "d")})
    document["tasks"][evaluate_digest("b", 200)]["payload"]["evaluation"]["seed"] = 5
    records = {evaluate_digest(row, 200): record(clips(frames=15 if row == "c" else 12)) for row in "abcd"}
    found = charts(parse_plan(json.dumps(document)), records)
    assert panel(found[0]).rows == ("a", "d")
    assert found[0].note == "2 of 4 rows are not shown."


def test_the_report_of_images_has_no_videos_and_that_of_videos_links_them_in_motion() -> None:
    plan, digest = make_plan(), evaluate_digest("DFM", 200)
    of_images = render_report(
        JoinedSweep.of(plan, {digest: Record("done", {"fd": 1.0}, image=grid_png(clips()[:, :, 0], LABELS))})
    )
    assert b'id="videos"' not in of_images["report.html"]
    found = record(clips())
    files = render_report(JoinedSweep.of(plan, {digest: found}))
    path = f"samples/DFM-step200-{digest[:8]}.gif"
    assert files[path] == found.moving
    page = files["report.html"].decode()
    assert f'<a href="{path}">in motion</a>' in page
    assert 'id="videos"' in page
    assert {name for name in files if name.startswith("figures/videos")} == {
        f"figures/videos-1-paradigm-{clip}.{ending}" for clip in range(3) for ending in ("svg", "png")
    }


def test_videos_come_from_last_evaluations_and_real_ones_from_runs_and_records(
    database: Database, tmp_path: Path
) -> None:
    plan = make_plan(uri=database.uri)
    first, last = (evaluate_digest("DFM", step) for step in (100, 200))
    names = image_names(plan)
    assert names[first] == ("samples.png",)
    assert names[last] == ("samples.png", "samples_strips.png", "samples.gif")
    assert names["reference"] == ("real.png", "real_strips.png", "real.gif")
    given = record(clips())
    shown = {"samples.png": given.image, "samples_strips.png": given.strips, "samples.gif": given.moving}
    files = {name: data for name, data in shown.items() if data is not None}
    assert len(files) == 3
    for digest in (first, last):
        database.run(digest, {"fd": 1.0}, files=files)
        folder = tmp_path / "results" / digest
        folder.mkdir(parents=True)
        document = {"digest": digest, "kind": "evaluate", "metrics": {}, "seconds": 1.0, "step": 0, "curve": []}
        (folder / "result.json").write_text(json.dumps({**document, "files": list(files), "about": {}}))
        for name, data in files.items():
            (folder / name).write_bytes(data)
    for records in (read_records(plan), read_record_files(plan, StorageRoot(str(tmp_path)))):
        assert (records[first].image, records[first].strips, records[first].moving) == (given.image, None, None)
        found = records[last]
        assert (found.image, found.strips, found.moving) == (given.image, given.strips, given.moving)
