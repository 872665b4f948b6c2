"""Addresses in published plans, whose writers can put anything there."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.errors import TrackingUnreachableError
from analysis.tracking.address import check_reachable, run_url, ui_command, without_password


@pytest.mark.parametrize("uri", ["http://[bad", "http://host:99999", "postgresql://host:port/name", "sqlite:///\0"])
def test_what_is_no_address_is_unreachable_and_can_be_shown(uri: str) -> None:
    with pytest.raises(TrackingUnreachableError):
        check_reachable(uri)
    assert without_password(uri) == uri
    assert isinstance(run_url(uri, "1", "r"), str)
    assert ui_command(uri) is None or uri in str(ui_command(uri))


@pytest.mark.parametrize("name", ["a?b", "a#b", "a%2Fb", "a b"])
def test_a_database_is_found_by_its_url_whatever_its_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"{name}.db"
    path.touch()
    check_reachable(f"sqlite:///{path.as_uri().removeprefix('file://')}")


def test_a_server_is_one_in_any_case() -> None:
    assert run_url("HTTP://Host:5000/", "1", "r") == "http://Host:5000/#/experiments/1/runs/r"
    assert ui_command("HTTPS://host") is None
