"""Images from an `.npz` as ADM's evaluation reads and writes it: `arr_0` uint8 [N, H, W, C], labels in `arr_1`.

Videos in the same way: `arr_0` uint8 [N, T, H, W, C].
"""

from __future__ import annotations

import lzma
import math
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.lib import format as npy
from torch import Tensor

MAX_BYTES = 64 * 2**30
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
_CHANNELS = (1, 3)


@dataclass(frozen=True)
class ImageArchive:
    """Images of one size, or videos of one size and length."""

    pixels: Tensor
    """[N, C, (T,) H, W] uint8, C 1 or 3; a view of what the file holds."""
    labels: Tensor | None
    """[N] int64."""
    other_arrays: tuple[str, ...]
    """Names of the other arrays in the file, which are not read."""


def read_image_archive(path: Path, max_bytes: int = MAX_BYTES) -> ImageArchive:
    """Reads an archive. Nothing in it is executed, and no memory is taken for what its header only claims.

    Raises: ValueError if it is missing, damaged, larger than `max_bytes`, or holds something else.
    """
    if path.exists() and not path.is_file() and not path.is_dir():  # reading a pipe would wait for ever
        raise ValueError(f"{path}: is no regular file")
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
            images = _read(archive, "arr_0", max_bytes, _image_fault)
            labels = _read(archive, "arr_1", max_bytes, _label_fault) if "arr_1" in names else None
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror or error})") from None
    except MemoryError:
        raise ValueError(f"{path}: does not fit into memory as its header claims its size") from None
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"{path}: is damaged or no .npz ({' '.join(str(error).split())})") from None
    except ValueError as error:
        raise ValueError(f"{path}: {' '.join(str(error).split())}") from None
    if labels is not None and len(labels) != len(images):
        raise ValueError(f"{path}: arr_1 has {len(labels)} labels for {len(images)} images")
    return ImageArchive(
        pixels=torch.from_numpy(images).movedim(-1, 1),
        labels=None if labels is None else torch.from_numpy(labels.astype(np.int64)),
        other_arrays=tuple(sorted(set(names) - {"arr_0", "arr_1"})),
    )


Fault = Callable[[tuple[int, ...], np.dtype], str]
"""Shape and type -> what should have been there, or nothing."""


def _image_fault(shape: tuple[int, ...], dtype: np.dtype) -> str:
    images, videos = 4, 5  # dimensions
    sound = len(shape) in (images, videos) and min(shape) > 0 and shape[-1] in _CHANNELS and dtype == np.uint8
    return "" if sound else "needed are images, uint8 of shape [N, H, W, 1 or 3], or videos [N, T, H, W, 1 or 3]"


def _label_fault(shape: tuple[int, ...], dtype: np.dtype) -> str:
    return "" if len(shape) == 1 and dtype.kind in "iu" else "needed are labels, integers of shape [N]"


def _read(archive: zipfile.ZipFile, name: str, max_bytes: int, fault: Fault) -> np.ndarray:
    """Return an array, read only if its header is sound and as long as the archive says."""
    if f"{name}.npy" not in archive.namelist():
        raise ValueError(f"holds no {name}; it holds {', '.join(archive.namelist()) or 'nothing'}")
    info = archive.getinfo(f"{name}.npy")
    with archive.open(info) as file:
        version = npy.read_magic(file)
        if version not in _HEADERS:
            raise ValueError(f"{name} has the unknown format version {version}")
        shape, _, dtype = _HEADERS[version](file)
        num_header_bytes = file.tell()
    if wanted := fault(shape, dtype):
        raise ValueError(f"{name} is {dtype} of shape {list(shape)}; {wanted}")
    num_bytes = math.prod(shape) * dtype.itemsize
    if num_bytes > max_bytes:
        raise ValueError(f"{name} would take {num_bytes} bytes; at most {max_bytes} are read")
    if num_header_bytes + num_bytes != info.file_size:
        raise ValueError(f"{name} should take {num_bytes} bytes, but has {info.file_size - num_header_bytes}: damaged")
    with archive.open(info) as file:
        array: np.ndarray = npy.read_array(file, allow_pickle=False)
    return array
