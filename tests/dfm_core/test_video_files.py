"""Videos as files: what is written is read back, by another reader, frame for frame."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dfm_core.catalog.datasets import DataShape
from dfm_core.data.files.clips import ClipSpec, decode_clip
from dfm_core.decompositions import build_decomposition
from dfm_core.pipeline import DFMPipeline
from dfm_core.training.state import Snapshot, SnapshotCard, build_model
from dfm_core.video_files import export_to_gif, export_to_video
from tests.support.models import tiny_dfm

ROOT = Path(__file__).resolve().parents[2]
NUM_FRAMES, SIDE = 6, 16


def grey() -> list[Image.Image]:
    noise = np.random.default_rng(0).integers(0, 256, (NUM_FRAMES, SIDE, SIDE), dtype=np.uint8)
    return [Image.fromarray(frame) for frame in noise]


def coloured(side: int = SIDE) -> list[Image.Image]:
    """One colour a frame, its green half as bright on the right."""
    frames = np.zeros((NUM_FRAMES, side, side, 3), np.uint8)
    frames[..., 0] = 30 * np.arange(NUM_FRAMES)[:, None, None]
    frames[..., 1] = 200
    frames[:, :, side // 2 :, 1] = 100
    return [Image.fromarray(frame) for frame in frames]


@pytest.mark.parametrize("scale", [1, 3])
def test_a_gif_holds_every_grey_value_of_every_frame_and_its_time(tmp_path: Path, scale: int) -> None:
    path = export_to_gif(grey(), tmp_path / "clip.gif", fps=5, scale=scale)
    with Image.open(path) as image:
        assert (image.n_frames, image.size, image.info["loop"]) == (NUM_FRAMES, (scale * SIDE, scale * SIDE), 0)
        for number, frame in enumerate(grey()):
            image.seek(number)
            assert image.info["duration"] == 200
            assert np.array_equal(np.asarray(image.convert("L"))[::scale, ::scale], np.asarray(frame))


def test_a_coloured_gif_is_near(tmp_path: Path) -> None:
    with Image.open(export_to_gif(coloured(), tmp_path / "clip.gif")) as image:
        image.seek(4)
        assert np.abs(np.asarray(image.convert("RGB")).astype(int) - np.asarray(coloured()[4])).max() <= 4


@pytest.mark.parametrize("scale", [1, 4])
def test_an_mp4_is_decoded_to_the_frames_that_were_given(tmp_path: Path, scale: int) -> None:
    path = export_to_video(coloured(), tmp_path / "clip.mp4", fps=5, scale=scale)
    decoded = decode_clip(path.read_bytes(), ClipSpec(NUM_FRAMES, scale * SIDE))
    expected = np.stack(
        [np.asarray(frame.resize((scale * SIDE,) * 2, Image.Resampling.NEAREST)) for frame in coloured()]
    )
    assert np.abs(decoded.astype(int) - expected).mean() < 4
    with pytest.raises(Exception, match=f"has {NUM_FRAMES} frames"):
        decode_clip(path.read_bytes(), ClipSpec(NUM_FRAMES + 1, SIDE))
    import av

    with av.open(path) as container:
        (stream,) = container.streams.video
        assert (stream.average_rate, stream.codec_context.name, stream.pix_fmt) == (5, "h264", "yuv420p")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"frames": []}, "frames is empty"),
        ({"frames": [grey()]}, "frames are PIL images, not list: give one video"),
        ({"frames": [*grey(), Image.new("L", (8, 8))]}, "of one size, not 8 x 8, 16 x 16"),
        ({"path": "clip.png"}, "'clip.png' should end in"),
        ({"fps": 0}, "fps 0: give an integer from 1 to 240"),
        ({"scale": 0.5}, "scale 0.5: give an integer of 1 or more"),
        ({"fps": True, "scale": 0}, "fps True: .*; scale 0:"),
    ],
)
@pytest.mark.parametrize(("export", "name"), [(export_to_gif, "clip.gif"), (export_to_video, "clip.mp4")])
def test_mistakes_are_told_together_and_nothing_is_written(
    export: Any, name: str, arguments: dict[str, Any], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=expected):
        export(**{"frames": grey(), "path": name, **arguments})
    assert list(tmp_path.iterdir()) == []


def test_odd_sides_become_even_by_a_scale(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="an MP4 has even sides, and frames are 15 x 15 at scale 1: give scale 2"):
        export_to_video(coloured(15), tmp_path / "clip.mp4")
    export_to_video(coloured(15), tmp_path / "clip.mp4", scale=2)


def test_without_pyav_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImportError, match=r"pip install 'dfm-experiments\[video\]'; export_to_gif does not"):
        export_to_video(grey(), tmp_path / "clip.mp4")
    export_to_gif(grey(), tmp_path / "clip.gif")


def test_the_snippet_of_the_page_writes_a_sampled_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_dfm({"data.dataset": "moving_fashion"})
    card = SnapshotCard(6, DataShape(channels=1, num_classes=10, frames=3), (0.5, 0.25))
    model = build_model(config, card.shape, card.scale_std)
    pipe = DFMPipeline(Snapshot(config, card, model.eval(), build_decomposition(config.decomposition)))
    pipe.save_pretrained(tmp_path / "SNAPSHOT")
    monkeypatch.chdir(tmp_path)
    (snippet,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "video.md").read_text(), re.DOTALL)
    exec(compile(snippet, "docs/video.md", "exec"), {})
    with Image.open("sneaker.gif") as image:
        assert (image.n_frames, image.size) == (3, (64, 64))
