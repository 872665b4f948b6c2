"""Small sweeps, and a store to run them in."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestration.storage import Store

ROOT = Path(__file__).resolve().parents[2]
QUICKSTART = ROOT / "sweeps" / "quickstart.yaml"

TINY = (
    "model.size=nano",
    "training.steps=12",
    "training.batch_size=8",
    "training.warmup_steps=3",
    "evaluation.at_steps=[4, 12]",
    "evaluation.num_samples=40",
    "workers.checkpoint_every=4",
    "workers.log_every=1",
)
"""Overrides that shrink the quickstart to seconds of work; the tasks, and how they hang together, stay."""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))
