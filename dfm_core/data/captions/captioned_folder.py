"""Images in folders, each beside its caption: `rose.png` and `rose.txt` or `rose.json`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dfm_core.data.captions.caption import (
    CAPTION_KEY,
    CAPTIONED,
    MAX_CAPTION_BYTES,
    caption_in_json,
    caption_in_text,
    caption_number,
)
from dfm_core.data.files.folder_report import BadFile
from dfm_core.data.files.image_files import EXTENSIONS, MAX_FILE_BYTES
from dfm_core.data.files.left_behind import without_left_behind
from dfm_core.data.files.other_layouts import other_layout, unread_samples
from dfm_core.data.files.raw_samples import DataFile, DataFiles, RawSample, fingerprint_of, mixed
from dfm_core.data.files.sample_labels import UnusableLabelError

_TEXT, _JSON = ".txt", ".json"


@dataclass(frozen=True)
class CaptionedFolder:
    """A dataset of one image a file, with captions: `RawDataset`."""

    files: DataFiles
    units: tuple[DataFile, ...]
    captions: Mapping[str, DataFile]
    """File of the caption by name of the image."""
    caption_key: str
    """Key of the captions in `.json` files."""
    fingerprint: str
    left_out: tuple[BadFile, ...]
    class_names: tuple[str, ...] = CAPTIONED

    def samples(self, unit: DataFile) -> Iterator[RawSample | BadFile]:
        beside = self.captions[unit.name]
        try:
            caption = self._caption(beside)
            content = self._content(unit)
        except FileNotFoundError:
            yield BadFile(unit.name, "unreadable", "has gone, or its caption, since the dataset was listed")
        except UnusableLabelError as error:
            yield BadFile(unit.name, "no caption", str(error))
        else:
            if len(content) != unit.num_bytes:
                changed = f"has {len(content)} bytes, and had {unit.num_bytes} when the dataset was listed"
                yield BadFile(unit.name, "damaged", changed)
                return
            yield RawSample(unit.name, caption_number(caption), content, caption)

    def _caption(self, file: DataFile) -> str:
        content = self._content(file)
        return caption_in_text(content) if _kind(file) == _TEXT else caption_in_json(content, self.caption_key)

    def _content(self, file: DataFile) -> bytes:
        with self.files.opened(file) as opened:
            return opened.read()


def open_captioned_folder(files: DataFiles, caption_key: str = CAPTION_KEY) -> CaptionedFolder:
    """Open a place, its sub-folders included. Of `.txt` and `.json` beside one image the `.txt` is its caption.

    Args: caption_key: of the captions in `.json` files.
    Raises: ValueError if no image has a caption; what `files` does.
    """
    listing, left = without_left_behind(files.listing())
    texts = {_stem(file): file for file in listing.files if _kind(file) == _JSON}
    texts |= {_stem(file): file for file in listing.files if _kind(file) == _TEXT}
    bad = [*listing.unusable_of(EXTENSIONS), *unread_samples(listing.names, EXTENSIONS), *left]
    captions: dict[str, DataFile] = {}
    sound: list[DataFile] = []
    first: dict[str, str] = {}
    for file in sorted((one for one in listing.files if _kind(one) in EXTENSIONS), key=lambda one: one.name):
        if problem := _problem(file, texts.get(_stem(file)), first):
            bad.append(problem)
        else:
            first[_stem(file)] = file.name
            captions[file.name] = texts[_stem(file)]
            sound.append(file)
    if not sound:
        such = f"; {bad[0]}" if bad else other_layout(listing.names, EXTENSIONS)
        raise ValueError(f"{files.place}: holds no image beside a caption ({_TEXT} or {_JSON} of the same name){such}")
    units = tuple(sound[at] for at in mixed([file.name for file in sound]))
    # The sizes of the captions stand where the class would: a listing knows no more of them.
    sizes = [captions[file.name].num_bytes for file in sound]
    fingerprint = fingerprint_of(sound, sizes, ("captions", caption_key))
    return CaptionedFolder(
        files, units, captions, caption_key, fingerprint, tuple(sorted(bad, key=lambda file: file.file))
    )


def _problem(file: DataFile, caption: DataFile | None, first: Mapping[str, str]) -> BadFile | None:
    """Return why an image cannot be used, as far as a listing tells."""
    if file.num_bytes == 0:
        return BadFile(file.name, "empty", "is empty (0 bytes)")
    if file.num_bytes > MAX_FILE_BYTES:
        return BadFile(file.name, "too large", f"has {file.num_bytes} bytes; at most {MAX_FILE_BYTES} are read")
    if caption is None:
        return BadFile(file.name, "no caption", f"has no {_TEXT} or {_JSON} of its name beside it")
    if caption.num_bytes > MAX_CAPTION_BYTES:
        reason = f"has a caption of {caption.num_bytes} bytes; at most {MAX_CAPTION_BYTES} are read"
        return BadFile(file.name, "no caption", reason)
    if _stem(file) in first:
        return BadFile(file.name, "given twice", f"has the name, and so the caption, of {first[_stem(file)]}")
    return None


def _stem(file: DataFile) -> str:
    return _split(file.name)[0]


def _kind(file: DataFile) -> str:
    return _split(file.name)[1].lower()


def _split(name: str) -> tuple[str, str]:
    """Return path without the last extension, and that: "a.b/c.png" is "a.b/c" and ".png"."""
    folder, slash, base = name.rpartition("/")
    stem, dot, kind = base.rpartition(".")
    return (folder + slash + stem, dot + kind) if dot else (name, "")
