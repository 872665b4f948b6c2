"""Videos through planning and measuring: what enters digests, and what is made of frames."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dfm_core.catalog.datasets import DATASETS, Motion
from dfm_core.config import ExperimentConfig
from dfm_core.data.image_dataset import load_dataset
from dfm_core.metrics.features.lite0 import load_lite0
from dfm_core.metrics.scores.accumulator import Batch
from dfm_core.metrics.scores.frechet import frechet_distance
from dfm_core.metrics.scores.inception_score import InceptionScoreAccumulator, equal_splits
from dfm_core.metrics.scores.moments import Moments
from dfm_core.metrics.scores.probe import fit_linear_probe
from orchestration.artifacts.samples.features import GroupFiles, groups_of
from orchestration.artifacts.task_record import TaskRecord, read_record
from orchestration.commands.external_images import open_images
from orchestration.commands.external_measurement import measure_images
from orchestration.common.errors import UserError
from orchestration.config.runtime import RuntimeConfig
from orchestration.data.identity import real_identity
from orchestration.storage.layout import FeaturePaths
from orchestration.storage.store import Store
from orchestration.tasks.metric_task import MeasurementInputs
from orchestration.tasks.task import Task
from orchestration.tasks.training import train_task
from tests.support.measuring import NO_FILES, WORKERS, Bench, evaluation_of, metric, publish_snapshot
from tests.support.models import with_values

VIDEO = {
    "data.dataset": "moving_fashion",
    "decomposition.resolutions": (8, 16),
    "model.size": "nano",
    "model.patch_sizes": (2, 4),
    "sampling.steps": (2, 1),
}


def video_config(**values: object) -> ExperimentConfig:
    """Names with two underscores in the place of a dot."""
    changed = {key.replace("__", "."): value for key, value in values.items()}
    return with_values(ExperimentConfig(), {**VIDEO, **changed})


@pytest.mark.parametrize("change", [{"motion": Motion(side=12, max_speed=2.0)}, {"frames": 12}])
def test_how_clips_are_made_is_part_of_a_trainings_identity(
    change: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = train_task(video_config(), "video", 10, (10,)).digest
    monkeypatch.setitem(DATASETS, "moving_fashion", replace(DATASETS["moving_fashion"], **change))
    assert train_task(video_config(), "video", 10, (10,)).digest != before


def test_still_images_keep_the_identity_that_they_had() -> None:
    assert set(real_identity(ExperimentConfig().data)) == {"dataset", "fingerprint", "resolution"}


FRAMES, REAL, COUNT = 3, 60, 30
METRICS = ("class_score", "fd_lite0_block10", "fd_lite0_changes", "label_accuracy")


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Bench, Task, TaskRecord]]:
    """A reference, a probe and one evaluation whose samples are kept; of short clips, since the network looks at every
    frame."""
    store = Store(str(tmp_path_factory.mktemp("video") / "store"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DATASETS, "moving_fashion", replace(DATASETS["moving_fashion"], frames=FRAMES))
        config = measured_config()
        publish_snapshot(store, config)
        bench = Bench(store, replace(WORKERS, keep_samples=True))
        bench.prepare(config, REAL)
        task = evaluation_of(config)
        (result,) = bench.run(task)
        assert result is not None, bench.failed
        yield bench, task, result


def measured_config() -> ExperimentConfig:
    return video_config(
        evaluation__num_samples=COUNT,
        evaluation__metrics=METRICS,
        evaluation__inception_splits=2,
        evaluation__bootstrap_replicates=20,
    )


def samples_of(bench: Bench, task: Task) -> dict[str, torch.Tensor]:
    files = GroupFiles(bench.store, FeaturePaths(task.sources[0].digest).samples)
    ((_, tensors),) = files.read(groups_of(COUNT))
    return tensors


def frame_features(pixels: torch.Tensor) -> torch.Tensor:
    """block10 of every frame, [N, T, 112], frame by frame through the network."""
    network = load_lite0()
    return torch.stack([network(pixels[:, :, frame])["block10"] for frame in range(FRAMES)], dim=1)


def test_a_distance_of_videos_is_over_all_frames_of_all_clips(measured: tuple[Bench, Task, TaskRecord]) -> None:
    bench, task, result = measured
    samples = samples_of(bench, task)["pixels"]
    assert samples.shape == (COUNT, 1, FRAMES, 16, 16)
    real = load_dataset("moving_fashion", "reference").pixels[:REAL]
    moments = [Moments.of(frame_features(clips).flatten(0, 1)) for clips in (samples, real)]
    assert metric(result, "fd_lite0_block10") == pytest.approx(frechet_distance(*moments), rel=1e-5)
    assert result.metrics["fd_lite0_block10_standard_error"] > 0


def test_changes_are_differences_between_neighbouring_frames(measured: tuple[Bench, Task, TaskRecord]) -> None:
    bench, task, result = measured
    real = load_dataset("moving_fashion", "reference").pixels[:REAL]
    found = []
    for clips in (samples_of(bench, task)["pixels"], real):
        features = frame_features(clips)
        changes = [features[:, frame + 1] - features[:, frame] for frame in range(FRAMES - 1)]
        found.append(Moments.of(torch.cat(changes)))
    assert metric(result, "fd_lite0_changes") == pytest.approx(frechet_distance(*found), rel=1e-4)
    assert result.about["protocols"]["fd_lite0_changes"]["network"].endswith(": block10_changes")


def test_the_class_of_a_clip_is_that_of_its_frames_mean(measured: tuple[Bench, Task, TaskRecord]) -> None:
    bench, task, result = measured
    train, kept = load_dataset("moving_fashion", "train"), samples_of(bench, task)
    means = frame_features(train.pixels[:REAL]).double().mean(dim=1).numpy()
    probe = fit_linear_probe(means, train.labels[:REAL].numpy(), 10)
    features = frame_features(kept["pixels"]).double().numpy()
    scores = np.mean([probe.scores(features[:, frame]) for frame in range(FRAMES)], axis=0)
    expected = (scores.argmax(axis=1) == kept["labels"].numpy()).mean()
    assert metric(result, "label_accuracy") == pytest.approx(expected, abs=1e-12)
    score = InceptionScoreAccumulator.empty(equal_splits(COUNT, 2), 10)
    score = score.update(Batch(torch.arange(COUNT), torch.from_numpy(scores)))
    assert metric(result, "class_score") == pytest.approx(score.compute()["inception_score"].value, rel=1e-5)


def test_a_measurement_of_videos_leaves_its_clips_as_grid_animation_and_strips(
    measured: tuple[Bench, Task, TaskRecord],
) -> None:
    bench, task, result = measured
    assert result.files == ("samples.png", "samples.gif", "samples_strips.png")
    pixels = samples_of(bench, task)["pixels"].numpy()
    read = {name: Image.open(io.BytesIO(bench.store.read(f"results/{task.digest}/{name}"))) for name in result.files}
    layout = json.loads(read["samples_strips.png"].text["dfm.grid"])
    factor, height = layout["factor"], layout["side"][0]
    strip = np.asarray(read["samples_strips.png"])[: factor * height : factor, ::factor, 0]
    assert np.array_equal(strip, np.concatenate(list(pixels[0, 0]), axis=1))
    middle = np.asarray(read["samples.png"])[: factor * height : factor, : factor * 16 : factor, 0]
    assert np.array_equal(middle, pixels[0, 0, 1])
    assert read["samples.gif"].n_frames == FRAMES
    reference = read_record(bench.store, task.references["lite0"])
    assert reference is not None
    assert reference.files == ("real.png", "real.gif", "real_strips.png")


def test_the_floor_of_videos_is_measured_as_their_samples_are(measured: tuple[Bench, Task, TaskRecord]) -> None:
    bench, _, result = measured
    floor = MeasurementInputs.of(measured_config(), NO_FILES).real_images
    assert floor is not None
    (found,) = bench.run(floor)
    assert metric(found, "fd_lite0_block10") < metric(result, "fd_lite0_block10")
    assert metric(found, "label_accuracy") > metric(result, "label_accuracy")


def test_an_archive_of_videos_scores_what_the_floor_scores(
    measured: tuple[Bench, Task, TaskRecord], tmp_path: Path
) -> None:
    """The floor measures the same training clips, which an .npz holds here."""
    bench, _, _ = measured
    floor = MeasurementInputs.of(measured_config(), NO_FILES).real_images
    assert floor is not None
    (expected,) = bench.run(floor)
    real = load_dataset("moving_fashion", "train")
    np.savez(tmp_path / "clips.npz", real.pixels[:COUNT].movedim(1, -1).numpy(), real.labels[:COUNT].numpy())
    found = open_images(tmp_path / "clips.npz", DATASETS["moving_fashion"], 0.0)
    assert found.about.endswith(f"{COUNT} videos")
    runtime = RuntimeConfig(workers=WORKERS)
    values = measure_images(measured_config(), found, runtime, bench.store, "clips.npz").values
    assert values["fd_lite0_changes"] == pytest.approx(metric(expected, "fd_lite0_changes"), rel=1e-5)
    assert values["fd_lite0_block10"] == pytest.approx(metric(expected, "fd_lite0_block10"), rel=1e-6)
    assert values["label_accuracy"] > 0.5


def test_clips_that_turn_into_others_show_in_the_changes_alone(
    measured: tuple[Bench, Task, TaskRecord], tmp_path: Path
) -> None:
    """Real frames, each of another clip: every frame is as it should be, and no clip is."""
    bench, _, _ = measured
    real = load_dataset("moving_fashion", "train")
    mixed = torch.stack([real.pixels[:COUNT].roll(frame, dims=0)[:, :, frame] for frame in range(FRAMES)], dim=2)
    values = []
    for name, clips in (("real", real.pixels[:COUNT]), ("mixed", mixed)):
        np.savez(tmp_path / f"{name}.npz", clips.movedim(1, -1).numpy(), real.labels[:COUNT].numpy())
        found = open_images(tmp_path / f"{name}.npz", DATASETS["moving_fashion"], 0.0)
        values.append(
            measure_images(measured_config(), found, RuntimeConfig(workers=WORKERS), bench.store, name).values
        )
    assert values[1]["fd_lite0_block10"] == pytest.approx(values[0]["fd_lite0_block10"], rel=1e-5)
    assert values[1]["fd_lite0_changes"] > 5 * values[0]["fd_lite0_changes"]


def test_a_folder_is_not_measured_as_videos_and_lengths_must_agree(tmp_path: Path) -> None:
    card = replace(DATASETS["moving_fashion"], frames=10)
    with pytest.raises(UserError, match=r"is a folder, and the dataset holds videos: .* \[N, 10, 16, 16, 1\]"):
        open_images(tmp_path, card, 0.0)
    for shape in ((4, 9, 16, 16, 1), (4, 16, 16, 1)):
        np.savez(tmp_path / "clips.npz", np.zeros(shape, np.uint8))
        with pytest.raises(UserError, match=r"channels, frames, height and width are .* videos have \(1, 10, 16, 16\)"):
            open_images(tmp_path / "clips.npz", card, 0.0)
    np.savez(tmp_path / "clips.npz", np.zeros((4, 10, 32, 32, 1), np.uint8))
    with pytest.raises(UserError, match=r"are \(1, 10, 32, 32\), the dataset's images have \(1, 32, 32\)"):
        open_images(tmp_path / "clips.npz", DATASETS["fashion_mnist"], 0.0)
