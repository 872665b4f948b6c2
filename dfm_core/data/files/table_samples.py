"""Images in Parquet and Arrow files as Hugging Face keeps them: `image` {bytes, path}, `label` an integer or a caption.

Arrow files are what `Dataset.save_to_disk` writes: a stream, whose end is marked. Those with a footer are read too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from dfm_core.data.files.folder_report import BadFile
from dfm_core.data.files.left_behind import as_left_behind, left_behind
from dfm_core.data.files.raw_samples import RawSample
from dfm_core.data.files.sample_labels import SampleLabels, UnusableLabelError

if TYPE_CHECKING:
    from pyarrow import RecordBatch

TABLE_EXTENSIONS = (".parquet", ".arrow")
_IMAGE = "image"
_ROWS = 64
"""Made into Python's objects at a time."""
_FOOTED = b"ARROW1"
_END = b"\xff\xff\xff\xff\0\0\0\0"


class _CutOffError(OSError):
    pass


def table_samples(file: BinaryIO, name: str, labels: SampleLabels) -> Iterator[RawSample | BadFile]:
    """Yield the images of a file in their order."""
    from pyarrow import ArrowException

    row, columns = 0, [_IMAGE, labels.column]
    try:
        for batch in _parquet(file, columns) if name.lower().endswith(".parquet") else _arrow(file):
            if problem := _columns_problem(batch.schema.names, columns):
                yield BadFile(name, "of another kind", problem, holds_many=True)
                return
            for start in range(0, batch.num_rows, _ROWS):
                rows = batch.slice(start, _ROWS)
                for image, label in zip(rows[_IMAGE].to_pylist(), rows[labels.column].to_pylist(), strict=True):
                    yield _sample(f"{name}/{row}", image, label, labels)
                    row += 1
    except (ArrowException, OSError) as error:
        reason = f"is no Parquet or Arrow file, or cut off ({' '.join(str(error).split())[:120]})"
        yield BadFile(name, "damaged", reason, holds_many=True)


def _columns_problem(names: list[str], wanted: list[str]) -> str:
    """Return why a table of these columns cannot be read; "" if it can."""
    has = f"it has {', '.join(names)}; needed: {', '.join(wanted)}"
    if missing := sorted(set(wanted) - set(names)):
        return f"has no column {' and no '.join(missing)}; {has}"
    twice = [name for name in wanted if names.count(name) > 1]
    return f"has the column {' and the column '.join(twice)} more than once; {has}" if twice else ""


def _parquet(file: BinaryIO, wanted: list[str]) -> Iterator[RecordBatch]:
    from pyarrow.parquet import ParquetFile

    table = ParquetFile(file)
    names = table.schema_arrow.names
    columns = wanted if set(wanted) <= set(names) else names
    yield from table.iter_batches(_ROWS, columns=columns)


def _arrow(file: BinaryIO) -> Iterator[RecordBatch]:
    from pyarrow import ipc

    is_footed = file.read(len(_FOOTED)) == _FOOTED
    file.seek(0)
    if is_footed:
        reader = ipc.open_file(file)
        yield from map(reader.get_batch, range(reader.num_record_batches))
        return
    yield from ipc.open_stream(file)
    file.seek(-len(_END), 2)
    if file.read() != _END:  # pyarrow takes the end of the file for the end of the stream
        raise _CutOffError("its end is not marked")


def _sample(name: str, image: object, value: object, labels: SampleLabels) -> RawSample | BadFile:
    content, path = (image.get("bytes"), image.get("path")) if isinstance(image, dict) else (image, None)
    if isinstance(path, str) and left_behind(path.rsplit("/", 1)[-1]):  # its folders are those of its maker's machine
        return as_left_behind(f"{name} ({path})")
    if not isinstance(content, bytes) or not content:
        return BadFile(name, "no image", "holds no bytes of an image")
    try:
        number, caption = labels.of_value(value)
    except UnusableLabelError as error:
        return BadFile(name, labels.fault, str(error))
    return RawSample(name, number, content, caption)
