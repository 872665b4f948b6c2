"""One file a sample, in a folder for each class (ImageNet, Kinetics), or named by a list."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dfm_core.data.files.class_list import agreed_classes, spelling_of
from dfm_core.data.files.folder_report import BadFile
from dfm_core.data.files.image_files import MAX_FILE_BYTES, Fault
from dfm_core.data.files.left_behind import as_left_behind, left_behind, without_left_behind
from dfm_core.data.files.other_layouts import other_layout, unread_samples
from dfm_core.data.files.raw_samples import DataFile, DataFiles, Listing, RawSample, fingerprint_of, mixed

_NOT_IN_A_FOLDER: Fault = "not in its place"


@dataclass(frozen=True)
class SingleFiles:
    """A dataset of one sample a file: `RawDataset`."""

    files: DataFiles
    units: tuple[DataFile, ...]
    labels: Mapping[str, int]
    """Classes by name of the file."""
    class_names: tuple[str, ...]
    fingerprint: str
    left_out: tuple[BadFile, ...]

    def samples(self, unit: DataFile) -> Iterator[RawSample | BadFile]:
        try:
            with self.files.opened(unit) as file:
                content = file.read()
        except FileNotFoundError:
            yield BadFile(unit.name, "unreadable", "has gone since the dataset was listed")
            return
        if len(content) != unit.num_bytes:
            changed = f"has {len(content)} bytes, and had {unit.num_bytes} when the dataset was listed"
            yield BadFile(unit.name, "damaged", changed)
            return
        yield RawSample(unit.name, self.labels[unit.name], content)


def open_class_folders(
    files: DataFiles, extensions: Sequence[str], class_names: Sequence[str] | None = None
) -> SingleFiles:
    """Open a place in which every first-level folder is a class.

    Args: extensions: of the files that are samples; others are left alone. class_names: in the order of their labels;
        default: those found, sorted.
    Raises: ValueError if there is no sample, or the classes are not those wanted; what `files` does.
    """
    listing, left = without_left_behind(files.listing())
    samples = [file for file in listing.files if file.name.lower().endswith(tuple(extensions))]
    sound, bad = _sorted_out(samples)
    bad += [*listing.unusable_of(extensions), *unread_samples(listing.names, extensions)]
    if bad and not sound and all(file.fault == _NOT_IN_A_FOLDER for file in bad):
        move = f"move them into one, e.g. {files.place}/all, which is one class"
        raise ValueError(f"{files.place}: its files lie in no folder of a class; {move}")
    if not sound:
        such = f", and {len(bad)} that cannot be used, such as {bad[0]}" if bad else ""
        hint = such or other_layout(listing.names, tuple(extensions))
        raise ValueError(f"{files.place}: holds no file {', '.join(extensions)} in a folder of its class{hint}")
    classes = {file.name.partition("/")[0] for file in sound}
    bad += _empty_classes(listing, classes)
    names = agreed_classes(classes, class_names, files.place)
    numbers = {name: number for number, name in enumerate(names)}
    labels = {file.name: numbers[file.name.partition("/")[0]] for file in sound}
    return _dataset(files, sound, labels, names, bad + left)


def open_list(
    files: DataFiles, listed: str, extensions: Sequence[str], class_names: Sequence[str] | None = None
) -> SingleFiles:
    """Return the files that a CSV names, with the columns `path`, relative to the place, and `label`, a class.

    Args: listed: the CSV's content. Raises: as `open_class_folders`; ValueError for a CSV of another form.
    """
    rows = csv.DictReader(io.StringIO(listed), strict=True)
    rows.fieldnames = [name.strip() for name in rows.fieldnames or ()]
    if not {"path", "label"} <= set(rows.fieldnames or ()):
        raise ValueError(f"the list has the columns {', '.join(rows.fieldnames or ()) or 'none'}; needed: path, label")
    listing = files.listing()
    there, unusable = {file.name: file for file in listing.files}, {one.file: one for one in listing.unusable}
    classes, spelled = dict[str, str](), spelling_of(there)
    bad: list[BadFile] = []
    for row in _read(rows):
        path, label = spelled(row["path"] or ""), (row["label"] or "").strip()
        if entry := left_behind(path):
            bad.append(as_left_behind(entry))
        elif path in classes:
            bad.append(BadFile(path, "given twice", f"is in the list twice, as {classes[path]!r} and {label!r}"))
        elif path in unusable:
            bad.append(unusable[path])
        elif path not in there:
            hint = "; paths have forward slashes" if "\\" in path else ""
            bad.append(BadFile(path, "unreadable", f"is in the list, but not there{hint}"))
        elif not path.lower().endswith(tuple(extensions)) or not label:
            bad.append(BadFile(path, "of another kind", f"has no class, or is no {', '.join(extensions)}"))
        else:
            classes[path] = label
    if not classes:
        raise ValueError(f"{files.place}: the list names no file that is there{f'; {bad[0]}' if bad else ''}")
    names = agreed_classes(set(classes.values()), class_names, files.place)
    sound, empty = _sorted_out([there[path] for path in classes], in_folders=False)
    numbers = {name: number for number, name in enumerate(names)}
    return _dataset(files, sound, {path: numbers[label] for path, label in classes.items()}, names, bad + empty)


def _read(rows: csv.DictReader[str]) -> Iterator[dict[str, str | None]]:
    try:
        for row in rows:
            if None in row:  # values without a column: part of a label would be lost
                num_columns, text = len(rows.fieldnames or ()), "put texts with commas in quotes"
                raise ValueError(f"line {rows.line_num} of the list has more values than {num_columns} columns: {text}")
            yield row
    except csv.Error as error:
        raise ValueError(f"line {rows.line_num} of the list is no CSV ({error})") from None


def _dataset(
    files: DataFiles, sound: Sequence[DataFile], labels: Mapping[str, int], names: tuple[str, ...], bad: list[BadFile]
) -> SingleFiles:
    units = tuple(sound[at] for at in mixed([file.name for file in sound]))
    fingerprint = fingerprint_of(sound, [labels[file.name] for file in sound], names)
    return SingleFiles(files, units, labels, names, fingerprint, tuple(sorted(bad, key=lambda file: file.file)))


def _sorted_out(samples: Sequence[DataFile], *, in_folders: bool = True) -> tuple[list[DataFile], list[BadFile]]:
    """Return files that may be samples, by name, and those that the listing alone tells not to be."""
    sound: list[DataFile] = []
    bad: list[BadFile] = []
    stems: dict[str, str] = {}
    for file in sorted(samples, key=lambda file: file.name):
        stem = file.name.rsplit(".", 1)[0].lower()
        if in_folders and "/" not in file.name:
            bad.append(BadFile(file.name, _NOT_IN_A_FOLDER, "lies beside the folders, which are classes"))
        elif file.num_bytes == 0:
            bad.append(BadFile(file.name, "empty", "is empty (0 bytes)"))
        elif file.num_bytes > MAX_FILE_BYTES:
            too_large = f"has {file.num_bytes} bytes; at most {MAX_FILE_BYTES} are read"
            bad.append(BadFile(file.name, "too large", too_large))
        elif stem in stems:
            bad.append(BadFile(file.name, "given twice", f"has the name of {stems[stem]}"))
        else:
            stems[stem] = file.name
            sound.append(file)
    return sound, bad


def _empty_classes(listing: Listing, classes: set[str]) -> list[BadFile]:
    empty = sorted(folder for folder in listing.folders if "/" not in folder and folder not in classes)
    return [BadFile(folder, "not in its place", "is a class without samples") for folder in empty]
