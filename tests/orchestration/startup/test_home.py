"""A user without a home: nothing fails that does not need one, and what does names the variable to set."""

from __future__ import annotations

import hashlib
import os
import pwd
from pathlib import Path

import fsspec
import pytest

from dfm_core.catalog.weight_files import NeededFile
from orchestration.artifacts.samples.latents import latent_cache
from orchestration.cluster.token_file import ensure_token, read_token
from orchestration.common.errors import UserError
from orchestration.config.files import FileConfig
from orchestration.config.storage_root import resolve_root
from orchestration.config.workers import WorkersConfig
from orchestration.data.file_cache import FileCache
from orchestration.sweep import main
from tests.orchestration.conftest import QUICKSTART

CONTENT = b"weights"
FILE = FileConfig("memory://home/x.pt", hashlib.sha256(CONTENT).hexdigest())


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run as a container's user whom no list of users knows."""

    def unknown(_uid: int) -> None:
        raise KeyError("uid not found")

    for name in ("HOME", "XDG_CACHE_HOME", "DFM_CACHE_DIR", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)


@pytest.mark.usefixtures("homeless")
def test_planning_needs_no_home(tmp_path: Path) -> None:
    assert main([str(QUICKSTART), "--dry-run", f"storage.root={tmp_path}/runs"]) == 0


@pytest.mark.usefixtures("homeless")
def test_a_place_in_a_home_that_is_not_there_names_what_to_set(tmp_path: Path) -> None:
    with fsspec.open(FILE.path, "wb") as file:
        file.write(CONTENT)
    assert FileCache().problem(FILE, NeededFile("weights", "x.pt", "somewhere")) is None
    with pytest.raises(UserError, match=r"^DFM_CACHE_DIR: .*there is no such home"):
        FileCache().local_path(FILE)
    with pytest.raises(UserError, match=r"^DFM_CACHE_DIR: .*there is no such home"):
        latent_cache(WorkersConfig())
    assert read_token(os.environ) == ""
    with pytest.raises(UserError, match=r"^RAY_AUTH_TOKEN_PATH: .*there is no such home"):
        ensure_token(os.environ)
    with pytest.raises(UserError, match=r"^storage.root: '~/runs': there is no such home"):
        resolve_root("~/runs", "runs", {}, tmp_path)


@pytest.mark.usefixtures("homeless")
def test_what_the_message_names_is_obeyed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with fsspec.open(FILE.path, "wb") as file:
        file.write(CONTENT)
    monkeypatch.setenv("DFM_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    assert FileCache().local_path(FILE).read_bytes() == CONTENT
    assert latent_cache(WorkersConfig()).folder == tmp_path / "cache" / "latents"
    ensure_token(os.environ)
    assert read_token(os.environ)


def test_a_home_that_cannot_be_written_names_what_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "home").write_text("a file: nobody can write below it, not even root", encoding="utf-8")
    for name in ("XDG_CACHE_HOME", "DFM_CACHE_DIR", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with fsspec.open(FILE.path, "wb") as file:
        file.write(CONTENT)
    for use, variable in (
        (lambda: FileCache().local_path(FILE), "DFM_CACHE_DIR"),
        (lambda: latent_cache(WorkersConfig()), "DFM_CACHE_DIR"),
        (lambda: ensure_token(os.environ), "RAY_AUTH_TOKEN_PATH"),
    ):
        with pytest.raises(UserError, match=variable):
            use()
