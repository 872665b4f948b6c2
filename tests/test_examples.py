"""The example, the documentation's snippets and the benchmarks run as they are; the longer ones are slow tests."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.clock import Clock

ROOT = Path(__file__).parents[1]


def python(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the example ran, with few steps and its documented output folder."""
    folder = tmp_path_factory.mktemp("example")
    script = str(ROOT / "examples" / "train_and_sample.py")
    done = python(script, "--steps", "2", "--output", "runs/example", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_example_leaves_a_snapshot_and_a_grid(folder: Path) -> None:
    names = {path.name for path in (folder / "runs" / "example").iterdir()}
    assert names == {"ema.safetensors", "snapshot.json", "samples.png"}
    grid = Image.open(folder / "runs" / "example" / "samples.png")
    assert grid.size == (4 * 10 * 32, 4 * 4 * 32)
    assert len(np.unique(np.asarray(grid))) > 100  # images, not a blank page


def test_the_snippets_of_the_page_run_one_after_the_other(folder: Path) -> None:
    snippets = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "library.md").read_text(), re.DOTALL)
    assert len(snippets) == 3
    done = python("-c", "\n".join(snippets), cwd=folder)
    assert done.returncode == 0, done.stderr
    assert Image.open(folder / "runs" / "example" / "coat.png").size == (32, 32)


def test_emoji_are_drawn_with_captions_and_the_small_table_3_is_planned_with_them(tmp_path: Path) -> None:
    done = python(str(ROOT / "examples" / "draw_emoji.py"), str(tmp_path / "emoji"), "--limit", "40", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    pictures = sorted((tmp_path / "emoji").rglob("*.png"))
    assert len(pictures) > 60
    for path in pictures:
        assert min(Image.open(path).size) >= 64
        words = path.with_suffix(".txt").read_text()
        assert words == f"{path.stem.replace('_', ' ')} on a {path.parent.name} background"
    trained, compared = ({path.stem for path in pictures if split in path.parts} for split in ("train", "test"))
    assert compared
    assert not trained & compared
    overrides = [
        f"datasets.emoji.{key}={tmp_path}/emoji/{part}" for key, part in (("files", "train"), ("reference", "test"))
    ]
    overrides += [f"datasets.emoji_colours.files={tmp_path}/emoji/train", "evaluation.num_samples=4"]
    overrides += [f"text_encoders.random.files={tmp_path}/emoji/text_encoders", "evaluation.kernel_subset_size=2"]
    overrides += ["evaluation.bootstrap_replicates=0", "evaluation.num_neighbours=1", "evaluation.inception_splits=1"]
    sweep = [str(ROOT / "orchestration" / "sweep.py"), str(ROOT / "sweeps" / "table3_small.yaml")]
    done = python(*sweep, *overrides, f"storage.root={tmp_path}/runs", "--dry-run", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "cannot run here yet" not in done.stdout

    own = [f"datasets.mine.{key}={tmp_path}/emoji/train" for key in ("files", "reference")]
    counts = [f"datasets.mine.{key}=null" for key in ("num_samples", "num_reference")]
    sweep = [str(ROOT / "orchestration" / "sweep.py"), str(ROOT / "sweeps" / "own_images.yaml")]
    options = [*own, *counts, "evaluation.num_samples=4", f"storage.root={tmp_path}/runs", "--dry-run"]
    done = python(*sweep, *options, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "cannot run here yet" not in done.stdout


@pytest.mark.slow
def test_the_benchmark_prints_a_row_for_each_contender(tmp_path: Path) -> None:
    size = ["--size", "nano", "--tokens", "16", "--batch", "2", "--threads", "1", "--rounds", "2"]
    rows = ["plain DiT (diffusers)", "DFM, two stages"]
    done = python(str(ROOT / "benchmarks" / "train_step.py"), *size, "--rows", *rows, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    cells = {line.split("│")[1].strip(): line.split("│")[2:-1] for line in done.stdout.splitlines() if "│" in line}
    assert set(rows) <= set(cells)
    gflop, milliseconds, _, ratio, fastest, share, _, peak = (cell.strip() for cell in cells["plain DiT (diffusers)"])
    assert float(cells["DFM, two stages"][6]) >= 0.0  # milliseconds that a step waits for the host
    assert float(ratio) == float(fastest) == 1.0
    assert min(float(milliseconds), float(share), float(peak), float(gflop)) >= 0.0


@pytest.mark.slow
def test_the_gpu_benchmark_is_rehearsed_on_a_cpu(tmp_path: Path) -> None:
    size = ["--device", "cpu", "--size", "nano", "--side", "16", "--batch", "2"]
    done = python(str(ROOT / "benchmarks" / "gpu.py"), *size, "--output", "gpu.jsonl", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (tmp_path / "gpu.jsonl").read_text().splitlines()]
    sections = {line["section"] for line in lines}
    assert sections >= {"machine", "parity", "steps", "attention", "sampling", "autoencoder", "dinov2"}
    assert not [line for line in lines if "skipped" in line or ("error" in line and line["section"] != "attention")]


def test_the_gpu_benchmark_skips_what_no_longer_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    gpu = importlib.import_module("gpu")
    clock, lines = Clock(), list[dict[str, object]]()
    monkeypatch.setattr(gpu, "time", clock)

    def section(seconds: float) -> Callable[[object], Iterator[dict[str, object]]]:
        def measure(_place: object) -> Iterator[dict[str, object]]:
            for number in range(3):
                clock.now += seconds
                yield {"number": number}

        return measure

    monkeypatch.setattr(
        gpu, "SECTIONS", {"short": (section(1), 10), "long": (section(40), 50), "last": (section(1), 5)}
    )
    gpu.run(gpu.Place("cpu", "nano", 16, 2), 80.0, lines.append)
    told = [(line["section"], line.get("number", line.get("skipped"))) for line in lines[1:]]
    assert told == [
        ("short", 0),
        ("short", 1),
        ("short", 2),
        ("long", 0),
        ("long", 1),
        ("long", "the rest of it: the time is over"),
        ("last", "-3 s are left, it may need 5"),
    ]


@pytest.mark.slow
def test_the_frechet_benchmark_prints_both_contenders_and_they_agree(tmp_path: Path) -> None:
    size = ["--dimensions", "24", "--samples", "60", "90", "--batch", "32", "--rounds", "2", "--clock", "cpu"]
    done = python(str(ROOT / "benchmarks" / "frechet.py"), *size, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in done.stdout.splitlines() if "│" in line]
    peer, ours = (row for row in rows if len(row) == 5)
    assert (peer[0], float(peer[2])) == ("scipy sqrtm of the product", 1.0)
    assert float(ours[4]) < 1e-8
    passes = [(name, int(samples)) for name, samples, *_ in (row for row in rows if len(row) == 4)]
    assert passes == [(name, n) for name in ("features kept, numpy.cov", "streamed") for n in (60, 90)]


def test_the_statistics_benchmark_prints_a_line_for_each_statement(tmp_path: Path) -> None:
    out = tmp_path / "statistics.md"
    out.write_text("Before.\n\n")
    script = str(ROOT / "benchmarks" / "significance.py")
    done = python(script, "--repetitions", "1", "--out", str(out), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = [line.split("|")[1:-1] for line in done.stdout.splitlines()[2:]]
    assert {len(row) for row in rows} == {4}
    assert {"false: some row separable", "power: 10% at a spread of 3%"} <= {row[0].strip() for row in rows}
    assert out.read_text().startswith("Before.\n\n| statement |")


@pytest.mark.slow
def test_the_benchmark_of_errors_prints_a_row_for_each_model_and_setting(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    features = {name: torch.randn(1200, 112, generator=generator) for name in ("train", "spoiled", "reference")}
    torch.save({name: (rows, torch.arange(1200) % 10) for name, rows in features.items()}, tmp_path / "features.pt")
    size = ["--sets", "5", "--with-errors", "2", "--pair-sets", "5", "--features", str(tmp_path / "features.pt")]
    done = python(str(ROOT / "benchmarks" / "metric_errors.py"), *size, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = [line.split("|")[1:-1] for line in done.stdout.splitlines() if line.startswith(("| 300", "| 1,000"))]
    assert len(rows) == 2 * 2 * 2 * 3  # tables, numbers of samples, labels, models and their difference
    assert all(float(cell.split()[0]) > 0 for row in rows for cell in row[3:])


@pytest.mark.slow
def test_the_sampling_sweep_prints_both_ways_and_that_they_agree(tmp_path: Path) -> None:
    size = ["--points", "2", "--samples", "12", "--size", "nano", "--real", "150", "--evaluators", "1"]
    done = python(str(ROOT / "benchmarks" / "sampling_sweep.py"), *size, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    cells = {line.split("│")[1].strip(): line.split("│")[2:-1] for line in done.stdout.splitlines() if "│" in line}
    apart, together = cells["one process a point"], cells["one sweep on a running Ray"]
    assert int(apart[2]) == (30 + 1) + (30 + 2)
    assert int(together[2]) == 30 + 1 + 2  # the first stage is made once
    assert float(apart[3]) == 1.0
    difference = float(done.stdout.split("in a distance is ")[1].split()[0].rstrip("."))
    assert difference < 1e-9


def test_the_stall_of_a_checkpoint_is_printed_for_every_storage_and_way(tmp_path: Path) -> None:
    size = ["--megabytes", "8", "--step-milliseconds", "5", "--steps", "2", "--rounds", "1"]
    fast = ["--bandwidth-megabytes", "100", "--latency-milliseconds", "1"]
    done = python(str(ROOT / "benchmarks" / "checkpoint_stall.py"), *size, *fast, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in done.stdout.splitlines() if "│" in line]
    ways = ["no checkpoint", "no checkpoint, again", "beside the training", "before it goes on"]
    assert [(row[0], row[2]) for row in rows] == [(place, way) for place in ("local directory", "S3") for way in ways]
    saves = {(row[0], row[2]): float(row[4]) for row in rows}
    assert saves["S3", "before it goes on"] > 8 / 100  # a save that waits takes at least what the network takes
    assert all(float(row[6]) == 0.0 for row in rows if row[2] == "no checkpoint")


@pytest.mark.slow
def test_state_goes_through_workers_in_shares_without_collectives(tmp_path: Path) -> None:
    worlds = ["--worlds", "2", "4", "--size", "S"]
    done = python(str(ROOT / "benchmarks" / "checkpoint_stall.py"), *worlds, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in done.stdout.splitlines() if "│" in line]
    assert [row[0] for row in rows] == [f"{world}-{stage}" for world in (2, 4) for stage in (1, 2, 3)]
    for writer, _, share, collectives, readers, _, memory, bits in rows:
        assert (collectives, readers, bits) == ("0", "6", "same"), writer
        assert float(share) <= 1.05, writer
        assert float(memory) <= 1.2, writer


@pytest.mark.slow
def test_the_overhead_of_trials_is_printed_for_ours_and_for_bare_tune(tmp_path: Path) -> None:
    few = ["--evaluations", "4", "--tune", "3", "--fresh", "0", "--trainings", "0", "--tune-trainings", "0"]
    done = python(str(ROOT / "benchmarks" / "sweep_overhead.py"), *few, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    cells = {line.split("│")[1].strip(): line.split("│")[2:-1] for line in done.stdout.splitlines() if "│" in line}
    ours, tune = cells["evaluations, ours"], cells["Tune, actors used again"]
    assert [int(row[0]) for row in (ours, tune)] == [4, 3]
    assert float(ours[1]) > float(ours[2]) > 0.0
    assert float(tune[3]) > 0.0


def test_the_planning_benchmark_prints_a_row_for_each_size(tmp_path: Path) -> None:
    done = python(str(ROOT / "benchmarks" / "planning.py"), "--trials", "4", "10", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines()[2:]]
    assert [row[:2] for row in rows] == [["4", "11"], ["9", "21"]]  # a training and an evaluation each, 3 for all
    assert all(float(both) >= float(planned) > 0.0 for _, _, planned, both, _ in rows)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_encoding_benchmark_prints_a_row_for_each_way(tmp_path: Path) -> None:
    """It asserts itself that no way loses an image."""
    few = ("--images", "8", "--side", "32", "--batch", "4", "--rounds", "1", "--encode-milliseconds", "1")
    done = python(str(ROOT / "benchmarks" / "encode.py"), *few, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for way in ("alternating", "ahead", "Ray Data", "the accelerator alone"):
        assert way in done.stdout


def test_the_data_benchmark_prints_a_row_for_each_place_that_is_installed(tmp_path: Path) -> None:
    size = ["--shards", "2", "--shard-samples", "8", "--batch", "8", "--rounds", "1", "--epochs", "1", "--steps", "1"]
    speed = ["--step-milliseconds", "1", "--latency-milliseconds", "0", "--loaders", "latent store"]
    done = python(str(ROOT / "benchmarks" / "data.py"), *size, *speed, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in done.stdout.splitlines() if "│" in line]
    assert [row[:2] for row in rows] == [["local folder", "latent store"], ["S3", "latent store"]]
    for _, _, rate, ratio, first, waited, share in rows:
        assert float(rate) > 0.0
        assert float(ratio) == 1.0
        assert min(float(first), float(waited), float(share)) >= 0.0


@pytest.mark.slow
def test_the_analysis_benchmark_prints_every_reading_of_the_same_points(tmp_path: Path) -> None:
    size = ["--runs", "25", "--points", "10", "--folder", str(tmp_path)]
    done = python(str(ROOT / "benchmarks" / "read_runs.py"), *size, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines() if "| 28 |" in line]
    report = ["the whole report, first time", "the whole report, again"]
    names = ["the analysis, first time", "the analysis, again", *report, "search_runs + get_metric_history, paged"]
    assert [row[0] for row in rows] == names
    assert {row[-1] for row in rows} == {"250"}
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_analysis_benchmark_reads_over_a_server(tmp_path: Path) -> None:
    size = ["--runs", "25", "--points", "10", "--folder", str(tmp_path), "--server", "--only", "first", "again"]
    done = python(str(ROOT / "benchmarks" / "read_runs.py"), *size, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines() if "| 28 |" in line]
    assert [row[0] for row in rows] == ["the analysis, first time", "the analysis, again"]
    assert {row[-1] for row in rows} == {"250"}


@pytest.mark.slow
def test_recovery_is_told_for_ours_and_for_plain_ray_train(tmp_path: Path) -> None:
    size = ["--steps", "24", "--every", "4", "--at", "15"]
    done = python(
        str(ROOT / "benchmarks" / "recovery.py"), *size, "--faults", "a checkpoint is cut short", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in done.stdout.splitlines() if "│" in line]
    told = {(row[0], row[1]): row[2:] for row in rows if row[0]}
    same = "the same weights, to the bit"
    for whose in ("ours", "stock"):
        assert (told["none", whose][0], told["none", whose][2]) == ("0", same)
    again, seconds, end = told["a checkpoint is cut short", "ours"]
    assert end == same
    assert 4 <= int(again) <= 12  # from the checkpoint before the newest one
    assert float(seconds) > 0.1
