"""Measuring images: what is kept, what is made again, what is shared, and what becomes of faults."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from dfm_core.compute import num_evaluations
from dfm_core.data.image_dataset import load_dataset
from dfm_core.flow.step_tree import StepTree
from dfm_core.metrics.features.lite0 import load_lite0
from dfm_core.metrics.scores.frechet import frechet_distance
from dfm_core.metrics.scores.moments import Moments
from orchestration.artifacts.recorded_errors import has_current_errors
from orchestration.artifacts.samples.features import Group, GroupFiles, LostFeaturesError, groups_of
from orchestration.artifacts.task_record import TaskRecord, read_record, write_record
from orchestration.config.runtime import RuntimeConfig
from orchestration.data.file_cache import FileCache
from orchestration.evaluation import worker as evaluator_module
from orchestration.evaluation.jobs import errors_job, run_job
from orchestration.evaluation.messages import JobContext
from orchestration.evaluation.resource_cache import ResourceCache
from orchestration.storage.layout import FeaturePaths
from orchestration.storage.store import DamagedArtifactError, Store
from orchestration.tasks.metric_task import MeasurementInputs
from orchestration.tasks.task import MetricTask, Task
from tests.support.measuring import (
    NO_FILES,
    WORKERS,
    Bench,
    evaluation_of,
    first_images,
    metric,
    publish_snapshot,
    small_config,
    with_points,
)

BLOCK10 = "fd_lite0_block10"
REAL = 300
EVERYTHING = (
    "class_score",
    "coverage_lite0",
    "density_lite0",
    BLOCK10,
    "fd_lite0_head",
    "kd_lite0",
    "label_accuracy",
    "precision_lite0",
    "recall_lite0",
)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a snapshot, a reference and a probe."""
    root = tmp_path_factory.mktemp("prepared") / "store"
    store = Store(str(root))
    config = small_config(evaluation__metrics=EVERYTHING)
    publish_snapshot(store, config, raw=True)
    Bench(store).prepare(config, REAL)
    return root


@pytest.fixture
def store(prepared: Path, tmp_path: Path) -> Store:
    return Store(str(shutil.copytree(prepared, tmp_path / "store")))


def feature_files(store: Store, task: Task) -> list[Path]:
    return sorted(Path(store.path(FeaturePaths(task.sources[0].digest).root)).rglob("*.safetensors"))


def nobody_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Iterator[Any]:
        raise AssertionError("something was sampled")

    monkeypatch.setattr(evaluator_module, "generated_samples", refuse)


def test_a_distance_is_that_of_the_features_of_the_very_samples(store: Store) -> None:
    """Against the library alone: pixels of the kept samples through the network, moments, distance."""
    config = small_config(evaluation__num_samples=60)
    task = evaluation_of(config)
    bench = Bench(store, replace(WORKERS, keep_samples=True))
    (found,) = bench.run(task)
    samples = GroupFiles(store, FeaturePaths(task.sources[0].digest).samples)
    ((_, tensors),) = samples.read(groups_of(60))
    network = load_lite0()
    real = network(load_dataset("fashion_mnist", "reference").pixels[:REAL])["block10"]
    expected = frechet_distance(Moments.of(network(tensors["pixels"])["block10"]), Moments.of(real))
    assert metric(found, BLOCK10) == pytest.approx(expected, rel=1e-6)
    assert tensors["labels"].shape == (60,)


def test_every_metric_has_a_number_an_error_and_a_protocol(store: Store) -> None:
    config = small_config(evaluation__metrics=EVERYTHING, evaluation__num_samples=120)
    (found,) = Bench(store).run(evaluation_of(config))
    assert found is not None
    for name in EVERYTHING:
        entry = found.about["errors"]["metrics"].get(name)
        if entry is None:  # no sample is near a real one, and none of its parts
            assert name == "density_lite0"
            assert "its standard error is not known" in " ".join(found.about["notes"][name])
        else:
            assert found.metrics[f"{name}_standard_error"] == entry["standard_error"] > 0
            assert entry["value"] == found.metrics[name]
        protocol = found.about["protocols"][name]
        assert protocol["num_samples"] == 120
        assert protocol["weights_sha256"]
    assert found.about["protocols"]["precision_lite0"]["settings"] == "num_neighbours=5"
    assert found.about["protocols"][BLOCK10]["ema_decay"] == 0.9999
    assert any("120 for 1280 dimensions" in note for note in found.about["notes"]["fd_lite0_head"])


def test_the_same_evaluation_again_samples_nothing_and_finds_the_same(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = evaluation_of(small_config())
    (first,) = Bench(store).run(task)
    nobody_samples(monkeypatch)
    (second,) = Bench(store).run(task)
    assert metric(first, BLOCK10) == metric(second, BLOCK10)


def test_another_metric_costs_no_sampling(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    Bench(store).run(evaluation_of(small_config()))
    nobody_samples(monkeypatch)
    more = small_config(evaluation__metrics=("coverage_lite0", "label_accuracy", "fd_lite0_head"))
    (found,) = Bench(store).run(evaluation_of(more))
    assert 0 <= metric(found, "coverage_lite0") <= 1


def test_more_samples_are_added_to_those_that_are_there(store: Store) -> None:
    small = evaluation_of(small_config(evaluation__num_samples=250))
    large = evaluation_of(small_config(evaluation__num_samples=400))
    assert small.sources[0].digest == large.sources[0].digest
    bench = Bench(store)
    bench.run(small)
    (found,) = bench.run(large)
    assert found is not None
    calls = num_evaluations(large.config)
    assert found.about["sharing"]["network_evaluations"] == 150 * calls  # of 400 images 250 were there


@pytest.mark.parametrize("batch_size", [7, 250])
def test_the_batch_size_changes_no_number(store: Store, batch_size: int) -> None:
    task = evaluation_of(small_config())
    (usual,) = Bench(store).run(task)
    shutil.rmtree(store.path("features"))
    (other,) = Bench(store, replace(WORKERS, evaluation_batch_size=batch_size)).run(task)
    assert metric(other, BLOCK10) == pytest.approx(metric(usual, BLOCK10), rel=1e-6)


POINTS = (
    {"sampling.steps": (4, 1)},
    {"sampling.steps": (4, 2)},
    {"sampling.steps": (4, 3)},
    {"sampling.steps": (4, 3), "sampling.tau": (0.9,)},
    {"sampling.steps": (4, 3), "sampling.guidance": 2.0},
)


def test_points_of_one_snapshot_share_their_steps_and_find_what_each_finds_alone(store: Store, tmp_path: Path) -> None:
    alone = Store(str(shutil.copytree(store.root, tmp_path / "alone")))
    config = small_config(evaluation__num_samples=60)
    family = with_points(config, POINTS)
    together = Bench(store).run(*family)
    apart = [Bench(alone).run(task)[0] for task in family]
    for one, other in zip(together, apart, strict=True):
        assert metric(one, BLOCK10) == metric(other, BLOCK10)  # bitwise
    assert len({metric(one, BLOCK10) for one in together}) == len(POINTS)
    tree = StepTree.of(config, [task.config.sampling for task in family])
    assert together[0] is not None
    assert together[0].about["sharing"] == {"points": 5, "network_evaluations": 60 * tree.num_evaluations}
    made_alone = sum(num_evaluations(task.config) for task in family)
    assert tree.num_evaluations < made_alone
    assert sum(one.about["sharing"]["network_evaluations"] for one in apart if one) == 60 * made_alone


def test_raw_weights_are_sampled_when_asked_for(store: Store) -> None:
    config = small_config(evaluation__num_samples=60)
    averaged, raw = Bench(store).run(evaluation_of(config))[0], None
    (raw,) = Bench(store).run(evaluation_of(small_config(evaluation__num_samples=60, sampling__weights="raw")))
    assert metric(averaged, BLOCK10) != metric(raw, BLOCK10)
    assert raw is not None
    assert raw.about["protocols"][BLOCK10]["ema_decay"] == 0.0


def test_a_point_with_nan_samples_fails_alone_with_their_count_and_names(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault in the samples of one setting; the others of the family, and its other groups, go on."""
    original = evaluator_module.generated_samples

    def some_nan(tasks: Any, group: Group, *rest: Any) -> Iterator[Any]:
        for made in original(tasks, group, *rest):
            bad = tuple(index for index in made.indices if index % 25 == 3) if made.point == 1 else ()
            yield replace(made, pixels=None, unsound=bad) if bad else made

    monkeypatch.setattr(evaluator_module, "generated_samples", some_nan)
    bench = Bench(store)
    sound, unsound = with_points(small_config(), POINTS[:2])
    results = bench.run(sound, unsound)
    assert results[0] is not None
    assert results[1] is None
    reason = "12 of 300 samples hold NaN or infinite values: 3, 28, 53, 78, 103, 128, 153, 178, 203, 228, ..."
    assert bench.failed == {unsound.digest: reason}
    assert [path.parent.name for path in feature_files(store, unsound)] == []


def test_nan_weights_are_told_as_nan_samples_through_the_real_sampler(store: Store) -> None:
    config = small_config(evaluation__num_samples=20)
    broken = {name: torch.full_like(value, float("nan")) for name, value in _weights(store).items()}
    bench = Bench(store)
    bench.evaluator._snapshots.load(((evaluation_of(config).snapshots[0]),)).model.load_state_dict(broken)
    task = evaluation_of(config)
    assert bench.run(task) == [None]
    assert bench.failed[task.digest].startswith("20 of 20 samples hold NaN or infinite values: 0, 1, 2")


def _weights(store: Store) -> dict[str, torch.Tensor]:
    from orchestration.artifacts.snapshot_loader import read_snapshot
    from tests.support.measuring import STEP, TRAIN

    return dict(read_snapshot(store, (TRAIN, STEP)).model.state_dict())


def test_features_that_were_damaged_are_named_removed_and_made_anew(store: Store) -> None:
    task = evaluation_of(small_config())
    (first,) = Bench(store).run(task)
    damaged = next(path for path in feature_files(store, task) if "000000000-000000250" in path.name)
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    with pytest.raises(LostFeaturesError, match=r"samples 0 to 250 are not there as they were written"):
        Bench(store).run(task)
    assert not damaged.exists()
    (again,) = Bench(store).run(task)
    assert metric(again, BLOCK10) == metric(first, BLOCK10)


@pytest.mark.proves(31)
def test_a_cut_off_evaluation_goes_on_at_the_group_it_was_at(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    task = evaluation_of(small_config(evaluation__num_samples=600))
    (undisturbed,) = Bench(store).run(task)
    shutil.rmtree(store.path("features"))
    original, groups = evaluator_module.generated_samples, []

    def killed_in_the_second(tasks: Any, group: Group, *rest: Any) -> Iterator[Any]:
        groups.append(group)
        if len(groups) == 2:
            raise KeyboardInterrupt
        return original(tasks, group, *rest)

    monkeypatch.setattr(evaluator_module, "generated_samples", killed_in_the_second)
    with pytest.raises(KeyboardInterrupt):
        Bench(store).run(task)
    bench = Bench(store)
    (resumed,) = bench.run(task)
    assert [group.begin for group in groups] == [0, 250, 250, 500]  # none of the first group's again
    assert metric(resumed, BLOCK10) == metric(undisturbed, BLOCK10)
    assert sum(bench.progress[task.digest].values()) == 250  # what was there counts once; the rest is the evaluators'


def test_features_that_are_not_kept_leave_with_the_record_and_change_no_number(store: Store) -> None:
    task = evaluation_of(small_config())
    (kept,) = Bench(store).run(task)
    shutil.rmtree(store.path("features"))
    (dropped,) = Bench(store, replace(WORKERS, keep_features=False)).run(task)
    assert metric(dropped, BLOCK10) == metric(kept, BLOCK10)
    assert not list(Path(store.path("features")).rglob("*.safetensors"))


def test_the_floor_measures_real_images_as_samples_are_measured(store: Store) -> None:
    config = small_config(evaluation__num_samples=100, evaluation__metrics=(BLOCK10, "label_accuracy"))
    floor = MeasurementInputs.of(config, NO_FILES).real_images
    assert floor is not None
    (found,) = Bench(store).run(floor)
    train = Moments.of(load_lite0()(load_dataset("fashion_mnist", "train").pixels[:100])["block10"])
    reference = ResourceCache(store, RuntimeConfig(), torch.device("cpu"), FileCache()).reference(
        floor.references["lite0"]
    )
    assert metric(found, BLOCK10) == pytest.approx(frechet_distance(train, reference.moments["block10"]), rel=1e-6)
    assert metric(found, "label_accuracy") > 0.6  # of images that the probe has not seen
    assert found is not None
    assert found.about["protocols"]["label_accuracy"]["num_samples"] == 100


def test_a_damaged_reference_is_named_and_made_anew_by_the_next_submission(store: Store) -> None:
    task = evaluation_of(small_config())
    reference = task.references["lite0"]
    path = Path(store.path(f"results/{reference}/reference.npz"))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DamagedArtifactError, match=r"reference\.npz is damaged; submit again"):
        Bench(store).run(task)
    assert read_record(store, reference) is None
    Bench(store).prepare(task.config, REAL)
    assert metric(Bench(store).run(task)[0], BLOCK10) > 0


def test_the_reference_is_measured_once_whatever_the_number_of_samples() -> None:
    tasks = [
        MeasurementInputs.of(small_config(evaluation__num_samples=n), NO_FILES).references["lite0"] for n in (100, 300)
    ]
    assert tasks[0].digest == tasks[1].digest


def test_first_images_of_a_task_keep_its_digest() -> None:
    task = evaluation_of(small_config())
    assert first_images(task, 10).digest == task.digest


def without_errors(store: Store, task: Task) -> TaskRecord:
    """Give a task's record the form of an earlier version."""
    record = read_record(store, task.digest)
    assert record is not None
    metrics = {**record.metrics, f"{BLOCK10}_standard_error": 123.0}
    about = {key: value for key, value in record.about.items() if key != "errors"}
    write_record(store, replace(record, metrics=metrics, about=about))
    return record


def recompute(store: Store, task: MetricTask) -> dict[str, str]:
    bench = Bench(store)
    context = JobContext(
        store=store,
        keep_features=True,
        keep_samples=False,
        clock=lambda: 0.0,
        reached=lambda *_: None,
        failed=lambda one, reason: bench.failed.update({one.digest: reason}),
    )
    run_job(errors_job(task, context), bench.evaluator)
    return bench.failed


def test_errors_are_computed_anew_from_stored_features_alone(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    task = evaluation_of(small_config(evaluation__metrics=(BLOCK10, "label_accuracy")))
    assert isinstance(task, MetricTask)
    Bench(store).run(task)
    whole = without_errors(store, task)
    earlier = read_record(store, task.digest)
    assert earlier is not None
    assert not has_current_errors(earlier)
    nobody_samples(monkeypatch)
    assert recompute(store, task) == {}
    found = read_record(store, task.digest)
    assert found is not None
    assert has_current_errors(found)
    assert found.about["errors"] == whole.about["errors"]
    # The numbers, what they cost and the errors of the earlier version stay: MLflow has them.
    assert replace(found, about={}) == replace(earlier, about={})
    assert {**found.about, "errors": None} == {**earlier.about, "errors": None}


def test_errors_stay_where_features_are_gone_or_give_another_number(store: Store) -> None:
    task = evaluation_of(small_config())
    assert isinstance(task, MetricTask)
    Bench(store).run(task)
    without_errors(store, task)
    record = read_record(store, task.digest)
    assert record is not None
    write_record(store, replace(record, metrics={**record.metrics, BLOCK10: 1.0}))
    with pytest.raises(ValueError, match=f"stored features give {BLOCK10} .*, its record has 1"):
        recompute(store, task)
    shutil.rmtree(store.path("features"))
    assert recompute(store, task) == {task.digest: "its features are not stored"}
    record = read_record(store, task.digest)
    assert record is not None
    assert not has_current_errors(record)
