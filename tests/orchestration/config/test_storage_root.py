"""The place of the storage, and the check that it can be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestration.common.errors import UserError
from orchestration.config import storage_root
from orchestration.config.storage import StorageConfig
from orchestration.config.storage_root import check_usable, refuse_closed_folders, resolve_root
from orchestration.storage.layout import FOLDERS
from orchestration.storage.store import Store


def test_storage_that_cannot_be_written_is_a_users_mistake(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(UserError, match="cannot write to"):
        check_usable(StorageConfig(str(blocked / "store")), writable=True)


def test_certificates_that_are_not_there_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    monkeypatch.setenv("AWS_CA_BUNDLE", "/gone/ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(blocked))
    with pytest.raises(UserError, match=r"; AWS_CA_BUNDLE=/gone/ca.pem is not there: correct it, or unset it\)$"):
        check_usable(StorageConfig(str(blocked / "store")), writable=True)


def test_a_relative_root_is_taken_from_where_the_user_is(tmp_path: Path) -> None:
    assert resolve_root("runs", "runs", {}, tmp_path) == str(tmp_path / "runs")


def test_the_environment_names_the_root_where_the_sweep_does_not(tmp_path: Path) -> None:
    environment = {"DFM_STORAGE_ROOT": "/data/runs"}
    assert resolve_root("runs", "runs", environment, tmp_path) == "/data/runs"
    assert resolve_root("/mine", "runs", environment, tmp_path) == "/mine"


def test_a_relative_root_inside_a_ray_job_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="relative, but inside a Ray job"):
        resolve_root("runs", "runs", {"RAY_JOB_CONFIG_JSON_ENV_VAR": "{}"}, tmp_path)


def test_a_url_keeps_its_slashes(tmp_path: Path) -> None:
    assert resolve_root("s3://bucket/prefix/", "runs", {}, tmp_path) == "s3://bucket/prefix"
    assert resolve_root("S3://Bucket/prefix/", "runs", {}, tmp_path) == "s3://Bucket/prefix"


@pytest.mark.parametrize("root", ["s3://", "://", "s3:///", "/", "//", "///"])
def test_a_root_that_names_no_place_is_refused(tmp_path: Path, root: str) -> None:
    with pytest.raises(UserError, match="names no place"):
        resolve_root(root, "runs", {}, tmp_path)


def test_a_tilde_is_the_users_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    assert resolve_root("~/runs", "runs", {}, tmp_path) == "/home/somebody/runs"


@pytest.mark.parametrize("root", ["/data/a::b", "memory::s3://bucket/x", "runs::x"])
def test_a_root_that_fsspec_would_take_for_several_is_refused(tmp_path: Path, root: str) -> None:
    with pytest.raises(UserError, match=r"storage\.root: .* holds '::', by which fsspec chains file systems"):
        resolve_root(root, "runs", {}, tmp_path)


def test_an_empty_variable_is_none(tmp_path: Path) -> None:
    assert resolve_root("runs", "runs", {"DFM_STORAGE_ROOT": ""}, tmp_path) == str(tmp_path / "runs")


@pytest.mark.parametrize(
    ("root", "message"),
    [
        (" ", "begins or ends with a space"),
        ("/data/runs\n", "begins or ends with a space or line break"),
        ('"/data/runs"', "begins with a quote, as env files leave it"),
        ("s3:/bucket/dfm", r"is no URL: those have '://'.*a folder of this name is './s3:/bucket/dfm'"),
        ("file:/data/runs", "is no URL"),
        ("host:/export/runs", "is no URL"),
        ("C:\\runs", "is no URL"),
    ],
)
def test_a_slip_of_the_pen_makes_no_folder_here(tmp_path: Path, root: str, message: str) -> None:
    with pytest.raises(UserError, match=rf"(?s)DFM_STORAGE_ROOT: .* {message}"):
        resolve_root("runs", "runs", {"DFM_STORAGE_ROOT": root}, tmp_path)
    with pytest.raises(UserError, match=rf"(?s)storage\.root: .* {message}"):
        resolve_root(root, "runs", {}, tmp_path)
    assert resolve_root("./a:b", "runs", {}, tmp_path) == str(tmp_path / "a:b")


def test_the_memory_of_one_process_is_no_storage(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is the memory of one process"):
        resolve_root("memory://runs", "runs", {}, tmp_path)


def test_folders_that_only_their_owner_writes_to_are_named(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in FOLDERS[:-1]:
        store.write(f"{name}/x", b"")
    refuse_closed_folders(store, FOLDERS)
    of_others = {Path(store.root) / name for name in ("plans", "results", "provenance")}
    monkeypatch.setattr(storage_root.os, "access", lambda place, _: place not in of_others)
    with pytest.raises(
        UserError, match=r": you cannot write to its plans, results: have their owner open them \(chmod"
    ):
        refuse_closed_folders(store, FOLDERS)
