"""The user's feature networks in an evaluation, from the files that a sweep names to the numbers in its record."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dfm_core.catalog.datasets import FASHION_CLASSES
from dfm_core.catalog.feature_networks import FEATURE_NETWORKS
from dfm_core.data.image_dataset import load_dataset
from dfm_core.metrics.features.inception import load_inception
from dfm_core.metrics.features.loaders import LOADERS
from dfm_core.metrics.scores.accumulator import Batch
from dfm_core.metrics.scores.frechet import frechet_distance
from dfm_core.metrics.scores.inception_score import InceptionScoreAccumulator, equal_splits
from dfm_core.metrics.scores.mean_score import cosines
from dfm_core.metrics.scores.moments import Moments
from orchestration.artifacts.samples.features import GroupFiles, groups_of
from orchestration.common.errors import UserError
from orchestration.config.files import FileConfig
from orchestration.config.runtime import RuntimeConfig
from orchestration.data.file_cache import FileCache
from orchestration.evaluation.resource_cache import ResourceCache
from orchestration.storage.layout import FeaturePaths
from orchestration.storage.store import Store
from orchestration.tasks.evaluation import evaluate_task
from orchestration.tasks.measurement import MeasurementFiles
from orchestration.tasks.metric_task import MeasurementInputs
from orchestration.tasks.task import Task
from tests.support.feature_standins import InceptionStandIn, given, scripted, tiny_clip, tiny_dinov2
from tests.support.measuring import (
    STEP,
    TRAIN,
    WORKERS,
    Bench,
    first_images,
    metric,
    publish_snapshot,
    small_config,
)

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
COUNT, REAL = 20, 30
INCEPTION = ("fid", "inception_score", "kid")


def config(*metrics: str, **values: Any) -> Any:
    usual = {
        "evaluation__metrics": metrics,
        "evaluation__num_samples": COUNT,
        "evaluation__kernel_subset_size": 10,
        "evaluation__inception_splits": 4,
        "evaluation__bootstrap_replicates": 20,
    }
    return small_config(**{**usual, **values})


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    return scripted(InceptionStandIn(), tmp_path_factory.mktemp("weights") / "inception.pt").path


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(str(tmp_path / "store"))
    publish_snapshot(store, config("fid"))
    return store


def inception_from(path: str, sha256: str) -> dict[str, dict[str, FileConfig]]:
    return {"inception": {"weights": FileConfig(path, sha256)}}


class Measured:
    """One evaluation with everything that it reads, and the samples it was of."""

    def __init__(self, store: Store, wanted: Any, runtime: RuntimeConfig) -> None:
        self.bench = Bench(store, replace(WORKERS, keep_samples=True), runtime)
        measures = MeasurementInputs.of(wanted, MeasurementFiles(runtime.networks, runtime.references))
        for task in measures.references.values():
            self.bench.run(first_images(task, REAL) if task.sources else task)
        self.task: Task = evaluate_task(wanted, "samples", STEP, ((TRAIN, STEP),), measures)
        (self.result,) = self.bench.run(self.task)

    @property
    def pixels(self) -> torch.Tensor:
        files = GroupFiles(self.bench.store, FeaturePaths(self.task.sources[0].digest).samples)
        ((_, tensors),) = files.read(groups_of(COUNT))
        return tensors["pixels"]


def test_fid_kid_and_inception_score_come_from_the_named_file_by_url(
    store: Store, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DFM_CACHE_DIR", str(tmp_path / "cache"))
    files = inception_from(weights.as_uri(), given(weights).sha256)
    found = Measured(store, config(*INCEPTION), RuntimeConfig(networks=files))
    network = load_inception({"weights": given(weights)})
    samples, real = network(found.pixels), network(load_dataset("fashion_mnist", "reference").pixels[:REAL])
    expected = frechet_distance(Moments.of(samples["pool3"]), Moments.of(real["pool3"]))
    assert metric(found.result, "fid") == pytest.approx(expected, rel=1e-5)
    scores = InceptionScoreAccumulator.empty(equal_splits(COUNT, 4), 1008)
    scores = scores.update(Batch(torch.arange(COUNT), samples["logits"]))
    score = scores.compute()["inception_score"]
    assert metric(found.result, "inception_score") == pytest.approx(score.value, rel=1e-6)
    assert found.result is not None
    assert found.result.metrics["inception_score_spread"] == pytest.approx(score.spread, rel=1e-5)
    assert found.result.metrics["kid_standard_error"] > 0
    assert found.result.about["protocols"]["fid"]["weights_sha256"] == given(weights).sha256
    assert [path.name for path in (tmp_path / "cache").rglob("*.pt")] == ["inception.pt"]


def test_published_statistics_stand_in_the_place_of_real_images(store: Store, weights: Path, tmp_path: Path) -> None:
    network = load_inception({"weights": given(weights)})
    real = Moments.of(network(load_dataset("fashion_mnist", "reference").pixels[:REAL])["pool3"])
    np.savez(tmp_path / "published.npz", mu=real.mean, sigma=real.covariance)
    content = hashlib.sha256((tmp_path / "published.npz").read_bytes()).hexdigest()
    named = {"fashion_mnist": {"inception": FileConfig(str(tmp_path / "published.npz"), content)}}
    files = inception_from(str(weights), given(weights).sha256)
    found = Measured(store, config("fid"), RuntimeConfig(networks=files, references=named))
    expected = frechet_distance(Moments.of(network(found.pixels)["pool3"]), real)
    assert metric(found.result, "fid") == pytest.approx(expected, rel=1e-5)
    assert found.result is not None
    assert any("unknown" in note for note in found.result.about["notes"]["fid"])
    reference = Path(store.path(f"results/{found.task.references['inception']}/result.json")).read_text()
    assert content in reference  # provenance


def test_a_file_that_changed_after_planning_is_refused_by_the_evaluator(
    store: Store, weights: Path, tmp_path: Path
) -> None:
    changed = Path(shutil.copy(weights, tmp_path / "inception.pt"))
    files = inception_from(str(changed), given(changed).sha256)
    changed.write_bytes(changed.read_bytes() + b"x")
    with pytest.raises((ValueError, UserError), match="damaged, incomplete or another file"):
        Measured(store, config("fid"), RuntimeConfig(networks=files))


def test_dinov2_metrics_and_clip_similarity_run_on_the_real_classes(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tiny models of the real classes in the place of the files."""
    torch.manual_seed(1)
    dinov2, clip = tiny_dinov2(), tiny_clip()
    for name, network in (("dinov2", dinov2), ("clip", clip)):
        card = replace(
            FEATURE_NETWORKS[name], outputs=network.card.outputs, files=(), packaged=FEATURE_NETWORKS["lite0"].packaged
        )
        monkeypatch.setitem(FEATURE_NETWORKS, name, card)
        monkeypatch.setitem(LOADERS, name, lambda _, network=network: network)
    wanted = config(
        "fdd", "precision", "recall", "density", "coverage", "clip_similarity", evaluation__caption="low {}"
    )
    found = Measured(store, wanted, RuntimeConfig())
    real = dinov2(load_dataset("fashion_mnist", "reference").pixels[:REAL])["cls"]
    expected = frechet_distance(Moments.of(dinov2(found.pixels)["cls"]), Moments.of(real))
    assert metric(found.result, "fdd") == pytest.approx(expected, rel=1e-5)
    assert 0 <= metric(found.result, "coverage") <= 1
    files = GroupFiles(store, FeaturePaths(found.task.sources[0].digest).samples)
    ((_, tensors),) = files.read(groups_of(COUNT))
    labels = tensors["labels"]
    texts = clip.text([f"low {FASHION_CLASSES[int(label)]}" for label in labels])
    similarity = cosines(Batch(torch.arange(COUNT), clip(found.pixels)["image"], texts)).mean()
    assert metric(found.result, "clip_similarity") == pytest.approx(float(similarity), rel=1e-5)


class FramesSeen:
    """A network that takes images and remembers how many it was given."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        self.shapes.append(tuple(pixels.shape))
        return {"pool3": pixels.float().flatten(1)[:, :1]}


def test_an_image_network_sees_the_frames_of_a_video_one_by_one(store: Store) -> None:
    loaded, network = ResourceCache(store, RuntimeConfig(), torch.device("cpu"), FileCache()), FramesSeen()
    loaded._kept["network", "inception"] = network
    clips = torch.arange(2 * 5, dtype=torch.uint8).reshape(2, 1, 5, 1, 1).expand(2, 1, 5, 4, 4)
    features = loaded.features("inception", clips)["pool3"]
    assert network.shapes == [(10, 1, 4, 4)]
    assert features[..., 0].tolist() == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]  # [video, frame]
