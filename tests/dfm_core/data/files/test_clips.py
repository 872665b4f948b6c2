"""Clips out of video files: the frames asked for, and every other file refused with its reason."""

from __future__ import annotations

import wave
from io import BytesIO

import numpy as np
import pytest

from dfm_core.data.files.centre_crop import centre_crop
from dfm_core.data.files.clips import ClipSpec, decode_clip
from dfm_core.data.files.image_files import UnusableImageError
from tests.support.dataset_files import clip, png

LEVELS = list(range(20, 236, 12))  # grey of each of 18 frames


def frames(height: int = 48, width: int = 80) -> list[np.ndarray]:
    return [np.full((height, width, 3), level, np.uint8) for level in LEVELS]


MP4 = clip(frames())


@pytest.mark.parametrize(("container", "codec"), [("mp4", "mpeg4"), ("avi", "mpeg4"), ("matroska", "mpeg4")])
def test_the_first_frames_come_in_their_order(container: str, codec: str) -> None:
    decoded = decode_clip(clip(frames(), container, codec), ClipSpec(frames=17, side=32))
    assert decoded.shape == (17, 32, 32, 3)
    assert decoded.dtype == np.uint8
    assert np.abs(decoded.mean((1, 2, 3)) - LEVELS[:17]).max() < 4


def test_a_stride_takes_every_so_many_frames() -> None:
    decoded = decode_clip(MP4, ClipSpec(frames=6, side=32, stride=3))
    assert np.abs(decoded.mean((1, 2, 3)) - LEVELS[:16:3]).max() < 4


def test_frames_are_cropped_as_images_are() -> None:
    picture = np.kron(
        np.random.default_rng(0).integers(0, 256, (6, 10, 1), dtype=np.uint8), np.ones((8, 8, 3), np.uint8)
    )
    decoded = decode_clip(clip([picture] * 3), ClipSpec(frames=2, side=16))
    assert np.abs(decoded[0].astype(int) - centre_crop(picture, 16)).mean() < 12  # what the codec loses


@pytest.mark.parametrize(("count", "stride", "needed"), [(19, 1, 19), (10, 2, 19), (7, 3, 19)])
def test_a_clip_that_is_shorter_than_asked_is_refused(count: int, stride: int, needed: int) -> None:
    with pytest.raises(UnusableImageError, match=f"has 18 frames; {needed} are needed for a clip of {count}"):
        decode_clip(MP4, ClipSpec(frames=count, side=32, stride=stride))
    exact = (18 - 1) // stride + 1
    assert len(decode_clip(MP4, ClipSpec(frames=exact, side=32, stride=stride))) == exact


def sound() -> bytes:
    content = BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(16000))
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "empty"),
        (b"no video at all" * 100, "damaged"),
        (MP4[: len(MP4) // 2], "damaged"),
        (sound(), "no clip"),
        (png(), "too short"),
    ],
)
def test_a_file_that_is_no_clip_is_refused(content: bytes, fault: str) -> None:
    with pytest.raises(UnusableImageError) as caught:
        decode_clip(content, ClipSpec(frames=2, side=8))
    assert caught.value.fault == fault


def test_a_file_that_is_damaged_anywhere_is_a_clip_or_refused_and_nothing_else() -> None:
    generator = np.random.default_rng(0)
    refused = 0
    for _ in range(60):
        content = bytearray(MP4)
        for at in generator.integers(0, len(content), 20):
            content[at] = generator.integers(256)
        try:
            assert decode_clip(bytes(content), ClipSpec(frames=17, side=16)).shape == (17, 16, 16, 3)
        except UnusableImageError:
            refused += 1
    assert refused > 10
