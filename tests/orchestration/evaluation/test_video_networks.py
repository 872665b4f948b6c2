"""frame-FID and FVD of videos, from the files that a sweep names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dfm_core.config.rules import broken_rules
from dfm_core.data.image_dataset import load_dataset
from dfm_core.metrics.features.i3d import load_i3d
from dfm_core.metrics.features.inception import load_inception
from dfm_core.metrics.scores.frechet import frechet_distance
from dfm_core.metrics.scores.moments import Moments
from orchestration.artifacts.samples.features import GroupFiles, groups_of
from orchestration.config.files import FileConfig
from orchestration.config.runtime import RuntimeConfig
from orchestration.storage.layout import FeaturePaths
from orchestration.storage.store import Store
from orchestration.tasks.evaluation import evaluate_task
from orchestration.tasks.measurement import MeasurementFiles
from orchestration.tasks.metric_task import MeasurementInputs
from tests.orchestration.evaluation.test_videos import video_config
from tests.support.feature_standins import I3DStandIn, InceptionStandIn, scripted
from tests.support.measuring import STEP, TRAIN, WORKERS, Bench, first_images, metric, publish_snapshot

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
COUNT, REAL = 6, 10


def test_frame_fid_is_over_frames_and_fvd_over_whole_clips(tmp_path: Path) -> None:
    torch.manual_seed(0)
    files = {"inception": scripted(InceptionStandIn(), tmp_path / "inception.pt")}
    files["i3d"] = scripted(I3DStandIn(), tmp_path / "i3d.pt")
    named = {name: {"weights": FileConfig(str(file.path), file.sha256)} for name, file in files.items()}
    config = video_config(
        evaluation__num_samples=COUNT, evaluation__metrics=("frame_fid", "fvd"), evaluation__bootstrap_replicates=0
    )
    store = Store(str(tmp_path / "store"))
    publish_snapshot(store, config)
    bench = Bench(store, replace(WORKERS, keep_samples=True), RuntimeConfig(networks=named))
    measures = MeasurementInputs.of(config, MeasurementFiles(named, {}))
    for task in measures.references.values():
        bench.run(first_images(task, REAL))
    task = evaluate_task(config, "samples", STEP, ((TRAIN, STEP),), measures)
    (result,) = bench.run(task)
    ((_, tensors),) = GroupFiles(store, FeaturePaths(task.sources[0].digest).samples).read(groups_of(COUNT))
    real = load_dataset("moving_fashion", "reference").pixels[:REAL]

    i3d, inception = (
        load({"weights": files[name]}) for load, name in ((load_i3d, "i3d"), (load_inception, "inception"))
    )
    clips = [Moments.of(i3d(pixels)["logits"]) for pixels in (tensors["pixels"], real)]
    assert metric(result, "fvd") == pytest.approx(frechet_distance(*clips), rel=1e-4)
    frames = [
        Moments.of(inception(pixels.transpose(1, 2).flatten(0, 1))["pool3"]) for pixels in (tensors["pixels"], real)
    ]
    assert metric(result, "frame_fid") == pytest.approx(frechet_distance(*frames), rel=1e-4)
    assert result is not None
    assert any(f"{COUNT} for 400 dimensions" in note for note in result.about["notes"]["fvd"])


@pytest.mark.parametrize("name", ["fid", "kd_lite0", "precision"])
def test_metrics_of_single_images_are_refused_for_videos_with_those_that_there_are(name: str) -> None:
    broken = dict(broken_rules(video_config(evaluation__metrics=(name,), evaluation__kernel_subset_size=100)))
    message = broken["evaluation.metrics"]
    assert message.startswith(f"{name} does not measure videos, which moving_fashion has: ")
    assert {"fd_lite0_block10", "fvd", "frame_fid", "fdd", "label_accuracy"} <= set(message.split(": ")[1].split(", "))
