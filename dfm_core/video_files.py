"""A sampled video as a file: an animated GIF, or an MP4 (H.264) that PyAV writes (extra `video`).

The names and the order of the arguments are those of diffusers' `export_to_gif` and `export_to_video`.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from PIL import Image

_MOST_FPS = 240
_QUALITY = "12"
"""H.264's constant rate factor; 0 is lossless, 23 usual."""


def export_to_gif(frames: Sequence[Image.Image], path: str | Path, fps: int = 8, scale: int = 1) -> Path:
    """Writes a GIF that repeats for ever. Grey frames of 8 bits keep every value; of colours the nearest 256 are kept.

    Args: frames: of one size, as `DFMPipeline` gives a video. fps: frames a second; a GIF counts in hundredths of one.
        scale: whole factor by which every pixel is enlarged.
    Raises: ValueError with everything wrong with the arguments; OSError.
    """
    target = _checked(frames, Path(path), ".gif", fps, scale)
    shown = [_enlarged(frame, scale) for frame in frames]
    shown[0].save(target, format="GIF", save_all=True, append_images=shown[1:], duration=round(1000 / fps), loop=0)
    return target


def export_to_video(frames: Sequence[Image.Image], path: str | Path, fps: int = 8, scale: int = 1) -> Path:
    """Writes an MP4 that players and browsers show (H.264, 4:2:0).

    Args: as `export_to_gif`; what is written has even sides.
    Raises: ValueError with everything wrong with the arguments; ImportError without PyAV; OSError.
    """
    target = _checked(frames, Path(path), ".mp4", fps, scale)
    width, height = (scale * side for side in frames[0].size)
    if width % 2 or height % 2:
        raise ValueError(f"an MP4 has even sides, and frames are {width} x {height} at scale {scale}: give scale 2")
    try:
        import av
    except ImportError:
        raise ImportError("MP4 files need PyAV: pip install 'dfm-experiments[video]'; export_to_gif does not") from None
    with av.open(target, mode="w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps), options={"crf": _QUALITY})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for frame in frames:
            shown = av.VideoFrame.from_image(_enlarged(frame, scale).convert("RGB"))  # type: ignore[no-untyped-call]
            container.mux(stream.encode(shown))
        container.mux(stream.encode(None))
    return target


def _checked(frames: Sequence[Image.Image], path: Path, suffix: str, fps: int, scale: int) -> Path:
    """Return the path. Raises: ValueError with everything wrong."""
    problems = []
    if not frames:
        problems.append("frames is empty: give the frames of one video")
    elif not all(isinstance(frame, Image.Image) for frame in frames):
        problems.append(
            f"frames are PIL images, not {type(frames[0]).__name__}: give one video, with output_type 'pil'"
        )
    elif len(sizes := {frame.size for frame in frames}) > 1:
        listed = ", ".join(f"{width} x {height}" for width, height in sorted(sizes))
        problems.append(f"frames are of one size, not {listed}")
    if path.suffix.lower() != suffix:
        problems.append(f"path {str(path)!r} should end in {suffix}")
    if isinstance(fps, bool) or not isinstance(fps, int) or not 1 <= fps <= _MOST_FPS:
        problems.append(f"fps {fps!r}: give an integer from 1 to {_MOST_FPS}")
    if isinstance(scale, bool) or not isinstance(scale, int) or scale < 1:
        problems.append(f"scale {scale!r}: give an integer of 1 or more")
    if problems:
        raise ValueError("; ".join(problems))
    return path


def _enlarged(frame: Image.Image, scale: int) -> Image.Image:
    size = (scale * frame.width, scale * frame.height)
    return frame if scale == 1 else frame.resize(size, Image.Resampling.NEAREST)
