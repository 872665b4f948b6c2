"""A sweep on videos, from the file to the report, with clips that people can look at."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dfm_core.data.catalog import DATASETS
from dfm_core.pipeline import DFMPipeline
from tests.e2e.sweeps import python

NANO = (
    "model.size=nano",
    "training.steps=20",
    "training.batch_size=8",
    "evaluation.num_samples=40",
    "evaluation.bootstrap_replicates=5",
    "workers.checkpoint_every=10",
    "compute.allow_unequal=true",  # of 20 steps one is 5%
)
CARD = DATASETS["moving_fashion"]


@pytest.mark.slow
def test_four_paradigms_are_compared_on_videos_from_the_file_to_the_report(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    done = python("orchestration/sweep.py", "sweeps/video_small.yaml", f"storage.root={root}", *NANO)
    assert done.returncode == 0, done.stdout + done.stderr
    with (root / "reports" / "video_small" / "table.csv").open() as file:
        cells = list(csv.DictReader(file))
    assert {cell["row"] for cell in cells} == {"flow_matching", "cascaded", "pyramidal_flow", "DFM"}
    assert {cell["status"] for cell in cells} == {"done"}
    assert {cell["metric"] for cell in cells} == {"fd_lite0_block10", "fd_lite0_changes", "label_accuracy"}
    records = [json.loads(path.read_text()) for path in root.glob("results/*/result.json")]
    assert sorted({record["kind"] for record in records}) == ["evaluate", "floor", "probe", "reference", "train"]
    for record in records:
        if record["kind"] == "evaluate":
            folder = root / "results" / record["digest"]
            assert Image.open(io.BytesIO((folder / "samples.gif").read_bytes())).n_frames == CARD.frames
            strips = np.asarray(Image.open(folder / "samples_strips.png"))
            assert len(np.unique(strips)) > 50  # clips, not a blank page
    assert len(list(root.glob("mlflow-artifacts/**/samples.gif"))) == 4
    cards = {path.parent: json.loads(path.read_text()) for path in root.glob("snapshots/*/step-*/snapshot.json")}
    (snapshot,) = (folder for folder, card in cards.items() if card["config"]["paradigm"] == "dfm")
    (video,) = DFMPipeline.from_pretrained(snapshot)(["bag"]).images
    assert [frame.size for frame in video] == [(16, 16)] * (CARD.frames or 0)
