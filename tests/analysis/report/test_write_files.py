"""What is written, what an earlier report's files become, and what is never touched."""

from __future__ import annotations

import json
from pathlib import Path

import fsspec
import pytest

from analysis.errors import UserError
from analysis.report.write_files import MANIFEST, write_files

FIRST = {"a.md": b"a", "tables/b.md": b"b", "tables/c.md": b"c", "old/d.md": b"d", "report.html": b"page"}
SECOND = {"a.md": b"A", "tables/b.md": b"b", "report.html": b"page"}


def files_in(folder: Path) -> dict[str, bytes]:
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: data for name, data in found.items() if name != MANIFEST}


def test_what_an_earlier_report_wrote_and_the_next_does_not_have_goes(tmp_path: Path) -> None:
    write_files(FIRST, str(tmp_path))
    assert files_in(tmp_path) == FIRST
    write_files(SECOND, str(tmp_path))
    assert files_in(tmp_path) == SECOND
    assert not (tmp_path / "old").exists()


def test_files_of_others_and_files_that_somebody_changed_stay(tmp_path: Path) -> None:
    write_files(FIRST, str(tmp_path))
    (tmp_path / "tables/c.md").write_text("my notes")
    (tmp_path / "old/mine.md").write_text("mine")
    write_files(SECOND, str(tmp_path))
    assert files_in(tmp_path) == {**SECOND, "tables/c.md": b"my notes", "old/mine.md": b"mine"}


def test_a_file_that_is_gone_already_is_no_error(tmp_path: Path) -> None:
    write_files(FIRST, str(tmp_path))
    (tmp_path / "old/d.md").unlink()
    write_files(SECOND, str(tmp_path))
    assert "tables/c.md" not in files_in(tmp_path)


@pytest.mark.parametrize("name", ["../outside.txt", "x/../../outside.txt", "/outside.txt", "..\\outside.txt", ""])
def test_a_list_that_names_files_outside_removes_none_of_them(tmp_path: Path, name: str) -> None:
    outside, folder = tmp_path / "outside.txt", tmp_path / "report"
    outside.write_bytes(b"a")
    write_files({"x/a.md": b"a"}, str(folder))
    sha = json.loads((folder / MANIFEST).read_text())["sha256"]["x/a.md"]
    names = [name, str(outside)] if name.startswith("/") else [name]
    (folder / MANIFEST).write_text(json.dumps({"sha256": dict.fromkeys(names, sha)}))
    write_files({"b.md": b"b"}, str(folder))
    assert outside.read_bytes() == b"a"


def test_an_empty_folder_outside_stays_though_a_list_names_a_file_in_it(tmp_path: Path) -> None:
    outside, folder = tmp_path / "empty", tmp_path / "report"
    outside.mkdir()
    write_files({"x/a.md": b"a"}, str(folder))
    sha = json.loads((folder / MANIFEST).read_text())["sha256"]["x/a.md"]
    inside = folder / str(outside / "a.md").lstrip("/")
    inside.parent.mkdir(parents=True)
    inside.write_bytes(b"a")
    (folder / MANIFEST).write_text(json.dumps({"sha256": {str(outside / "a.md"): sha}}))
    write_files({"b.md": b"b"}, str(folder))
    assert outside.is_dir()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"sha256": []}', '{"sha256": {"a.md": 1}}', "\udcff"])
def test_a_broken_list_removes_nothing(tmp_path: Path, text: str) -> None:
    write_files(FIRST, str(tmp_path))
    (tmp_path / MANIFEST).write_bytes(text.encode(errors="surrogateescape"))
    write_files(SECOND, str(tmp_path))
    assert files_in(tmp_path) == {**FIRST, **SECOND}


def test_the_list_is_the_same_for_the_same_files_whatever_was_there_before(tmp_path: Path) -> None:
    write_files(FIRST, str(tmp_path / "one"))
    for name in ("one", "two"):
        write_files(SECOND, str(tmp_path / name))
    assert (tmp_path / "one" / MANIFEST).read_bytes() == (tmp_path / "two" / MANIFEST).read_bytes()


def test_a_report_that_is_cut_off_leaves_no_file_that_nobody_knows_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files({"a.md": b"a"}, str(tmp_path / "report"))
    original = Path.replace

    def cut_off(path: Path, target: Path) -> Path:
        if path.name == "report.html":
            raise OSError(5, "Input/output error")
        return original(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", cut_off)
        with pytest.raises(UserError, match="Input/output error"):
            write_files(FIRST, str(tmp_path / "report"))
    write_files({"b.md": b"b"}, str(tmp_path / "report"))
    assert files_in(tmp_path / "report") == {"b.md": b"b"}


def test_a_url_is_cleaned_as_a_folder_is() -> None:
    memory = fsspec.filesystem("memory")
    write_files(FIRST, "memory://publish/report")
    write_files(SECOND, "memory://publish/report")
    found = {path.removeprefix("/publish/report/") for path in memory.find("/publish/report")}
    assert found == {*SECOND, MANIFEST}
