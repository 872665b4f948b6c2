"""One image file into 8-bit pixels, or the reason why it cannot be used.

Nothing is mended on the way: a file that is cut off, has another size, more than 8 bits or transparent pixels is
refused rather than padded, resized, rounded or put on a background. What Pillow reads is narrowed to common formats,
and a header that claims a huge image is refused before memory is taken for it.

PNG carries checksums, so a flipped bit in its data is found. The other formats do not: there a flipped bit that still
decodes is another image, and only a file's own checksum could tell.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageFile, PngImagePlugin, UnidentifiedImageError

PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY  # notes of over 1 MB are no damage; 64 MB are, in all

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
MAX_PIXELS = 2**25
"""Largest image that is decoded; 8K video has 33 million pixels."""
MAX_SOURCE_PIXELS = 2**26
"""Largest image that is cropped to a square; ImageNet has some of 60 million pixels."""
MAX_FILE_BYTES = 2**28

_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
_8_BIT_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
_MAX_REASON = 120

Channels = Literal[1, 3]
Size = tuple[int, int]
"""Height, width."""
Fault = Literal[
    "empty",
    "unreadable",
    "no image",
    "no clip",
    "no caption",
    "damaged",
    "too large",
    "too short",
    "too small",
    "of another size",
    "of another kind",
    "not in its place",
    "given twice",
    "left behind",
]


class UnusableImageError(Exception):
    """Why an image file cannot be used, to follow the file's name."""

    def __init__(self, fault: Fault, reason: str) -> None:
        super().__init__(fault, reason)
        self.fault, self.reason = fault, reason

    def __str__(self) -> str:
        return self.reason


def read_image(path: Path, channels: Channels, size: Size | None = None) -> np.ndarray:
    """Return the pixels of a file, as they are: no resizing, no rotation by EXIF.

    Args: channels: 3 repeats grey; 1 refuses colours. size: refuses any other, before decoding.
    Returns: uint8, [H, W, C]. Raises: UnusableImageError.
    """
    return decode_image(file_content(path), channels, size)


def decode_image(
    content: bytes, channels: Channels, size: Size | None = None, max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """Decode a file's content as `read_image` does."""
    assert not ImageFile.LOAD_TRUNCATED_IMAGES, "somebody told Pillow to fill up truncated images with grey"
    if not content:
        raise UnusableImageError("empty", "is empty (0 bytes)")
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            _check_header(image, size, max_pixels)
            image.verify()  # checksums; the image cannot be decoded after it
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            return _pixels(image, channels)
    except UnusableImageError:
        raise
    except UnidentifiedImageError:
        raise UnusableImageError("no image", f"is no image of a known format ({', '.join(_FORMATS)})") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_large("", max_pixels) from None
    except Exception as error:  # noqa: BLE001  Pillow's readers raise nearly anything on a broken file
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"[:_MAX_REASON]
        raise UnusableImageError("damaged", f"is damaged or cut off ({reason})") from None


def file_content(path: Path) -> bytes:
    """Return the bytes of a regular file of a sane size. Raises: UnusableImageError."""
    try:
        if path.exists() and not path.is_file():  # reading a pipe would wait for ever
            raise UnusableImageError("unreadable", "is no regular file")
        num_bytes = path.stat().st_size
        if num_bytes > MAX_FILE_BYTES:
            raise UnusableImageError("too large", f"has {num_bytes} bytes; at most {MAX_FILE_BYTES} are read")
        return path.read_bytes()
    except OSError as error:
        raise UnusableImageError("unreadable", f"cannot be read ({error.strerror})") from None


def _too_large(claimed: str, max_pixels: int) -> UnusableImageError:
    return UnusableImageError(
        "too large", f"claims {claimed or 'far'} more pixels than the {max_pixels} that are decoded"
    )


def _check_header(image: Image.Image, size: Size | None, max_pixels: int) -> None:
    """Refuse what can be refused before a pixel is decoded."""
    width, height = image.size
    if width * height > max_pixels:
        raise _too_large(f"{width} x {height},", max_pixels)
    if size is not None and (height, width) != size:
        raise another_size((height, width), size)
    frames = getattr(image, "n_frames", 1)
    if frames != 1 and image.format != "MPO":  # a JPEG with previews or a depth map behind the picture
        raise UnusableImageError("of another kind", f"holds {frames} frames")
    # 16-bit RGB has mode RGB, too, since Pillow cuts it to 8 bits; only its reader's name tells.
    if image.mode not in _8_BIT_MODES or ";16" in str(getattr(image, "tile", "")):
        raise UnusableImageError("of another kind", f"has no 8-bit channels (Pillow's mode {image.mode})")


def another_size(found: Size, wanted: Size) -> UnusableImageError:
    shown = [f"{width} x {height}" for height, width in (found, wanted)]
    reason = f"is {shown[0]} pixels (width x height), not {shown[1]}; nothing is resized here"
    return UnusableImageError("of another size", reason)


def _pixels(image: Image.Image, channels: Channels) -> np.ndarray:
    """Decodes. Returns: uint8, [H, W, C]."""
    if "A" in image.mode or "transparency" in image.info:
        image = image.convert("RGBA")
        opaque = 255
        if image.getchannel("A").getextrema()[0] != opaque:
            raise UnusableImageError("of another kind", "has transparent pixels, and no background was given")
    rgb = np.array(image.convert("RGB"))
    if channels == 1 and (rgb != rgb[..., :1]).any():
        raise UnusableImageError("of another kind", "has colours where grey was asked for")
    return rgb[..., :channels]
