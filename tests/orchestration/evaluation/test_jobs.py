"""Tasks cut into calls: every sample in exactly one sum, whatever their number; faults where they belong."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from orchestration.artifacts.samples.features import Group, groups_of
from orchestration.evaluation.feature_files import source_files
from orchestration.evaluation.jobs import job_of, run_job
from orchestration.evaluation.messages import Cost, GroupReport, GroupWork, JobContext
from orchestration.storage.store import Store
from orchestration.tasks.metric_task import MeasurementInputs
from orchestration.tasks.task import Task
from tests.support.measuring import NO_FILES, evaluation_of, small_config, with_points


class Recorder:
    """An evaluator whose sums are lists of the groups in them."""

    def __init__(self) -> None:
        self.works: list[GroupWork] = []
        self.finished: dict[str, tuple[list[list[Group]], Cost]] = {}
        self.largest = 0
        self.faults: dict[int, GroupReport] = {}
        """Reports by a group's begin; the others are sound."""

    def features(self, work: GroupWork) -> GroupReport:
        self.works.append(work)
        return self.faults.get(work.group.begin, GroupReport(seconds=2.0, network_evaluations=work.group.num_samples))

    def gather(self, task: Task, position: int, groups: list[Group]) -> tuple[None, list[Group]]:
        assert task.sources[position].num_samples >= groups[-1].end
        self.largest = max(self.largest, len(groups))
        return None, list(groups)

    def merge(self, first: list[Group], second: list[Group]) -> tuple[None, list[Group]]:
        return None, first + second

    def finish(self, task: Task, about: Any, seconds: float, spent: Cost, *gathered: list[Group]) -> None:
        assert task.digest not in self.finished, "a task is finished once"
        assert seconds == 1.0, "as the clock says"
        self.finished[task.digest] = (list(gathered), spent)
        self.about = about


@pytest.fixture
def failed() -> dict[str, str]:
    return {}


@pytest.fixture
def context(store: Store, failed: dict[str, str]) -> JobContext:
    return JobContext(
        store=store,
        keep_features=True,
        keep_samples=False,
        clock=lambda: 1.0,
        reached=lambda *_: None,
        failed=lambda task, reason: failed.update({task.digest: reason}),
    )


@pytest.mark.parametrize("num_samples", [2, 250, 251, 2_000, 2_001, 10_000, 50_000, 1_281_167])
def test_every_sample_is_in_exactly_one_sum_and_sums_are_few(context: JobContext, num_samples: int) -> None:
    task, evaluator = evaluation_of(small_config(evaluation__num_samples=num_samples)), Recorder()
    run_job(job_of([task], context), evaluator)
    ((groups,), _) = evaluator.finished[task.digest]
    assert groups == groups_of(num_samples)  # in order, too
    assert len(evaluator.works) == len(groups)
    assert -(-len(groups) // evaluator.largest) <= 8


def test_a_floor_measures_each_of_its_splits_and_a_probe_needs_no_sums(context: JobContext) -> None:
    config = small_config(evaluation__metrics=("fd_lite0_block10", "label_accuracy"))
    measures, evaluator = MeasurementInputs.of(config, NO_FILES), Recorder()
    for task in measures.tasks:
        run_job(job_of([task], context), evaluator)
    assert measures.real_images is not None
    assert measures.probe is not None
    assert [len(groups) for groups in evaluator.finished[measures.real_images.digest][0]] == [2, 2]
    assert evaluator.finished[measures.probe.digest][0] == []
    assert [work.missing[0].source.split for work in evaluator.works[-4:]] == [
        "train",
        "train",
        "reference",
        "reference",
    ]


def test_points_of_a_family_are_sampled_in_one_call_a_group_and_share_its_seconds(context: JobContext) -> None:
    family = with_points(small_config(), [{"sampling.steps": (3, n)} for n in range(1, 7)])
    evaluator = Recorder()
    run_job(job_of(family, context), evaluator)
    assert [len(work.missing) for work in evaluator.works] == [6, 6]
    assert evaluator.finished.keys() == {task.digest for task in family}
    share = Cost(pytest.approx(2 * 2.0 / 6), 300, pytest.approx(300 / 6))
    assert [spent for _, spent in evaluator.finished.values()] == [share] * 6
    assert evaluator.about["sharing"] == {"points": 6, "network_evaluations": 300}


def test_faults_of_a_point_are_counted_over_all_groups_and_end_it_alone(
    context: JobContext, failed: dict[str, str]
) -> None:
    sound, unsound, refused = with_points(small_config(), [{"sampling.steps": (3, n)} for n in (1, 2, 3)])
    evaluator = Recorder()
    for begin, bad in ((0, (7, 9)), (250, (260,))):
        evaluator.faults[begin] = GroupReport(
            1.0, unsound={unsound.digest: bad}, errors={refused.digest: f"at {begin}"}
        )
    run_job(job_of([sound, unsound, refused], context), evaluator)
    assert evaluator.finished.keys() == {sound.digest}
    assert failed == {
        unsound.digest: "3 of 300 samples hold NaN or infinite values: 7, 9, 260",
        refused.digest: "at 0",
    }


def test_what_is_in_the_store_is_not_asked_for_again(context: JobContext) -> None:
    """Only of the point that lacks it, and only the network that lacks it."""
    first, second = with_points(small_config(), [{"sampling.steps": (3, n)} for n in (1, 2)])
    files = source_files(context.store, first, first.sources[0], keeps=True)["lite0"]
    files.write(Group(250, 300), {"block10": torch.zeros(50, 2)})
    evaluator = Recorder()
    run_job(job_of([first, second], context), evaluator)
    wanted = {work.group: [one.task for one in work.missing] for work in evaluator.works}
    assert wanted == {Group(0, 250): [first, second], Group(250, 300): [second]}


def test_samples_that_are_to_be_kept_are_made_even_if_their_features_are_there(context: JobContext) -> None:
    task = evaluation_of(small_config(evaluation__num_samples=20))
    source_files(context.store, task, task.sources[0], keeps=True)["lite0"].write(
        Group(0, 20), {"x": torch.zeros(20, 1)}
    )
    evaluator = Recorder()
    run_job(job_of([task], replace(context, keep_samples=True)), evaluator)
    (work,) = evaluator.works
    assert (work.missing[0].networks, work.missing[0].samples, work.missing[0].grid) == ((), True, True)


def test_real_images_are_looked_at_once_for_all_only_where_their_features_are_kept(context: JobContext) -> None:
    measures = MeasurementInputs.of(small_config(), NO_FILES)
    keys = [
        next(job_of([measures.references["lite0"]], one))[0].key
        for one in (context, replace(context, keep_features=False))
    ]
    assert keys[0]
    assert keys[1] == ""


def test_a_job_that_begins_anew_counts_what_its_first_attempt_took(context: JobContext) -> None:
    task, evaluator = evaluation_of(small_config()), Recorder()
    job = job_of([task], context)
    calls = next(job)
    job.send([evaluator.features(*call.arguments) for call in calls])  # then something is lost
    run_job(job_of([task], context), evaluator)
    assert evaluator.finished[task.digest][1].seconds == 2 * 2 * 2.0
