"""Names out of manifests and records lead nowhere else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestration.artifacts.task_record import TaskRecord, read_record, write_record
from orchestration.storage.layout import TaskPaths
from orchestration.storage.safe_names import safe_join, safe_name
from orchestration.storage.store import DamagedArtifactError, FileEntry, Store

HOSTILE = ["", ".", "..", "../x", "a/b", "/etc/passwd", "a\\b", "x\0y", "x" * 256, "ä" * 128, 3, None]


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_name_of_a_file_is_refused(name: object) -> None:
    with pytest.raises(ValueError, match="is not the name of a file"):
        safe_name(name)


@pytest.mark.parametrize("name", ["a", "...", ".hidden", "grid @ 4.png", "x" * 255, "step-000000004", "ä"])
def test_a_name_is_a_name(name: str) -> None:
    assert safe_name(name) == name


@pytest.mark.proves(26)
@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", "a//b", "a/./b", "a/", "..\\x"])
def test_a_path_that_leaves_its_root_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="is not a path below root"):
        safe_join("root", path)
    with pytest.raises(ValueError, match="is not a path below"):
        Store("memory://bucket").path(path)


def test_a_path_below_the_root_is_joined() -> None:
    assert safe_join("/data/runs", "a/b.json") == "/data/runs/a/b.json"
    assert safe_join("/data/runs", "") == "/data/runs"


@pytest.mark.proves(27)
@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/b", ".."])
def test_a_manifest_with_a_name_that_leads_elsewhere_is_damaged(store: Store, name: str) -> None:
    store.write("secret", b"x")
    entry = FileEntry.of(Path(store.path("secret")))
    store.publish("artifact", [FileEntry(name, entry.num_bytes, entry.sha256)])
    with pytest.raises(DamagedArtifactError, match="its manifest leads elsewhere"), store.fetched("artifact"):
        pass


@pytest.mark.parametrize("name", ["../../secret", "/etc/passwd"])
def test_a_record_with_a_file_elsewhere_is_none(store: Store, name: str) -> None:
    result = TaskRecord("d", "train", {}, 1.0, files=("grid.png",))
    write_record(store, result)
    assert read_record(store, "d") == result
    place = TaskPaths("d").result
    document = json.loads(store.read(place))
    store.write(place, json.dumps({**document, "files": [name]}).encode())
    assert read_record(store, "d") is None
