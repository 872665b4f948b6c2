"""One video file into frames, or the reason why it cannot be used. Decoded by PyAV (extra `video`)."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from dfm_core.data.files.centre_crop import centre_crop
from dfm_core.data.files.image_files import MAX_PIXELS, UnusableImageError

_MAX_REASON = 120


@dataclass(frozen=True)
class ClipSpec:
    """Selection and crop of the frames that are taken of a file."""

    frames: int
    """Number of frames in the clip."""
    side: int
    """Side of the square that is cropped from each frame, in pixels."""
    stride: int = 1
    """Every so many frames one is taken, from the first on."""


def decode_clip(content: bytes, spec: ClipSpec) -> np.ndarray:
    """The first frames of a file's first video stream, each cropped as an image is. Rotation in metadata is left alone.

    Returns: uint8, [T, side, side, 3]. Raises: UnusableImageError.
    """
    if not content:
        raise UnusableImageError("empty", "is empty (0 bytes)")
    frames, number = [], 0
    try:
        for number, frame in enumerate(_decoded(content), start=1):
            if (number - 1) % spec.stride == 0:
                frames.append(centre_crop(frame, spec.side))
            if len(frames) == spec.frames:
                return np.stack(frames)
    except UnusableImageError:
        raise
    except Exception as error:  # noqa: BLE001  FFmpeg's wrapper raises many things on a broken file
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"[:_MAX_REASON]
        raise UnusableImageError("damaged", f"is no video, damaged or cut off ({reason})") from None
    needed = (spec.frames - 1) * spec.stride + 1
    raise UnusableImageError("too short", f"has {number} frames; {needed} are needed for a clip of {spec.frames}")


def _decoded(content: bytes) -> Iterator[np.ndarray]:
    """Yield frames of the first video stream, each uint8, [H, W, 3]."""
    import av

    with av.open(io.BytesIO(content), mode="r") as container:
        if not container.streams.video:
            raise UnusableImageError("no clip", "holds no video")
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1  # of many processes that decode at once
        _check_size(stream.width, stream.height)
        for number, frame in enumerate(container.decode(stream)):
            _check_size(frame.width, frame.height)  # which a stream may change on its way
            if frame.is_corrupt:
                raise UnusableImageError("damaged", f"is damaged at its frame {number}")
            yield frame.to_ndarray(format="rgb24")


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise UnusableImageError("too large", f"claims {width} x {height} pixels; at most {MAX_PIXELS} are decoded")
