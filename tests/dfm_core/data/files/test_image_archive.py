"""`.npz` files as ADM's: read safely, and refused with a reason."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from dfm_core.data.files.image_archive import read_image_archive

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (5, 4, 6, 3), dtype=np.uint8)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "samples.npz"


def npy(array: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.lib.format.write_array(content, array)
    return content.getvalue()


def packed(path: Path, **members: bytes) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_images_and_labels_come_back_channels_first(path: Path, save: Callable[..., None]) -> None:
    save(path, IMAGES, np.arange(5, dtype=np.uint16))
    archive = read_image_archive(path)
    assert archive.pixels.dtype == torch.uint8
    assert torch.equal(archive.pixels, torch.from_numpy(IMAGES).permute(0, 3, 1, 2))
    assert archive.labels is not None
    assert archive.labels.tolist() == [0, 1, 2, 3, 4]


def test_statistics_beside_the_images_are_named(path: Path) -> None:
    np.savez(path, IMAGES, mu=np.zeros(3), sigma=np.zeros((3, 3)))
    archive = read_image_archive(path)
    assert archive.labels is None
    assert archive.other_arrays == ("mu", "sigma")


def test_columns_first_is_the_same_images(path: Path) -> None:
    np.savez(path, np.asfortranarray(IMAGES))
    assert torch.equal(read_image_archive(path).pixels, torch.from_numpy(IMAGES).permute(0, 3, 1, 2))


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (IMAGES.astype(np.float32), "arr_0 is float32 of shape [5, 4, 6, 3]; needed are images, uint8 of shape"),
        (IMAGES.astype(np.int8), "arr_0 is int8"),
        (IMAGES[..., 0], "arr_0 is uint8 of shape [5, 4, 6]; needed"),
        (IMAGES.transpose(0, 3, 1, 2), "arr_0 is uint8 of shape [5, 3, 4, 6]; needed"),
        (IMAGES[:0], "arr_0 is uint8 of shape [0, 4, 6, 3]; needed"),
        (np.zeros((2, 3, 3, 4), np.uint8), "arr_0 is uint8 of shape [2, 3, 3, 4]; needed"),
    ],
)
def test_what_is_no_images_is_refused_with_its_shape(path: Path, array: np.ndarray, expected: str) -> None:
    np.savez(path, array)
    with pytest.raises(ValueError) as caught:  # noqa: PT011  compared below
        read_image_archive(path)
    assert str(caught.value).startswith(f"{path}: {expected}")


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (np.zeros(5), "arr_1 is float64 of shape \\[5\\]; needed are labels"),
        (np.zeros((5, 10), int), "arr_1 is int64 of shape \\[5, 10\\]"),
        (np.zeros(4, int), "arr_1 has 4 labels for 5 images"),
    ],
)
def test_what_is_no_labels_is_refused(path: Path, labels: np.ndarray, expected: str) -> None:
    np.savez(path, IMAGES, labels)
    with pytest.raises(ValueError, match=expected):
        read_image_archive(path)


class Payload:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return (Path.touch, (self.target,))


@pytest.mark.parametrize("position", [0, 1])
def test_a_pickle_in_it_is_never_executed(path: Path, position: int) -> None:
    sentinel = path.parent / "executed"
    evil = np.array([Payload(sentinel)], dtype=object)
    np.savez(path, *(evil if place == position else IMAGES for place in range(2)))
    with pytest.raises(ValueError, match=f"arr_{position} is object"):
        read_image_archive(path)
    assert not sentinel.exists()


def test_a_claimed_size_takes_no_memory(path: Path) -> None:
    content = npy(IMAGES)
    claimed = content.replace(b"(5, 4, 6, 3), }         ", b"(500000000, 4, 6, 3), } ")
    assert len(claimed) == len(content)
    packed(path, arr_0=claimed)
    with pytest.raises(ValueError, match="should take 36000000000 bytes, but has 360: damaged"):
        read_image_archive(path)
    with pytest.raises(ValueError, match="would take 36000000000 bytes; at most 1000 are read"):
        read_image_archive(path, max_bytes=1000)


def test_truncated_content_inside_a_sound_zip_is_noticed(path: Path) -> None:
    packed(path, arr_0=npy(IMAGES)[:-1])
    with pytest.raises(ValueError, match="should take 360 bytes, but has 359"):
        read_image_archive(path)


def test_no_truncated_file_is_ever_read(path: Path) -> None:
    np.savez(path, IMAGES)
    content = path.read_bytes()
    for length in range(0, len(content), 5):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"samples\.npz: "):
            read_image_archive(path)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_flipped_byte_changes_no_pixel_unnoticed(path: Path, save: Callable[..., None]) -> None:
    save(path, IMAGES)
    content = path.read_bytes()
    num_refused = 0
    for position in range(len(content)):
        path.write_bytes(content[:position] + bytes([content[position] ^ 0x11]) + content[position + 1 :])
        try:
            pixels = read_image_archive(path).pixels
        except ValueError:
            num_refused += 1
        else:
            assert torch.equal(pixels, torch.from_numpy(IMAGES).permute(0, 3, 1, 2))
    assert num_refused > len(content) / 2


def test_an_archive_without_images_says_what_it_holds(path: Path) -> None:
    np.savez(path, mu=np.zeros(3))
    with pytest.raises(ValueError, match=r"holds no arr_0; it holds mu\.npy"):
        read_image_archive(path)
    with pytest.raises(ValueError, match=r"gone\.npz: cannot be read \(No such file"):
        read_image_archive(path.parent / "gone.npz")
    with pytest.raises(ValueError, match=r"cannot be read \(Is a directory\)"):
        read_image_archive(path.parent)


def test_a_pipe_is_not_waited_for(path: Path) -> None:
    os.mkfifo(path)
    with pytest.raises(ValueError, match="is no regular file"):
        read_image_archive(path)
