"""Images in a folder, checked to the last file before the first is used. Nothing is dropped without being named."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dfm_core.data.files.centre_crop import centre_crop
from dfm_core.data.files.folder_report import BadFile, FolderReport, UnusableFolderError
from dfm_core.data.files.image_files import (
    EXTENSIONS,
    MAX_SOURCE_PIXELS,
    Channels,
    Size,
    UnusableImageError,
    another_size,
    decode_image,
    file_content,
    read_image,
)
from dfm_core.data.files.left_behind import left_behind


@dataclass(frozen=True)
class ImageFolder:
    """The usable images of a folder, by name. Made by `open_image_folder`."""

    folder: Path
    files: tuple[str, ...]
    """Relative to the folder, sorted."""
    labels: tuple[int, ...] | None
    """Positions in `class_names`; None if the folder has no sub-folders with images."""
    class_names: tuple[str, ...]
    """First-level sub-folders, sorted."""
    size: Size
    channels: Channels
    report: FolderReport
    cropped: bool = False
    """Images of any size are resized and cropped to the square of `size`, as those that networks are trained on."""

    def __len__(self) -> int:
        return len(self.files)

    def pixels(self, rows: Iterable[int]) -> Tensor:
        """Return selected images, [B, C, H, W] uint8.

        Raises: ValueError naming a file that has changed since the folder was opened.
        """
        images = []
        for row in rows:
            try:
                images.append(_read(self.folder / self.files[row], self.channels, self.size, self.cropped))
            except UnusableImageError as error:
                changed = f"has changed since the folder was opened: it {error.reason}"
                raise ValueError(f"{self.folder / self.files[row]}: {changed}") from None
        stacked = np.stack(images) if images else np.empty((0, *self.size, self.channels), np.uint8)
        return torch.from_numpy(stacked).permute(0, 3, 1, 2).contiguous()

    def batches(self, num_images: int) -> Iterator[Tensor]:
        """Yield all images in order, [B, C, H, W] uint8, B at most `num_images`."""
        for start in range(0, len(self), num_images):
            yield self.pixels(range(start, min(start + num_images, len(self))))


def open_image_folder(
    folder: Path,
    *,
    channels: Channels = 3,
    size: Size | None = None,
    cropped: bool = False,
    max_bad_share: float = 0.0,
    num_threads: int = 4,
) -> ImageFolder:
    """Lists a folder with all its sub-folders and decodes every image once.

    If there are sub-folders with images, each on the first level is a class, and every image must be in one.

    Args: channels: of the pixels given; 3 repeats grey, 1 refuses colours. size: height and width of every image;
    default: the most frequent. cropped: images of any size become the square of `size`, resized and cropped as those
    that networks are trained on. max_bad_share: 0 allows no bad file; 0.01 leaves up to 1% out, named in the report.
    Raises: UnusableFolderError if too many files, or all, are bad; ValueError if there is no folder, or no image in it.
    """
    assert not cropped or (size is not None and size[0] == size[1]), "images are cropped to a square that is given"
    if not 0.0 <= max_bad_share < 1.0:
        raise ValueError(f"max_bad_share is {max_bad_share}; allowed is 0 or more, and less than 1")
    if not folder.is_dir():
        raise ValueError(f"{folder}: there is no such folder")
    names, others, bad, left = _listing(folder)
    if not names and not bad:
        raise ValueError(f"{folder}: holds no image ({', '.join(EXTENSIONS)}) and {len(others)} other files")
    class_names, placed, misplaced = _classes(folder, names, {*left, *(file.file for file in bad)})
    sizes, broken = _examine(folder, placed, channels, size, cropped, num_threads)
    common = size or next((most for most, _ in Counter(sizes.values()).most_common(1)), (0, 0))
    odd = {name: another_size(own, common) for name, own in sizes.items() if own != common}
    bad += [*misplaced, *broken, *(BadFile(name, error.fault, error.reason) for name, error in odd.items())]
    used = tuple(name for name in sizes if name not in odd)
    named = tuple(sorted(bad, key=lambda file: file.file))
    report = FolderReport(folder, len(used), named, tuple(sorted(others)), tuple(sorted(left)))
    if not used or len(bad) > max_bad_share * report.num_found:
        allowed = f"a share of {max_bad_share:g} may be left out (max_bad_share)"
        raise UnusableFolderError(report, f"mend or remove them; {allowed}")
    positions = {name: position for position, name in enumerate(class_names)}
    labels = tuple(positions[name.split("/")[0]] for name in used) if class_names else None
    return ImageFolder(folder, used, labels, tuple(class_names), common, channels, report, cropped)


def _read(path: Path, channels: Channels, size: Size | None, cropped: bool) -> np.ndarray:
    """Return the pixels of a file, [H, W, C]. Raises: UnusableImageError."""
    if not cropped or size is None:
        return read_image(path, channels, size)
    pixels = decode_image(file_content(path), channels, max_pixels=MAX_SOURCE_PIXELS)
    return centre_crop(np.repeat(pixels, 3 // channels, axis=-1), size[0])[..., :channels]


def _examine(
    folder: Path, names: Sequence[str], channels: Channels, size: Size | None, cropped: bool, num_threads: int
) -> tuple[dict[str, Size], list[BadFile]]:
    """Decodes every file once. Returns: sizes of the sound ones, in the order of their names, and the others."""

    def examine(name: str) -> Size | BadFile:
        try:
            height, width, _ = _read(folder / name, channels, size, cropped).shape
        except UnusableImageError as error:
            return BadFile(name, error.fault, error.reason)
        return height, width

    with ThreadPoolExecutor(num_threads) as threads:
        results = dict(zip(names, threads.map(examine, names), strict=True))
    sizes = {name: result for name, result in results.items() if not isinstance(result, BadFile)}
    return sizes, [result for result in results.values() if isinstance(result, BadFile)]


def _listing(folder: Path) -> tuple[list[str], list[str], list[BadFile], list[str]]:
    """Return names of image files, of other files, what could not be listed, and what was left behind."""
    names: list[str] = []
    others: list[str] = []
    bad: list[BadFile] = []
    left: list[str] = []

    def report(error: OSError) -> None:
        where = Path(error.filename).relative_to(folder).as_posix()
        bad.append(BadFile(where, "unreadable", f"cannot be listed ({error.strerror})"))

    for root, folders, files in os.walk(folder, onerror=report):
        here = Path(root).relative_to(folder)
        left += [(here / name).as_posix() for name in [*folders, *files] if left_behind(name)]
        folders[:] = [name for name in folders if not left_behind(name)]
        links = [name for name in folders if (Path(root) / name).is_symlink()]
        bad += [BadFile((here / name).as_posix(), "unreadable", "is a link to a folder; give that") for name in links]
        for file in files:
            if left_behind(file):
                continue
            is_image = Path(file).suffix.lower() in EXTENSIONS
            (names if is_image else others).append((here / file).as_posix())
    return names, others, bad, left


def _classes(folder: Path, names: Sequence[str], named: Collection[str]) -> tuple[list[str], list[str], list[BadFile]]:
    """Class names, the images in classes, and what is in none: an image beside the classes, a class without images."""
    class_names = sorted({name.split("/")[0] for name in names if "/" in name})
    if not class_names:
        return [], sorted(names), []
    known = {*class_names, *named}
    folders = [path.name for path in folder.iterdir() if path.is_dir()]
    misplaced = [
        *(
            BadFile(name, "not in its place", "lies beside sub-folders, which are classes")
            for name in names
            if "/" not in name
        ),
        *(
            BadFile(name, "not in its place", "is a sub-folder without images among classes")
            for name in folders
            if name not in known
        ),
    ]
    return class_names, sorted(name for name in names if "/" in name), misplaced
