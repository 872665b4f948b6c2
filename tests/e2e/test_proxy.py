"""A sweep where everything has to go through a proxy: nothing on this machine does, whatever the user left out."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support import s3
from tests.support.mlflow_server import mlflow_server
from tests.support.proxies import deaf_proxy
from tests.support.sweeps import ONLY_DFM, ROOT, TIMEOUT_SECONDS, Where, environment, run

_SMALL = (ONLY_DFM, "training.steps=6", "evaluation={at_steps: [6], num_samples: 20}", "data.dataset=fashion_mnist")


def python(arguments: list[str], more: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env=environment() | more,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )


@pytest.mark.slow
def test_no_proxy_sees_ray_mlflow_storage_or_report_of_this_machine(tmp_path: Path) -> None:
    with (
        s3.moto_server() as endpoint,
        mlflow_server(f"sqlite:///{tmp_path}/mlflow.db", tmp_path, tmp_path / "artifacts") as tracking,
        deaf_proxy() as proxy,
    ):
        root = f"s3://{s3.make_bucket(endpoint)}/dfm"
        told = {**proxy.variables, **s3.variables(endpoint), "RAY_USAGE_STATS_ENABLED": "0"}
        doctor = python(["orchestration.doctor", "--storage", root, "--tracking", tracking], told)
        done = run(root, *_SMALL, f"tracking.uri={tracking}", where=Where(environment=told))
        again = python(["analysis", "sweeps/quickstart.yaml", "--storage", root], told)
    assert not proxy.asked, proxy.asked
    assert done.returncode == 0, done.stdout + done.stderr
    assert doctor.returncode == 0, doctor.stdout + doctor.stderr
    assert again.returncode == 0, again.stdout + again.stderr
    assert "warning" not in again.stderr  # MLflow was read too
