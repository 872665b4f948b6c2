"""The sweep of docs/tutorials/own_images.md, from a folder of images to its table."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from PIL import Image

from tests.support.sweeps import ROOT, python

FEW = (
    "model.size=nano",
    "training.steps=20",
    "training.warmup_steps=2",
    "evaluation.num_samples=24",
    "evaluation.bootstrap_replicates=20",
    "workers.checkpoint_every=10",
    "compute.allow_unequal=true",  # of 20 steps one is 5%
)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_folder_of_images_becomes_a_table_as_the_page_says(tmp_path: Path) -> None:
    emoji, root = tmp_path / "emoji", tmp_path / "runs"
    assert python("examples/draw_emoji.py", str(emoji), "--limit", "120").returncode == 0
    lines = (ROOT / "sweeps" / "own_images.yaml").read_text().splitlines()
    (at,) = (number for number, line in enumerate(lines) if line.startswith("  mine: "))
    lines[at] = f"  mine: {{files: {emoji}/train, reference: {emoji}/test}}"
    mine = tmp_path / "mine.yaml"
    mine.write_text("\n".join(lines))

    done = python("orchestration/sweep.py", str(mine), f"storage.root={root}", *FEW, seconds=800)
    assert done.returncode == 0, done.stdout + done.stderr
    report = root / "reports" / "own_images"
    with (report / "table.csv").open(encoding="utf-8") as file:
        cells = list(csv.DictReader(file))
    assert {cell["row"] for cell in cells} == {"flow_matching", "dfm"}
    assert {cell["status"] for cell in cells} == {"done"}
    assert Image.open(report / "figures" / "samples-1-paradigm.png").width > 1000
