"""The token's file: whole, and for its owner alone."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orchestration.auth_token import main
from orchestration.cluster.token_file import ensure_token, read_token, token_file, write_token
from orchestration.common.errors import UserError


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_token_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    environment = {"RAY_AUTH_TOKEN_PATH": str(tmp_path / "deep" / "token")}
    ensure_token(environment)
    token = read_token(environment)
    assert len(token) == 64
    assert mode_of(token_file(environment)) == 0o600
    assert mode_of(tmp_path / "deep") == 0o700
    ensure_token(environment)
    assert read_token(environment) == token
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["token"]


def test_a_token_that_ray_left_readable_is_taken_from_the_others(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("ab" * 32)
    path.chmod(0o644)
    ensure_token({"RAY_AUTH_TOKEN_PATH": str(path)})
    assert mode_of(path) == 0o600
    assert path.read_text() == "ab" * 32


def test_of_many_that_start_at_once_all_use_one_token(tmp_path: Path) -> None:
    path = tmp_path / "token"
    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(lambda _: (write_token(path), path.read_text())[1], range(40)))
    assert set(seen) == {path.read_text()}


def test_a_token_in_the_environment_needs_no_file(tmp_path: Path) -> None:
    environment = {"RAY_AUTH_TOKEN": "ab" * 32, "RAY_AUTH_TOKEN_PATH": str(tmp_path / "none")}
    ensure_token(environment)
    assert read_token(environment) == "ab" * 32
    assert not list(tmp_path.iterdir())


def test_by_default_it_is_where_ray_looks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert token_file({}) == tmp_path / ".ray" / "auth_token"
    assert read_token({}) == ""


def test_a_place_that_takes_no_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot keep a token there.*RAY_AUTH_TOKEN_PATH"):
        ensure_token({"RAY_AUTH_TOKEN_PATH": str(tmp_path / "file" / "token")})


def test_the_command_says_where_it_is_and_not_what(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    assert main() == 0
    assert capsys.readouterr().out == f"The token is in {tmp_path / 'token'}, mode 0600.\n"
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token" / "below"))
    assert main() == 2
