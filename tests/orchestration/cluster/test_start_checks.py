"""Causes that keep Ray from starting on this machine are told before it is tried."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray._private.utils import validate_socket_filepath

from orchestration.cluster.start_checks import cache_problems, folder_problems, interpreter_problems, upload_problems
from orchestration.common.project import ROOT

PID = 4194304
"""The longest that Linux gives out."""


@pytest.fixture
def short_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="s", dir="/tmp") as folder:
        yield Path(folder)


@pytest.mark.parametrize(
    "executable", ["/home/a b/.venv/bin/python", "/x/it's/python", "/x/$HOME/python", "/x/a;b/python"]
)
def test_an_interpreter_whose_path_a_shell_would_take_apart_is_refused(executable: str) -> None:
    (problem,) = interpreter_problems(executable)
    assert problem.where == executable
    assert "make the virtual environment in a place without spaces" in problem.message


@pytest.mark.parametrize(
    "executable", ["/home/a/.venv/bin/python", "/opt/größer_1.2+x@y/python3.11", "/a,b=c:d/python"]
)
def test_other_interpreters_are_taken(executable: str) -> None:
    assert not list(interpreter_problems(executable))


@pytest.mark.parametrize("variable", ["RAY_TMPDIR", "TMPDIR"])
def test_a_folder_is_refused_from_the_length_on_at_which_ray_refuses_it(short_folder: Path, variable: str) -> None:
    socket = "ray/session_2026-11-29_06-12-02_965470_4194304/sockets/plasma_store"
    for length in range(30, 60):
        place = short_folder / ("x" * (length - len(str(short_folder)) - 1))
        place.mkdir()
        problems = list(folder_problems({variable: str(place)}, PID))
        try:
            validate_socket_filepath(str(place / socket))
        except OSError:
            (problem,) = problems
            assert problem.where == f"{variable}={place}"
            assert "set RAY_TMPDIR to a folder whose path has at most 39 bytes" in problem.message
        else:
            assert not problems


def test_bytes_count_and_not_characters(short_folder: Path) -> None:
    place = short_folder / ("ö" * 20)
    place.mkdir()
    assert list(folder_problems({"TMPDIR": str(place)}, PID))


def test_rays_own_variable_is_asked_first(short_folder: Path) -> None:
    assert not list(folder_problems({"TMPDIR": "/" + "x" * 90, "RAY_TMPDIR": str(short_folder)}, PID))


@pytest.mark.parametrize("variable", ["TORCH_EXTENSIONS_DIR", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"])
def test_a_cache_that_cannot_be_written_is_told_by_its_variable(short_folder: Path, variable: str) -> None:
    (short_folder / "file").write_text("")
    (problem,) = cache_problems({variable: str(short_folder / "file" / "cache")})
    assert problem.where == f"{variable}={short_folder}/file/cache"
    assert f"{short_folder}/file belongs to" in problem.message
    assert not list(cache_problems({variable: str(short_folder / "not" / "there yet")}))
    assert not list(cache_problems({variable: ""}))


@pytest.mark.parametrize("relative", ["", "tmp"])
def test_a_relative_folder_is_refused(relative: str) -> None:
    (problem,) = folder_problems({"TMPDIR": relative}, PID)
    assert "give an absolute path" in problem.message


def test_a_folder_of_somebody_else_is_refused_with_its_owner(
    short_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = short_folder / "ray"
    theirs.mkdir()
    monkeypatch.setattr(os, "access", lambda place, _: place != theirs)  # root may write everywhere
    (problem,) = folder_problems({"TMPDIR": str(short_folder)}, PID)
    assert f"{theirs} belongs to {theirs.owner()}. Set RAY_TMPDIR to a folder of your own" in problem.message


def test_a_file_in_the_place_of_the_folder_is_refused(short_folder: Path) -> None:
    (short_folder / "file").touch()
    (problem,) = folder_problems({"TMPDIR": str(short_folder / "file")}, PID)
    assert f"{short_folder}/file belongs to" in problem.message


def test_a_folder_that_ray_can_make_is_taken(short_folder: Path) -> None:
    assert not list(folder_problems({"TMPDIR": str(short_folder / "new")}, PID))


def test_a_checkout_that_ray_would_refuse_is_refused_with_its_largest_folders(tmp_path: Path) -> None:
    sizes = {"data/a/pictures.bin": 400, "data/b.bin": 299, "notes/x": 30, "code.py": 1, "runs/y": 900, "old/z": 900}
    for name, mebibytes in sizes.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        with (tmp_path / name).open("wb") as file:
            file.truncate(mebibytes * 2**20)  # takes no space on disk
    (tmp_path / ".rayignore").write_text("runs/\n")
    (tmp_path / ".gitignore").write_text("/old/\n")
    (problem,) = upload_problems(tmp_path)
    assert problem.message.startswith("730 MiB would go to the cluster with each job, and Ray takes 512.")
    assert problem.message.endswith(
        "name it in .rayignore; the largest: data (699 MiB), notes (30 MiB), code.py (1 MiB)"
    )
    (tmp_path / "data/a/pictures.bin").unlink()
    assert not list(upload_problems(tmp_path))


def test_this_checkout_travels() -> None:
    assert not list(upload_problems(ROOT))
