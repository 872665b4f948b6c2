"""Packages that only some sweeps need are found missing before one starts."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from orchestration.plan.missing_packages import missing_packages
from orchestration.plan.preflight import missing_inputs
from orchestration.spec.load import load_sweep
from tests.orchestration.conftest import QUICKSTART, ROOT

SMALL = ROOT / "sweeps" / "table4_small.yaml"
SEARCH = ROOT / "sweeps" / "search_small.yaml"


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python with what is always installed."""
    find_spec = importlib.util.find_spec
    extra = ("diffusers", "av", "psycopg", "MySQLdb", "pymysql", "transformers", "pynvml")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in extra else find_spec(name))


def told(path: Path, *overrides: str) -> list[str]:
    return [str(problem).removeprefix(f"{path}: ") for problem in missing_packages(load_sweep(path, overrides))]


@pytest.mark.usefixtures("bare")
def test_an_autoencoder_needs_diffusers() -> None:
    message = "autoencoders: the package diffusers is missing: pip install 'dfm-experiments[autoencoders]'"
    assert told(SMALL) == [message]
    assert any(message in str(problem) for problem in missing_inputs(load_sweep(SMALL)))


@pytest.mark.usefixtures("bare")
def test_the_users_clips_need_a_decoder(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.mp4").write_bytes(b"a clip")
    (tmp_path / "sweep.yaml").write_text(
        f"name: clips\nbase: {ROOT}/sweeps/base/fashion_mnist_small.yaml\ndatasets: {{mine: {{files: {tmp_path}}}}}\n"
        "data: {dataset: mine, side: 32, frames: 4}\nevaluation: {metrics: [fd_lite0_changes]}\n",
        encoding="utf-8",
    )
    expected = "datasets: the package av is missing: pip install 'dfm-experiments[video]'"
    assert expected in told(tmp_path / "sweep.yaml")


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize(
    ("uri", "missing"),
    [
        ("postgresql://me@host/db", "psycopg is missing: pip install 'psycopg[binary]'"),
        ("mysql://me@host/db", "MySQLdb is missing: pip install 'mysqlclient'"),
        ("mysql+pymysql://me@host/db", "pymysql is missing: pip install 'pymysql'"),
        ("sqlite:////tmp/x.db", ""),
        ("http://127.0.0.1:5000", ""),
    ],
)
def test_a_database_needs_its_driver(uri: str, missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = [f"tracking.uri: the package {missing}"] if missing else []
    assert told(QUICKSTART, f"tracking.uri={uri}") == expected
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert told(QUICKSTART) == expected
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    if "sql" in uri:
        found = told(SEARCH, f"search_storage={uri}")
        assert found == [message.replace("tracking.uri", "search_storage") for message in expected]


@pytest.mark.usefixtures("bare")
def test_a_sweep_that_needs_none_misses_none() -> None:
    assert told(QUICKSTART) == []


@pytest.mark.usefixtures("bare")
def test_system_metrics_of_gpus_need_nvidias_package() -> None:
    message = "tracking.system_metrics: the package pynvml is missing: pip install 'dfm-experiments[gpu]'"
    assert told(QUICKSTART, "tracking.system_metrics=true", "workers.use_gpu=true") == [message]
    assert told(QUICKSTART, "tracking.system_metrics=true") == []
