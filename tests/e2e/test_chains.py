"""Trainings that read what other tasks made: experts from each other, and scales of a fitted decomposition."""

from __future__ import annotations

from pathlib import Path

import pytest

from dfm_core import DFMPipeline
from tests.support.sweeps import numbers, run

PARTS = (
    "parts={p: {rows: {learned: {decomposition: {name: learned, fit.steps: 20}}, "
    "experts: {experts.steps: [12, 8], evaluation.at_steps: []}}}}"
)


@pytest.mark.slow
def test_a_learned_decomposition_and_experts_run_to_their_table(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    done = run(root, "training.steps=20", "evaluation.at_steps=[20]", PARTS)
    assert done.returncode == 0, done.stdout + done.stderr
    values = numbers(root)
    assert {row for row, _, _ in values} == {"learned", "experts"}
    assert all(float(value) >= 0 for value in values.values())
    fitted = list(root.glob("snapshots/*/step-*/pyramid.safetensors"))
    assert len(fitted) == 1  # the learned row's only snapshot carries the weights of its decomposition
    pipe = DFMPipeline.from_pretrained(fitted[0].parent)
    pipe.set_progress_bar_config(disable=True)
    assert pipe([0, 1], output_type="pt").images.shape == (2, 1, 32, 32)
    again = run(root, "training.steps=20", "evaluation.at_steps=[20]", PARTS)
    assert "Everything is done already" in again.stdout
