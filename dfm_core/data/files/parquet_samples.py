"""Images in Parquet files as the Hugging Face hub keeps ImageNet: `image` {bytes, path}, `label` an integer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from dfm_core.data.files.folder_report import BadFile
from dfm_core.data.files.left_behind import as_left_behind, left_behind
from dfm_core.data.files.raw_samples import RawSample

_ROWS = 64
"""Held in memory at a time."""


def parquet_samples(file: BinaryIO, name: str, num_classes: int) -> Iterator[RawSample | BadFile]:
    """Yield the images of a Parquet file in their order."""
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        table = ParquetFile(file)
        if missing := sorted({"image", "label"} - set(table.schema_arrow.names)):
            reason = f"has no column {' and no '.join(missing)}; needed: image, label"
            yield BadFile(name, "of another kind", reason, holds_many=True)
            return
        row = 0
        for batch in table.iter_batches(_ROWS, columns=["image", "label"]):
            for image, label in zip(batch["image"].to_pylist(), batch["label"].to_pylist(), strict=True):
                yield _sample(f"{name}/{row}", image, label, num_classes)
                row += 1
    except (ArrowException, OSError) as error:
        reason = f"is no Parquet file, or cut off ({' '.join(str(error).split())[:120]})"
        yield BadFile(name, "damaged", reason, holds_many=True)


def _sample(name: str, image: object, label: object, num_classes: int) -> RawSample | BadFile:
    content, path = (image.get("bytes"), image.get("path")) if isinstance(image, dict) else (image, None)
    if isinstance(path, str) and left_behind(path.rsplit("/", 1)[-1]):  # its folders are those of its maker's machine
        return as_left_behind(f"{name} ({path})")
    if not isinstance(content, bytes) or not content:
        return BadFile(name, "no image", "holds no bytes of an image")
    if type(label) is not int or not 0 <= label < num_classes:
        return BadFile(name, "of another kind", f"names no class: its label is {label!r}, there are {num_classes}")
    return RawSample(name, label, content)
