"""Records of finished tasks as a folder that travels: `--export-records` and `--import-records`.

A folder holds, for each task, its record and the files that are shown with it; no weights, latents or features. It may
be committed, or brought to another storage root, where nothing of it is computed again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestration.artifacts.task_record import TaskRecord, read_record
from orchestration.common.errors import Problem, UserError
from orchestration.common.urls import is_url
from orchestration.common.wording import counted
from orchestration.parsing.documents import parse_document
from orchestration.plan.completed import completed_records
from orchestration.plan.plan import Plan
from orchestration.storage.layout import TaskPaths
from orchestration.storage.safe_names import safe_name
from orchestration.storage.store import Store

_INDEX = "records.json"
_FORMAT = 1


@dataclass(frozen=True)
class _Index:
    """The content of a folder of records."""

    sweep: str
    files: Mapping[str, Mapping[str, str]]
    """Digest of a task -> name of a file -> its sha256."""


def export_records(plan: Plan, done: Mapping[str, TaskRecord], store: Store, place: str) -> str:
    """Write the records of a sweep's finished tasks into a folder; others that are there already stay.

    Args: place: folder or URL of fsspec; its records lie where they lie in a storage root.
    Returns: what was done, for people.
    """
    target = _store_at(place, store)
    files = dict(_read_index(target, place).files) if target.exists(_INDEX) else {}
    for digest, record in done.items():
        paths = TaskPaths(digest)
        contents = {path: store.read(path) for path in [*map(paths.result_file, record.files), paths.result]}
        for path, content in contents.items():
            target.write(path, content)
        files[digest] = {Path(path).name: hashlib.sha256(content).hexdigest() for path, content in contents.items()}
    index = {"format": _FORMAT, "sweep": plan.spec.name, "files": files}
    target.write(_INDEX, json.dumps(index, indent=1, sort_keys=True).encode())
    left = len(plan.tasks) - len(done)
    more = f"; {counted(left, 'task')} of the sweep are not done yet" if left else ""
    return f"{counted(len(done), 'record')} of {plan.spec.name} in {place}{more}."


def import_records(plan: Plan, store: Store, place: str) -> str:
    """Publish the records of a folder that belong to tasks of this sweep; those that are done here stay.

    Args: place: as of `export_records`. Returns: what was done, for people.
    Raises: UserError naming every file that is not as its index says; nothing is published then.
    """
    source = _store_at(place, store)
    index, done = _read_index(source, place), completed_records(store, plan)
    wanted = {digest: names for digest, names in index.files.items() if digest in plan.tasks and digest not in done}
    if problems := [problem for digest, names in wanted.items() for problem in _problems(source, digest, names)]:
        raise UserError(problems)
    for digest, names in wanted.items():
        paths = TaskPaths(digest)
        for path in [*map(paths.result_file, names.keys() - {Path(paths.result).name}), paths.imported, paths.result]:
            # The record, which makes the task known, comes last.
            content = source.read(path) if path != paths.imported else json.dumps({"sweep": index.sweep}).encode()
            store.write(path, content)
    other = len(index.files.keys() - plan.tasks.keys())
    known = len(index.files) - len(wanted) - other
    told = f"{counted(len(wanted), 'record')} imported from {place}, {known} known here already"
    return f"{told}, {other} of no task of {plan.spec.name}."


def _store_at(place: str, store: Store) -> Store:
    return Store(place, store.options) if is_url(place) else Store(str(Path(place).absolute()))


def _read_index(folder: Store, place: str) -> _Index:
    where = f"{place}/{_INDEX}"
    try:
        data = parse_document(folder.read_document(_INDEX))
        if data["format"] != _FORMAT:
            raise UserError.of(where, f"format {data['format']!r}; this version reads {_FORMAT}")
        files = {
            safe_name(digest): {safe_name(name): str(sha256) for name, sha256 in names.items()}
            for digest, names in data["files"].items()
        }
        return _Index(str(data["sweep"]), files)
    except FileNotFoundError:
        raise UserError.of(where, "no such file; give a folder that --export-records wrote") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError.of(where, f"is damaged ({error}); export the records again") from None


def _problems(source: Store, digest: str, names: Mapping[str, str]) -> Iterator[Problem]:
    """Yield what is wrong with the files of a task: other bytes than the index says, or no whole record of it."""
    again = "; export the records again"
    paths = TaskPaths(digest)
    for name, sha256 in names.items():
        path = paths.result_file(name)
        try:
            content = source.read(path)
        except FileNotFoundError:
            yield Problem(source.uri(path), f"is missing{again}")
            continue
        if hashlib.sha256(content).hexdigest() != sha256:
            yield Problem(source.uri(path), f"is not what was exported (another sha256){again}")
    record = read_record(source, digest)
    if record is None or not {*record.files, Path(paths.result).name} <= names.keys():
        yield Problem(source.uri(paths.result), f"is no whole record of this task{again}")
