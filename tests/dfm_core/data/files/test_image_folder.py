"""Folders of images: sound ones exactly as written, every other file named, counted and never used."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

from dfm_core.data.files.folder_report import UnusableFolderError
from dfm_core.data.files.image_files import MAX_PIXELS, UnusableImageError, read_image
from dfm_core.data.files.image_folder import ImageFolder, open_image_folder

SIDE = 16
RANDOM = np.random.default_rng(0)


def colours(side: int = SIDE) -> np.ndarray:
    return RANDOM.integers(0, 256, (side, side, 3), dtype=np.uint8)


def encoded(image: Image.Image | np.ndarray, file_format: str, **options: object) -> bytes:
    content = io.BytesIO()
    picture = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    picture.save(content, file_format, **options)
    return content.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, bits: int, colour_type: int, rows: bytes) -> bytes:
    """A PNG made by hand: of any claimed size and depth."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def write(path: Path, content: bytes | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(colours(), "PNG") if content is None else content)
    return path


def fill(folder: Path, count: int, start: int = 0) -> None:
    for index in range(start, start + count):
        write(folder / f"{index:05}.png")


def reasons(folder: Path, **options: float) -> dict[str, str]:
    """File -> reason of a folder in which some, but not all, can be used."""
    report = open_image_folder(folder, max_bad_share=0.99, **options).report  # type: ignore[arg-type]
    return {bad.file: bad.reason for bad in report.bad}


LOSSLESS = [("PNG", {}), ("WEBP", {"lossless": True}), ("BMP", {}), ("TIFF", {}), ("PPM", {})]
GREY = np.arange(SIDE * SIDE, dtype=np.uint8).reshape(SIDE, SIDE)
PNG, JPEG = encoded(colours(64), "PNG"), encoded(colours(64), "JPEG", quality=95)


@pytest.mark.parametrize(("file_format", "options"), LOSSLESS, ids=lambda value: str(value))
def test_pixels_come_back_as_they_were_written(tmp_path: Path, file_format: str, options: dict[str, bool]) -> None:
    image = colours()
    write(tmp_path / f"a.{file_format.lower()}", encoded(image, file_format, **options))
    folder = open_image_folder(tmp_path)
    assert torch.equal(folder.pixels([0]), torch.from_numpy(image).permute(2, 0, 1)[None])
    assert folder.pixels([0]).dtype == torch.uint8
    assert folder.size == (SIDE, SIDE)


def test_jpeg_is_decoded_as_pillow_does_whatever_its_extension(tmp_path: Path) -> None:
    content = encoded(colours(), "JPEG")
    write(tmp_path / "really_jpeg.png", content)
    expected = np.asarray(Image.open(io.BytesIO(content)))
    assert np.array_equal(open_image_folder(tmp_path).pixels([0])[0].permute(1, 2, 0).numpy(), expected)


def test_files_are_in_the_order_of_their_names_and_batches_cut_it(tmp_path: Path) -> None:
    images = {name: colours() for name in ("b.png", "a.PNG", "B.png", "10.png", "9.png")}
    for name, image in images.items():
        write(tmp_path / name, encoded(image, "PNG"))
    folder = open_image_folder(tmp_path, num_threads=3)
    assert folder.files == ("10.png", "9.png", "B.png", "a.PNG", "b.png")
    assert folder.labels is None
    expected = torch.stack([torch.from_numpy(images[name]).permute(2, 0, 1) for name in folder.files])
    assert [len(batch) for batch in folder.batches(2)] == [2, 2, 1]
    assert torch.equal(torch.cat(list(folder.batches(2))), expected)
    assert torch.equal(folder.pixels([3, 0, 3]), expected[[3, 0, 3]])
    assert folder.pixels([]).shape == (0, 3, SIDE, SIDE)
    assert str(folder.report) == f"{tmp_path}: all 5 images can be used"


def test_sub_folders_are_classes_however_deep_their_images_lie(tmp_path: Path) -> None:
    for name in ("dog/1.png", "cat/deep/down/2.png", "cat/1.png"):
        write(tmp_path / name)
    folder = open_image_folder(tmp_path)
    assert folder.class_names == ("cat", "dog")
    assert folder.files == ("cat/1.png", "cat/deep/down/2.png", "dog/1.png")
    assert folder.labels == (0, 0, 1)


def test_what_is_in_no_class_and_a_class_without_images_are_named(tmp_path: Path) -> None:
    fill(tmp_path / "cat", 3)
    write(tmp_path / "lost.png")
    write(tmp_path / "logs" / "log.txt", b"x")
    assert reasons(tmp_path) == {
        "lost.png": "lies beside sub-folders, which are classes",
        "logs": "is a sub-folder without images among classes",
    }


def test_folders_without_images_make_no_classes(tmp_path: Path) -> None:
    fill(tmp_path, 2)
    write(tmp_path / "logs" / "log.txt", b"x")
    folder = open_image_folder(tmp_path)
    assert (folder.class_names, folder.labels) == ((), None)
    assert folder.report.other_files == ("logs/log.txt",)
    assert "1 other files were left alone, such as logs/log.txt" in str(folder.report)


@pytest.mark.parametrize(
    ("image", "file_format"),
    [
        (Image.fromarray(GREY), "PNG"),
        (Image.fromarray(GREY).convert("RGB"), "PNG"),
        (Image.fromarray(GREY).convert("RGBA"), "PNG"),
        (Image.fromarray(GREY).convert("P"), "PNG"),
        (Image.fromarray(GREY).convert("P"), "GIF"),
        (Image.fromarray(GREY).convert("LA"), "PNG"),
    ],
    ids=lambda value: getattr(value, "mode", value),
)
def test_every_8_bit_mode_gives_the_same_pixels(tmp_path: Path, image: Image.Image, file_format: str) -> None:
    path = write(tmp_path / f"a.{file_format.lower()}", encoded(image, file_format))
    assert np.array_equal(read_image(path, 1), GREY[..., None])
    assert np.array_equal(read_image(path, 3), np.repeat(GREY[..., None], 3, axis=2))


def test_grey_is_never_made_from_colours(tmp_path: Path) -> None:
    write(tmp_path / "grey.png", encoded(GREY, "PNG"))
    write(tmp_path / "colour.png")
    assert reasons(tmp_path, channels=1) == {"colour.png": "has colours where grey was asked for"}
    assert reasons(tmp_path) == {}


CLEAR = Image.fromarray(np.dstack([colours(), np.full((SIDE, SIDE), 255, np.uint8)]))
CLEAR.putpixel((3, 3), (1, 2, 3, 254))
TRANSPARENT_PALETTE = Image.fromarray(GREY).convert("P")
NO_8_BITS = "has no 8-bit channels (Pillow's mode"
BAD: dict[str, tuple[bytes, str, str]] = {
    "empty.png": (b"", "empty", "is empty (0 bytes)"),
    "text.png": (b"not an image at all\n" * 20, "no image", "is no image of a known format (PNG, JPEG"),
    "page.jpg": (b"<html>404</html>", "no image", "is no image of a known format"),
    "vector.png": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n", "no image", "is no image of a known"),
    "huge.png": (png(100_000, 100_000, 8, 2, b"x"), "too large", f"claims far more pixels than the {MAX_PIXELS}"),
    "large.png": (png(6000, 6000, 8, 2, b"x"), "too large", "claims 6000 x 6000, more pixels than the"),
    "short.png": (png(SIDE, SIDE, 8, 2, bytes(100)), "damaged", "is damaged or cut off ("),
    "cut.png": (PNG[: len(PNG) // 2], "damaged", "is damaged or cut off ("),
    "cut.jpg": (JPEG[: len(JPEG) // 2], "damaged", "is damaged or cut off ("),
    "deep_grey.png": (encoded(GREY.astype(np.uint16) * 200, "PNG"), "of another kind", f"{NO_8_BITS} I;16)"),
    "deep.png": (png(SIDE, SIDE, 16, 2, bytes(SIDE * (6 * SIDE + 1))), "of another kind", f"{NO_8_BITS} RGB)"),
    "deep.ppm": (b"P6\n16 16\n65535\n" + bytes(6 * 16 * 16), "of another kind", f"{NO_8_BITS} RGB)"),
    "deep_text.ppm": (b"P3\n16 16\n1023\n" + b"9 " * (3 * 16 * 16), "of another kind", f"{NO_8_BITS} RGB)"),
    "phone.heic": (b"ftypheic", "of another kind", "is a file .heic, which is not read: convert it"),
    "float.tiff": (encoded(Image.fromarray(GREY.astype(np.float32)), "TIFF"), "of another kind", f"{NO_8_BITS} F)"),
    "clear.png": (encoded(CLEAR, "PNG"), "of another kind", "has transparent pixels, and no background was given"),
    "clear.gif": (encoded(TRANSPARENT_PALETTE, "GIF", transparency=7), "of another kind", "has transparent pixels"),
    "moving.gif": (
        encoded(Image.fromarray(GREY), "GIF", save_all=True, append_images=[Image.fromarray(GREY[::-1].copy())]),
        "of another kind",
        "holds 2 frames",
    ),
    "odd.png": (
        encoded(colours(SIDE + 1)[:SIDE], "PNG"),
        "of another size",
        "is 17 x 16 pixels (width x height), not 16 x 16; nothing is resized here",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_cannot_be_used_is_named_with_its_reason(tmp_path: Path, name: str) -> None:
    content, fault, reason = BAD[name]
    fill(tmp_path, 2)
    write(tmp_path / name, content)
    with pytest.raises(UnusableFolderError) as caught:
        open_image_folder(tmp_path)
    (bad,) = caught.value.report.bad
    assert (bad.file, bad.fault) == (name, fault)
    assert bad.reason.startswith(reason)
    assert f"1 of 3 images cannot be used (1 {fault})\n  {name}: {reason}" in str(caught.value)


def test_all_kinds_of_bad_files_are_counted_and_ten_are_named(tmp_path: Path) -> None:
    for name, (content, _, _) in BAD.items():
        write(tmp_path / name, content)
    fill(tmp_path, 4)
    with pytest.raises(UnusableFolderError) as caught:
        open_image_folder(tmp_path, max_bad_share=0.5)
    report, message = caught.value.report, str(caught.value)
    assert {bad.file for bad in report.bad} == set(BAD)
    assert (report.num_used, report.num_found) == (4, 4 + len(BAD))
    assert message.startswith(f"{tmp_path}: {len(BAD)} of {len(BAD) + 4} images cannot be used (9 of another kind, ")
    assert sum(f"\n  {name}: " in message for name in BAD) == 10
    assert f"and {len(BAD) - 10} more" in message
    assert "a share of 0.5 may be left out (max_bad_share)" in message


def test_a_stated_share_is_left_out_and_the_result_says_so(tmp_path: Path) -> None:
    fill(tmp_path, 9)
    write(tmp_path / "empty.png", b"")
    folder = open_image_folder(tmp_path, max_bad_share=0.1)
    assert len(folder) == 9
    assert "empty.png" not in folder.files
    assert folder.report.counts == {"empty": 1}
    assert "1 of 10 images cannot be used (1 empty)\n  empty.png: is empty (0 bytes)" in str(folder.report)
    with pytest.raises(UnusableFolderError, match=r"a share of 0\.09 may be left out"):
        open_image_folder(tmp_path, max_bad_share=0.09)


def test_a_folder_without_a_single_usable_image_is_an_error_at_any_share(tmp_path: Path) -> None:
    write(tmp_path / "empty.png", b"")
    with pytest.raises(UnusableFolderError, match="1 of 1 images cannot be used"):
        open_image_folder(tmp_path, max_bad_share=0.99)


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_a_share_that_would_allow_anything_is_refused(tmp_path: Path, share: float) -> None:
    with pytest.raises(ValueError, match=f"max_bad_share is {share}"):
        open_image_folder(tmp_path, max_bad_share=share)


def test_no_folder_and_no_images_are_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="gone: there is no such folder"):
        open_image_folder(tmp_path / "gone")
    write(tmp_path / "notes.txt", b"x")
    with pytest.raises(ValueError, match=r"holds no image \(\.png, .*\) and 1 other files"):
        open_image_folder(tmp_path)


@pytest.mark.parametrize(("content", "harmless"), [(PNG, 4), (JPEG, 0)], ids=["png", "jpeg"])
def test_no_truncated_file_is_ever_used(tmp_path: Path, content: bytes, harmless: int) -> None:
    """A PNG ends in the checksum of an empty chunk; without a part of these 4 bytes nothing of the image is missing."""
    for length in [*range(200), *range(200, len(content), 97), *range(len(content) - 40, len(content) - harmless)]:
        with pytest.raises(UnusableImageError):
            read_image(write(tmp_path / "cut.png", content[:length]), 3)


def test_a_flipped_byte_in_a_png_is_found_wherever_it_matters(tmp_path: Path) -> None:
    expected = read_image(write(tmp_path / "a.png", PNG), 3)
    num_survived = 0
    for position in range(0, len(PNG), 7):
        damaged = PNG[:position] + bytes([PNG[position] ^ 0x10]) + PNG[position + 1 :]
        try:
            pixels = read_image(write(tmp_path / "a.png", damaged), 3)
        except UnusableImageError:
            continue
        assert np.array_equal(pixels, expected)
        num_survived += 1
    assert num_survived <= 2, "only in the empty last chunk"


def test_garbage_never_raises_anything_else(tmp_path: Path) -> None:
    """Random bytes behind every format's magic number, and random flips in sound files."""
    told: list[str] = []
    sound = [encoded(colours(), name, **options) for name, options in LOSSLESS[:3]] + [encoded(colours(), "JPEG")]
    for trial in range(200):
        content = bytearray(sound[trial % len(sound)])
        for position in RANDOM.integers(0, len(content), 8):
            content[position] = RANDOM.integers(0, 256)
        keep = content if trial % 2 else content[:12] + RANDOM.bytes(100)
        try:
            read_image(write(tmp_path / "x.png", bytes(keep)), 3, (SIDE, SIDE))
        except UnusableImageError as error:
            told.append(error.reason)
    assert len(told) > 100
    assert all(reason.isprintable() for reason in told)


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    side = 6_000  # 108 MB of zeros in 105 kB
    bomb = png(side, side, 8, 2, bytes(side * (3 * side + 1)))
    path = write(tmp_path / "bomb.png", bomb)
    with pytest.raises(UnusableImageError, match="claims 6000 x 6000, more pixels"):
        read_image(path, 3)
    with pytest.raises(UnusableImageError, match="is 1000 x 1000 pixels"):
        read_image(write(path, png(1000, 1000, 8, 2, b"broken")), 3, (SIDE, SIDE))


def test_a_size_can_be_asked_for(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    write(tmp_path / "wide.png", encoded(colours(32)[:SIDE], "PNG"))
    folder = open_image_folder(tmp_path, size=(SIDE, 32), max_bad_share=0.9)
    assert folder.files == ("wide.png",)
    assert folder.pixels([0]).shape == (1, 3, SIDE, 32)
    assert open_image_folder(tmp_path, max_bad_share=0.9).size == (SIDE, SIDE)


def test_links_and_pipes_are_told_apart_from_files(tmp_path: Path) -> None:
    fill(tmp_path / "data", 2)
    fill(tmp_path / "elsewhere", 1)
    (tmp_path / "data" / "broken.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "data" / "linked.png").symlink_to(tmp_path / "elsewhere" / "00000.png")
    (tmp_path / "data" / "folder").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "loop").symlink_to(tmp_path / "data")
    os.mkfifo(tmp_path / "data" / "pipe.png")
    assert reasons(tmp_path / "data") == {
        "broken.png": "cannot be read (No such file or directory)",
        "folder": "is a link to a folder; give that",
        "loop": "is a link to a folder; give that",
        "pipe.png": "is no regular file",
    }
    assert "linked.png" in open_image_folder(tmp_path / "data", max_bad_share=0.9).files


def test_what_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, 2)
    write(tmp_path / "secret" / "a.png")
    scandir, read_bytes = os.scandir, Path.read_bytes

    def refuse_folder(path: str) -> object:
        if str(path).endswith("secret"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    def refuse_file(path: Path) -> bytes:
        if path.name == "00001.png":
            raise PermissionError(13, "Permission denied", str(path))
        return read_bytes(path)

    monkeypatch.setattr(os, "scandir", refuse_folder)
    monkeypatch.setattr(Path, "read_bytes", refuse_file)
    assert reasons(tmp_path) == {
        "00001.png": "cannot be read (Permission denied)",
        "secret": "cannot be listed (Permission denied)",
    }


def test_a_file_that_changed_after_the_check_is_named(tmp_path: Path) -> None:
    fill(tmp_path, 2)
    folder = open_image_folder(tmp_path)
    write(tmp_path / "00001.png", b"")
    with pytest.raises(ValueError, match=r"00001\.png: has changed since the folder was opened: it is empty"):
        folder.pixels([0, 1])


def test_a_name_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    fill(tmp_path, 1)
    write(tmp_path / "\x1b[2J\n.png", b"")
    with pytest.raises(UnusableFolderError) as caught:
        open_image_folder(tmp_path)
    assert r"'\x1b[2J\n.png': is empty" in str(caught.value)


def test_pillow_must_not_fill_up_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(AssertionError, match="fill up truncated images"):
        read_image(write(tmp_path / "a.png"), 3)


def test_folders_and_errors_survive_a_journey_between_processes(tmp_path: Path) -> None:
    fill(tmp_path, 1)
    folder = open_image_folder(tmp_path)
    assert isinstance(folder, ImageFolder)
    assert pickle.loads(pickle.dumps(folder)) == folder
    write(tmp_path / "empty.png", b"")
    with pytest.raises(UnusableFolderError) as caught:
        open_image_folder(tmp_path)
    error = pickle.loads(pickle.dumps(caught.value))
    assert (str(error), error.report) == (str(caught.value), caught.value.report)


def test_what_was_left_behind_is_no_class_and_no_image_and_is_counted(tmp_path: Path) -> None:
    fill(tmp_path / "ant", 2)
    for name in (".ipynb_checkpoints/0-checkpoint.png", "__MACOSX/ant/._00000.png", "ant/._00000.png", ".DS_Store"):
        write(tmp_path / name, b"Mac OS X")
    folder = open_image_folder(tmp_path)
    assert (folder.class_names, folder.labels) == (("ant",), (0, 0))
    assert folder.report.left_behind == (".DS_Store", ".ipynb_checkpoints", "__MACOSX", "ant/._00000.png")
    assert "4 entries that systems, archivers and editors leave behind are left out, such as .DS_Store" in str(
        folder.report
    )
