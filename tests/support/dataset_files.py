"""Datasets in memory: places, images, tars, Parquet files and clips."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from dfm_core.data.files.folder_report import BadFile
from dfm_core.data.files.raw_samples import DataFile, Listing, RawDataset, RawSample


class MemoryFiles:
    """A place in memory: `DataFiles`."""

    place = "memory://data"

    def __init__(self, contents: Mapping[str, bytes], folders: Sequence[str] = ()) -> None:
        self.contents, self._folders = dict(contents), tuple(folders)

    def listing(self) -> Listing:
        # In an order that nobody may depend on.
        files = [DataFile(name, len(content)) for name, content in self.contents.items()]
        return Listing(tuple(reversed(files)), self._folders)

    @contextmanager
    def opened(self, file: DataFile) -> Iterator[BinaryIO]:
        if file.name not in self.contents:
            raise FileNotFoundError(file.name)
        yield io.BytesIO(self.contents[file.name])


def png(seed: int = 0, side: int = 8) -> bytes:
    return encoded(np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8), "PNG")


def encoded(pixels: np.ndarray[Any, Any] | Image.Image, file_format: str, **options: Any) -> bytes:
    content = io.BytesIO()
    (Image.fromarray(pixels) if isinstance(pixels, np.ndarray) else pixels).save(content, file_format, **options)
    return content.getvalue()


def tar(members: Sequence[tuple[str, bytes]]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return content.getvalue()


def parquet(images: Sequence[bytes | None], labels: Sequence[int | None], paths: Sequence[str | None] = ()) -> bytes:
    content = io.BytesIO()
    pq.write_table(_table(images, labels, paths), content)
    return content.getvalue()


def arrow(images: Sequence[bytes], labels: Sequence[int], *, footed: bool = False) -> bytes:
    """Two images a batch; not `footed`: as `save_to_disk` of Hugging Face's datasets writes it."""
    content, table = io.BytesIO(), _table(images, labels, ())
    with (pa.ipc.new_file if footed else pa.ipc.new_stream)(content, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    return content.getvalue()


def _table(images: Sequence[bytes | None], labels: Sequence[int | None], paths: Sequence[str | None]) -> pa.Table:
    names = [*paths, *(f"{at}.JPEG" for at in range(len(paths), len(images)))]
    rows = [
        None if image is None else {"bytes": image, "path": name} for image, name in zip(images, names, strict=True)
    ]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    return pa.table({"image": pa.array(rows, kind), "label": pa.array(labels, pa.int64())})


def clip(frames: Sequence[np.ndarray[Any, Any]], container: str = "mp4", codec: str = "mpeg4") -> bytes:
    """Args: frames: uint8, each [H, W, 3], sides even."""
    import av

    content = io.BytesIO()
    with av.open(content, "w", format=container) as output:
        stream = output.add_stream(codec, rate=25)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = 4_000_000
        for frame in frames:
            output.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        output.mux(stream.encode())
    return content.getvalue()


def everything(dataset: RawDataset) -> tuple[list[RawSample], dict[str, str]]:
    """All samples, by name, and what was left out with its reason."""
    sound: list[RawSample] = []
    bad: list[BadFile] = list(dataset.left_out)
    for unit in dataset.units:
        for sample in dataset.samples(unit):
            (bad if isinstance(sample, BadFile) else sound).append(sample)  # type: ignore[arg-type]
    return sorted(sound, key=lambda sample: sample.name), {one.file: one.reason for one in bad}
