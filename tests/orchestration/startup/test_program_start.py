"""Programs start in shells whose settings would break the libraries that they use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.orchestration.conftest import QUICKSTART, ROOT

_START = "from orchestration.startup.program_start import prepare_program; prepare_program(); "


def python(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    return subprocess.run(
        [sys.executable, "-c", _START + code], env=environment, capture_output=True, text=True, check=False, timeout=240
    )


@pytest.mark.parametrize("setting", ["error", "default,error::DeprecationWarning"])
def test_warnings_of_libraries_are_no_errors_here_nor_in_what_is_started(setting: str) -> None:
    warn = "import warnings; warnings.warn('old', DeprecationWarning); print('went on')"
    done = python(f"import os; print(os.environ.get('PYTHONWARNINGS')); {warn}", PYTHONWARNINGS=setting)
    assert done.stdout.splitlines() == ["None", "went on"], done.stderr


def test_other_settings_of_warnings_stay() -> None:
    assert python("import os; print(os.environ['PYTHONWARNINGS'])", PYTHONWARNINGS="ignore").stdout == "ignore\n"


def test_trainings_have_the_version_of_ray_train_that_they_are_written_for() -> None:
    ask = "from ray.train.v2._internal.constants import is_v2_enabled; print(is_v2_enabled())"
    assert python(ask, RAY_TRAIN_V2_ENABLED="0").stdout == "True\n"


def test_tune_starts_whatever_it_does_not_read_any_more() -> None:
    start = "from ray import tune; tune.run(None, mode='neither')"  # it looks at its variables first, then at the mode
    done = python(start, TUNE_RESULT_DIR="/results", RAY_AIR_LOCAL_CACHE_DIR="/results", RAY_ADDRESS="local")
    assert "ValueError: The `mode` parameter" in done.stderr
    assert "DeprecationWarning" not in done.stderr
    assert "is deprecated" not in done.stderr


def test_convolutions_have_the_digits_of_fp32_whatever_onednn_is_told() -> None:
    ask = (
        "import torch; torch.manual_seed(0); x, w = torch.randn(2, 64, 32, 32), torch.randn(64, 64, 3, 3); "
        "f = torch.nn.functional.conv2d; print((f(x, w) - f(x.double(), w.double())).abs().max().item())"
    )
    done = python(ask, ONEDNN_DEFAULT_FPMATH_MODE="BF16", DNNL_DEFAULT_FPMATH_MODE="ANY")
    assert float(done.stdout) < 1e-3, done.stderr  # 0.28 in bf16, on processors that have it


@pytest.mark.parametrize(
    "program", ["orchestration/sweep.py", "orchestration/measure.py", "orchestration/reproduce.py"]
)
def test_a_working_directory_that_is_gone_is_one_mistake(tmp_path: Path, program: str) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    command = f'rmdir "{gone}"; exec "{sys.executable}" "{ROOT / program}" "{QUICKSTART}" --dry-run'
    done = subprocess.run(["sh", "-c", command], cwd=gone, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("1 mistake; nothing was started:\n  working directory: it no longer exists")
