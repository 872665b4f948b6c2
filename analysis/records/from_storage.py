"""The records of tasks in the sweep's storage root: what MLflow is filled from, read where MLflow is away.

`results/<digest>/result.json` is there once a task is done. So of a task without one nobody knows here whether it runs,
failed or was never begun; nor do records know of MLflow's runs, or of the code and machines that made them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, cast

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs

from analysis.contract.record_schema import SECONDS, RecordDocument
from analysis.errors import UserError
from analysis.plan.model import PublishedPlan
from analysis.records.about import About, json_object, parse_about
from analysis.records.choose_run import curve_notes
from analysis.records.record import MEASURING, Record, is_loss
from analysis.records.sample_images import image_names, images_in
from analysis.tracking.history import Points

_FILES_AT_ONCE = 16


@dataclass(frozen=True)
class StorageRoot:
    """Where the records of a sweep lie."""

    root: str
    """Folder or fsspec URL."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of fsspec."""


def read_record_files(plan: PublishedPlan, storage: StorageRoot) -> dict[str, Record]:
    """Records by digest; of a task that is not done there is none, or one that says why it does not count.

    Raises: UserError if the storage cannot be read.
    """
    paths = {f"results/{digest}/result.json": digest for digest in plan.kinds}
    documents = {paths[path]: data for path, data in _read(storage, list(paths)).items()}
    names = {digest: found for digest, found in image_names(plan).items() if digest in documents}
    files = _read(storage, [f"results/{digest}/{name}" for digest, found in names.items() for name in found])
    pictures: dict[str, dict[str, bytes]] = {digest: {} for digest in documents}
    for digest, found in names.items():
        pictures[digest] = {name: files[path] for name in found if (path := f"results/{digest}/{name}") in files}
    return {
        digest: _record(plan, digest, data, pictures[digest], f"results/{digest}/result.json")
        for digest, data in documents.items()
    }


def _read(storage: StorageRoot, paths: Sequence[str]) -> dict[str, bytes]:
    """Those of the files under the root that there are."""
    try:
        filesystem, root = url_to_fs(storage.root, **storage.options)
        with ThreadPoolExecutor(_FILES_AT_ONCE) as pool:
            found = list(pool.map(lambda path: _content(filesystem, f"{root.rstrip('/')}/{path}"), paths))
    except Exception as error:  # each fsspec backend raises its own family
        raise UserError(
            f"{storage.root}: its records cannot be read ({error or type(error).__name__}); check --storage, the root "
            "that the sweep was run with"
        ) from error
    return {path: data for path, data in zip(paths, found, strict=True) if data is not None}


def _content(filesystem: AbstractFileSystem, path: str) -> bytes | None:
    try:
        return bytes(filesystem.cat_file(path))
    except FileNotFoundError:
        return None


def _record(plan: PublishedPlan, digest: str, data: bytes, files: Mapping[str, bytes], path: str) -> Record:
    kind = plan.kinds[digest]
    try:
        found = _document(data, digest, kind)
        step, seconds = int(found["step"]), float(found["seconds"])
        metrics = {str(name): float(value) for name, value in found["metrics"].items()}
        curves = _curves(found["curve"])
        about = json.dumps(found["about"]).encode()
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        return Record("missing", notes=(f"{path} is no record of this task ({reason}); it is left out",))
    until = plan.trainings[digest].until_step if kind == "train" else 0
    short = (f"the record ends at step {step:,} of {until:,}",) if step < until else ()
    pictures = images_in(kind, files)
    return Record(
        status="missing" if short else "done",
        metrics=dict(sorted({**metrics, SECONDS: seconds}.items())),
        curves=curves,
        image=pictures.image,
        strips=pictures.strips,
        moving=pictures.moving,
        about=parse_about(about) if kind in MEASURING else About(),
        path=path,
        notes=(*short, *curve_notes(curves)),
    )


def _document(data: bytes, digest: str, kind: str) -> RecordDocument:
    """Raises: ValueError, KeyError."""
    found = json_object(data)
    if found is None:
        raise ValueError("not a JSON object")
    if (found["digest"], found["kind"]) != (digest, kind):
        raise ValueError(f"of {found['kind']} {found['digest']}")
    return cast("RecordDocument", found)


def _curves(rows: list[Mapping[str, float]]) -> dict[str, Points]:
    """Losses by name; rows: of a training's curve, by step."""
    names = sorted({name for row in rows for name in row if is_loss(name)})
    return {name: Points.of((int(row["step"]), float(row[name])) for row in rows if name in row) for name in names}
