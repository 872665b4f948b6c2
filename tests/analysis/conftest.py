"""An empty MLflow database for each test; its tables are made once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.support.plans import Database


@pytest.fixture(scope="session")
def _empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mlflow") / "empty.db"
    MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def database(_empty_database: Path, tmp_path: Path) -> Database:
    path = tmp_path / "mlflow.db"
    shutil.copy(_empty_database, path)
    return Database(path)
