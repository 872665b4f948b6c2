"""Tracking addresses as people give them: absolute, compared by their parts, blamed on what gave them."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestration.common.errors import UserError
from orchestration.config.ray_job import JOB_VARIABLE
from orchestration.storage.library_database import is_complete, sqlite_file
from orchestration.storage.store import Store
from orchestration.tracking.sqlite_database import ensure_database
from orchestration.tracking.uri import VARIABLE, artifact_location, ask_server, resolve_uri, uri_source


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("sqlite:///mlflow.db", "sqlite:///{here}/mlflow.db"),
        ("sqlite:///a%20b.db?timeout=5", "sqlite:///{here}/a b.db?timeout=5"),
        ("SQLite:///mlflow.db", "sqlite:///{here}/mlflow.db"),
        ("sqlite:////data/mlflow.db", "sqlite:////data/mlflow.db"),
        ("./mlruns", "file://{here}/mlruns"),
        ("mlruns", "file://{here}/mlruns"),
        ("file:mlruns", "file://{here}/mlruns"),
        ("/data/ml runs", "file:///data/ml%20runs"),
        ("HTTPS://Host/", "https://Host/"),
        ("postgresql+psycopg://me@host/mlflow", "postgresql+psycopg://me@host/mlflow"),
        ("databricks", "databricks"),
    ],
)
def test_a_relative_address_is_absolute_in_the_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    store, absolute = Store(str(tmp_path)), expected.format(here=tmp_path)
    assert resolve_uri(given, store, {}) == absolute
    assert resolve_uri(None, store, {VARIABLE: given}) == absolute


@pytest.mark.parametrize("given", ["sqlite:///mlflow.db", "sqlite+pysqlite:///mlflow.db", "./mlruns", "file:mlruns"])
def test_a_relative_address_in_a_ray_job_is_blamed_on_what_gave_it(tmp_path: Path, given: str) -> None:
    job, store = {JOB_VARIABLE: "{}"}, Store(str(tmp_path))
    with pytest.raises(UserError, match=r"^tracking\.uri: .* is relative"):
        resolve_uri(given, store, job)
    with pytest.raises(UserError, match=r"^MLFLOW_TRACKING_URI: .* is relative"):
        resolve_uri(None, store, {**job, VARIABLE: given})
    assert resolve_uri("sqlite:////data/mlflow.db", store, job) == "sqlite:////data/mlflow.db"


@pytest.mark.parametrize("given", ["HTTP://10.0.0.1:5000", "http://localhost.evil.org.", "Http://[::2]"])
def test_a_server_elsewhere_is_noticed_however_it_is_written(tmp_path: Path, given: str) -> None:
    with pytest.raises(UserError, match=r"^MLFLOW_TRACKING_URI: .* in clear"):
        resolve_uri(None, Store(str(tmp_path)), {VARIABLE: given})
    for here in ("HTTP://LOCALHOST:5000", "http://localhost.:5000", "http://127.0.0.1:5000/"):
        assert resolve_uri(here, Store(str(tmp_path)), {}) == f"http{here[4:]}"


@pytest.mark.parametrize("given", ["mlflow.example.org", "mlflow.example.org:5000/x", "localhost:5000", "10.0.0.7/ml"])
def test_a_host_without_a_protocol_makes_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f"write https://{given} for a server, ./{given} for a folder"):
        resolve_uri(given, Store(str(tmp_path)), {})
    if ":" not in given:
        (tmp_path / given).mkdir(parents=True)
        assert resolve_uri(given, Store(str(tmp_path)), {}).endswith(given)


def test_beside_a_remote_root_a_server_is_asked_for(s3_endpoint: str) -> None:
    store = Store("s3://bucket/dfm", {"endpoint_url": s3_endpoint})
    with pytest.raises(UserError, match=r"cannot lie in s3://bucket/dfm: give tracking.uri=https://.*MLFLOW_TRACKING"):
        resolve_uri(None, store, {})


def test_what_is_no_address_is_a_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^tracking\.uri: 'http://\[bad' is no address"):
        resolve_uri("http://[bad", Store(str(tmp_path)), {})
    assert uri_source("", {VARIABLE: "x"}) == VARIABLE
    assert uri_source("y", {VARIABLE: "x"}) == uri_source(None, {}) == "tracking.uri"


@pytest.mark.parametrize("name", ["a?b", "a%2Fb", "a#b&c=d", "a b:c@d", "größe"])
def test_a_database_lies_under_its_root_whatever_the_roots_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    store = Store(str(tmp_path / name))
    uri = resolve_uri(None, store, {})
    assert sqlite_file(uri) == tmp_path / name / "mlflow.db"
    assert ask_server(uri) is None
    ensure_database(uri, store, "sweep")
    assert is_complete(tmp_path / name / "mlflow.db")
    assert ask_server(uri) is not None
    assert artifact_location(uri, store) == (tmp_path / name / "mlflow-artifacts").as_uri()
    assert [entry.name for entry in tmp_path.iterdir()] == [name]
