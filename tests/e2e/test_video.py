"""A sweep on videos, from the file to the report, with clips that people can look at."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dfm_core.autoencoders.registry import load_autoencoder
from dfm_core.catalog.datasets import DATASETS
from dfm_core.data.files.clips import ClipSpec, decode_clip
from dfm_core.pipeline import DFMPipeline
from dfm_core.video_files import export_to_gif, export_to_video
from tests.support.dataset_files import clip
from tests.support.sweeps import python
from tests.support.tiny_autoencoders import save_cogvideox

NANO = (
    "model.size=nano",
    "training.steps=20",
    "training.batch_size=8",
    "evaluation.num_samples=40",
    "evaluation.bootstrap_replicates=20",
    "workers.checkpoint_every=10",
    "compute.allow_unequal=true",  # of 20 steps one is 5%
)
CARD = DATASETS["moving_fashion"]


@pytest.mark.slow
@pytest.mark.timeout(1600)
def test_four_paradigms_are_compared_on_videos_from_the_file_to_the_report(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    arguments = ("orchestration/sweep.py", "sweeps/video_small.yaml", f"storage.root={root}", *NANO)
    done = python(*arguments, seconds=1500)  # it looks at 30,000 frames of real clips
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


SIDE, FRAMES, NUM_CLIPS = 32, 9, 12
_FLOW_MATCHING = (
    "{paradigm: flow_matching, decomposition: {name: identity, resolutions: [4]}, model: {patch_sizes: [2]}, "
    "sampling: {steps: [4], tau: []}}"
)
LATENTS = (
    "model.patch_sizes=[1, 2]",
    "decomposition.resolutions=[2, 4]",  # of latents: an eighth of each side, and (9 - 1) / 4 + 1 frames
    f"data={{dataset: squares, side: {SIDE}, frames: {FRAMES}, autoencoder: tiny, mirrored: true, standardize: true}}",
    "evaluation.metrics=[fd_lite0_block10, fd_lite0_changes]",
    "workers.evaluation_batch_size=10",
    f"parts={{paradigm: {{rows: {{flow_matching: {_FLOW_MATCHING}, DFM: {{sampling: {{steps: [3, 1]}}}}}}}}}}",
)


def write_clips(folder: Path) -> None:
    """Squares of one colour a class that cross a dark frame, each file its own way."""
    for number, (name, colour) in enumerate({"red": (220, 40, 40), "blue": (40, 60, 220)}.items()):
        (folder / name).mkdir(parents=True)
        for at in range(NUM_CLIPS):
            generator = np.random.default_rng(100 * number + at)
            corner, speed = generator.uniform(0, 20, 2), generator.uniform(-1.5, 1.5, 2)
            frames = []
            for frame in range(FRAMES + 2):
                y, x = np.clip(corner + speed * frame, 0, SIDE - 12).astype(int)
                picture = np.full((SIDE, SIDE + 16, 3), 20, np.uint8)
                picture[y : y + 12, 8 + x : 20 + x] = colour
                frames.append(picture)
            (folder / name / f"{at:02}.mp4").write_bytes(clip(frames))


@pytest.mark.slow
def test_clips_become_latents_that_are_trained_on_sampled_decoded_and_measured(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    write_clips(tmp_path / "clips")
    files = (
        f"datasets.squares.files={tmp_path / 'clips'}",
        f"autoencoders.tiny={{kind: cogvideox, files: {save_cogvideox(tmp_path / 'vae')}}}",
    )
    command = ("orchestration/sweep.py", "sweeps/video_small.yaml", f"storage.root={root}", *NANO, *LATENTS, *files)
    done = python(*command)
    assert done.returncode == 0, done.stdout + done.stderr
    with (root / "reports" / "video_small" / "table.csv").open() as file:
        cells = list(csv.DictReader(file))
    assert {(cell["row"], cell["metric"]) for cell in cells} == {
        (row, metric) for row in ("flow_matching", "DFM") for metric in ("fd_lite0_block10", "fd_lite0_changes")
    }
    assert {cell["status"] for cell in cells} == {"done"}
    assert all(float(cell["value"]) > 0.0 for cell in cells)
    records = {path.parent: json.loads(path.read_text()) for path in root.glob("results/*/result.json")}
    encoded = [record for record in records.values() if record["kind"] == "encode"]
    # The clips with their flips as latents, and as pixels for what they are held against.
    assert sorted(record["metrics"]["num_samples"] for record in encoded) == [2 * NUM_CLIPS, 4 * NUM_CLIPS]
    measured = [folder for folder, record in records.items() if record["kind"] == "evaluate"]
    assert len(measured) == 2
    for folder in measured:
        grid = Image.open(folder / "samples.gif")
        assert grid.n_frames == FRAMES
        assert len(np.unique(np.asarray(grid.convert("RGB")))) > 50  # decoded clips, not a blank page
    snapshots = {path.parent: json.loads(path.read_text()) for path in root.glob("snapshots/*/step-*/snapshot.json")}
    (snapshot,) = (folder for folder, card in snapshots.items() if card["config"]["paradigm"] == "dfm")
    pipe = DFMPipeline.from_pretrained(snapshot, load_autoencoder("cogvideox", tmp_path / "vae"))
    (video,) = pipe([1]).images
    assert [frame.size for frame in video] == [(SIDE, SIDE)] * FRAMES
    assert Image.open(export_to_gif(video, tmp_path / "clip.gif")).n_frames == FRAMES
    mp4 = export_to_video(video, tmp_path / "clip.mp4").read_bytes()
    shown = np.stack([np.asarray(frame) for frame in video])
    assert np.abs(decode_clip(mp4, ClipSpec(FRAMES, SIDE)).astype(int) - shown).mean() < 12  # what the codec loses
    again = python(*command, "--dry-run")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "7 tasks are done or not needed, 0 to do" in again.stdout
