"""The place of the storage, and the check that it can be used."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from orchestration.common.errors import UserError
from orchestration.config import storage_root
from orchestration.config.storage import StorageConfig
from orchestration.config.storage_root import check_usable, refuse_closed_folders, resolve_root, unwritable
from orchestration.storage.layout import FOLDERS
from orchestration.storage.store import Store
from tests.support.s3 import make_bucket, options


def test_storage_that_cannot_be_written_is_a_users_mistake(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    for writable in (True, False):
        with pytest.raises(
            UserError, match=rf"^storage\.root: {blocked / 'store'}: {blocked} is a file; give a folder$"
        ):
            check_usable(StorageConfig(str(blocked / "store")), writable=writable)
    with pytest.raises(UserError, match="cannot write to /proc/runs"):
        check_usable(StorageConfig("/proc/runs"), writable=True)


def test_certificates_that_are_not_there_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = tmp_path / "file"
    there.write_text("certificates")
    monkeypatch.setenv("AWS_CA_BUNDLE", "/gone/ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(there))
    with pytest.raises(UserError, match=r"; AWS_CA_BUNDLE=/gone/ca.pem is not there: correct it, or unset it\)$"):
        check_usable(StorageConfig("/proc/runs"), writable=True)


@pytest.mark.parametrize("writable", [True, False])
def test_a_bucket_that_is_not_there_is_named(s3_endpoint: str, writable: bool) -> None:
    config = StorageConfig("s3://nobody-made-it/deep/runs", dict(options(s3_endpoint)))
    with pytest.raises(UserError, match=r"^storage\.root: there is no bucket s3://nobody-made-it: make it, or correct"):
        check_usable(config, writable=writable)
    there = replace(config, root=f"s3://{make_bucket(s3_endpoint)}/deep/runs")
    check_usable(there, writable=writable)


def test_missing_credentials_are_told_with_the_way_to_give_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(UserError, match="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write a profile"):
        check_usable(StorageConfig("s3://bucket/runs", {"endpoint_url": "http://127.0.0.1:1"}), writable=False)


def test_a_plan_says_that_a_root_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(str(tmp_path / "not" / "made" / "yet"))
    assert list(unwritable(store)) == []
    monkeypatch.setattr(storage_root.os, "access", lambda place, _mode: place != tmp_path)
    (problem,) = unwritable(store)
    assert f"you cannot write to {tmp_path}" in problem.message


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
