"""Must hold: the same result on any number of workers and at any ZeRO stage, and after any cut.

All trainings run in two process groups, started once for the module: starting DeepSpeed costs more than training.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.multiprocessing import ProcessExitedException

from dfm_core.catalog.datasets import DataShape
from dfm_core.compute import model_cost as cost_of
from dfm_core.data.image_dataset import load_dataset
from dfm_core.decompositions import build_decomposition
from dfm_core.paradigms import build_paradigm
from dfm_core.paradigms.standardization import measure_scale_std
from dfm_core.training.engine import STATE_KINDS, PlainEngine
from dfm_core.training.loop import train
from dfm_core.training.state import build_model
from dfm_core.training.steps import LoopPlan
from orchestration.config.workers import ZeroStage
from orchestration.storage.store import Store
from orchestration.training.fault_hook import with_faults
from orchestration.training.hang_watch import EXIT_HUNG
from tests.support.fault_injection import SLOW_SECONDS
from tests.support.process_group import CONFIG, CUT_STEP, LAST_STEP, VARIANTS, Finding, Job, run_jobs

TOLERANCE = 1e-5
"""Relative, on losses of order one: another number of workers adds the same numbers in another order."""


BY_STAGE = [(variant, stage) for variant in VARIANTS if variant != "plain" for stage in (2, 3)]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Finding]:
    folder = tmp_path_factory.mktemp("trainings")
    cut = {stage: str(folder / f"two-workers-zero-{stage}") for stage in (1, 2, 3)}
    alone = str(folder / "one-worker")
    two = [
        *[Job(f"whole-{stage}", stage, 4) for stage in (1, 2, 3)],
        *[Job(f"head-{stage}", stage, 4, until=CUT_STEP, save_to=cut[stage]) for stage in (1, 2, 3)],
        *[Job(f"tail-{stage}", stage, 4, start=CUT_STEP, resume_from=cut[stage]) for stage in (1, 2, 3)],
        Job("micro", 1, 2),
        Job("tail-zero-2-of-zero-3", 2, 4, start=CUT_STEP, resume_from=cut[3]),
        Job("recomputed", 2, 4, activation_checkpointing=True),
        *[Job(f"{variant}-{stage}", stage, 4, until=CUT_STEP, variant=variant) for variant, stage in BY_STAGE],
        *[Job(f"nan-{stage}", stage, 4, faults=f"1:{stage + 1}:nan") for stage in (1, 2, 3)],
        *[Job(f"nans-{stage}", stage, 4, faults=f"0:{stage + 4}:nans", save_to=f"{folder}/nans") for stage in (1, 3)],
        Job("nan-head", 2, 4, until=CUT_STEP, faults="0:5:nan", save_to=f"{folder}/nan-head"),
        Job("nan-tail", 2, 4, start=CUT_STEP, num_steps=CUT_STEP - 1, resume_from=f"{folder}/nan-head"),
        Job("nan-whole", 2, 2, faults="1:5:nan"),
        Job("slow", 1, 4, faults="1:6:slow", hung_after_seconds=20 * SLOW_SECONDS),
        *[reads(f"2-{stage}", cut[other], 2, stage) for stage, other in ((1, 3), (2, 1), (3, 2), (3, 3))],
    ]
    one = [
        Job("one-1", 1, 8),
        Job("one-3", 3, 4),
        Job("one-head", 2, 8, until=CUT_STEP, save_to=alone),
        Job("one-tail-of-two", 2, 8, start=CUT_STEP, resume_from=cut[1]),
        *[reads(f"1-{stage}", cut[other], 1, stage) for stage, other in ((1, 1), (3, 2))],
    ]
    results = run_jobs(2, two, folder) | run_jobs(1, one, folder)
    last = [Job("two-tail-of-one", 3, 4, start=CUT_STEP, resume_from=alone), reads("2-1", alone, 2, 1)]
    return results | run_jobs(2, last, folder)


def reads(reader: str, folder: str, world_size: int, stage: ZeroStage) -> Job:
    """A job that reads a state and trains no step."""
    name = f"{Path(folder).name} read by {reader}"
    return Job(name, stage, 8 // world_size, start=CUT_STEP, until=CUT_STEP, resume_from=folder)


def test_the_training_learns(found: dict[str, Finding]) -> None:
    losses = found["whole-1"].losses
    assert len(losses) == LAST_STEP
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3])


@pytest.mark.parametrize("name", ["whole-2", "whole-3", "micro", "one-1", "one-3"])
def test_workers_zero_stage_and_micro_batch_change_no_result(found: dict[str, Finding], name: str) -> None:
    assert found[name].losses == pytest.approx(found["whole-1"].losses, rel=TOLERANCE)
    assert found[name].ema == pytest.approx(found["whole-1"].ema, rel=TOLERANCE)


def test_zero_1_and_2_agree_bitwise(found: dict[str, Finding]) -> None:
    assert found["whole-2"] == found["whole-1"]


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_a_resumed_training_equals_the_uninterrupted_one_bitwise(found: dict[str, Finding], stage: int) -> None:
    assert found[f"head-{stage}"].losses + found[f"tail-{stage}"].losses == found[f"whole-{stage}"].losses
    assert found[f"tail-{stage}"].ema == found[f"whole-{stage}"].ema


@pytest.mark.proves(30)
@pytest.mark.parametrize("name", ["tail-zero-2-of-zero-3", "one-tail-of-two", "two-tail-of-one"])
def test_a_training_resumes_on_other_workers_and_another_zero_stage(found: dict[str, Finding], name: str) -> None:
    assert found[name].losses == pytest.approx(found["whole-1"].losses[CUT_STEP:], rel=TOLERANCE)
    assert found[name].ema == pytest.approx(found["whole-1"].ema, rel=TOLERANCE)


@pytest.mark.proves(30)
@pytest.mark.parametrize("reader", ["2-1", "2-2", "2-3", "1-1", "1-3"])
def test_every_bit_of_a_state_is_read_by_any_number_of_workers_and_zero_stage(
    found: dict[str, Finding], reader: str
) -> None:
    writers = {f"two-workers-zero-{stage}": f"head-{stage}" for stage in (1, 2, 3)} | {"one-worker": "one-head"}
    read = {name: finding for name, finding in found.items() if name.endswith(f"read by {reader}")}
    assert read
    for name, finding in read.items():
        assert finding.state == found[writers[name.partition(" ")[0]]].state, name


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_a_save_sends_nothing_and_writes_each_worker_its_share(found: dict[str, Finding], stage: int) -> None:
    head, num_parameters = found[f"head-{stage}"], cost_of(CONFIG, DataShape(1, 10)).num_parameters
    assert head.collectives == 2, "the barrier after it, once on each of two workers, and nothing more"
    header_bytes = 40_000
    for size in head.saved_bytes:
        assert size - header_bytes < 1.05 * len(STATE_KINDS) * 4 * num_parameters / 2 < 1.1 * size


def test_deepspeed_trains_as_plain_torch_does(found: dict[str, Finding]) -> None:
    assert plain_losses("plain", LAST_STEP) == pytest.approx(found["whole-1"].losses, rel=TOLERANCE)


@pytest.mark.parametrize(("variant", "stage"), BY_STAGE)
def test_weights_per_stage_train_as_in_plain_torch(found: dict[str, Finding], variant: str, stage: int) -> None:
    assert plain_losses(variant, CUT_STEP) == pytest.approx(found[f"{variant}-{stage}"].losses, rel=TOLERANCE)


def test_recomputed_activations_change_no_bit(found: dict[str, Finding]) -> None:
    assert found["recomputed"] == found["whole-2"]


@pytest.mark.proves(17)
@pytest.mark.parametrize("stage", [1, 2, 3])
def test_a_batch_of_one_worker_that_is_not_a_number_is_left_out_by_all(found: dict[str, Finding], stage: int) -> None:
    nan, whole = found[f"nan-{stage}"], found[f"whole-{stage}"]
    assert (nan.num_steps, whole.num_steps) == (LAST_STEP - 1, LAST_STEP)
    assert len(nan.losses) == LAST_STEP - 1
    assert nan.losses[:stage] == whole.losses[:stage]


def test_deepspeed_leaves_a_step_out_as_plain_torch_does(found: dict[str, Finding], tmp_path: Path) -> None:
    losses, ema = plain("plain", LAST_STEP, disturbed_in=Store(str(tmp_path)), faults="0:4:nan")
    assert losses == pytest.approx(found["nan-3"].losses, rel=TOLERANCE)
    assert ema == pytest.approx(found["nan-3"].ema, rel=TOLERANCE)


@pytest.mark.proves(17)
@pytest.mark.parametrize("stage", [1, 3])
def test_batches_that_are_never_a_number_end_all_workers_after_some(found: dict[str, Finding], stage: int) -> None:
    nans = found[f"nans-{stage}"]
    first = stage + 4
    assert nans.num_steps == first - 1
    (reason,) = set(nans.diverged)
    assert len(nans.diverged) == 2
    assert f"at step {first + 2}, the 3. in a row, with samples {8 * (first + 1)} to {8 * (first + 2) - 1} " in reason


@pytest.mark.proves(17)
def test_a_training_resumes_beside_a_step_that_was_left_out(found: dict[str, Finding]) -> None:
    head, tail, whole = found["nan-head"], found["nan-tail"], found["nan-whole"]
    assert tail.num_steps == whole.num_steps == LAST_STEP - 1
    assert head.losses + tail.losses == pytest.approx(whole.losses, rel=TOLERANCE)
    assert tail.ema == pytest.approx(whole.ema, rel=TOLERANCE)


@pytest.mark.proves(8)
def test_a_worker_that_is_slow_for_a_while_is_waited_for(found: dict[str, Finding]) -> None:
    assert found["slow"] == found["whole-1"]


def test_ranks_of_another_launcher_are_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell of mpirun, SLURM or AzureML leaves such variables to whatever is started in it."""
    names = ("OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID", "AZUREML_RUN_ID")
    for name in (*names, "AZUREML_EXPERIMENT_ID", "SM_TRAINING_ENV"):
        monkeypatch.setenv(name, "7")
    assert len(run_jobs(1, [Job("preset", 1, 8, until=2)], tmp_path)["preset"].losses) == 2


@pytest.mark.proves(7)
def test_a_worker_that_hangs_ends_all_of_them_and_each_says_where_it_was(tmp_path: Path) -> None:
    job = Job("hangs", 1, 4, faults="1:4:hang", hung_after_seconds=8.0)  # a busy machine's steps take seconds
    with pytest.raises(ProcessExitedException) as ended:
        run_jobs(2, [job], tmp_path)
    assert ended.value.exit_code == EXIT_HUNG
    where = {path.name: path.read_text() for path in (tmp_path / "store" / "faults" / "hangs").iterdir()}
    assert sorted(where) == ["attempt-rank-00000.txt", "attempt-rank-00001.txt"]
    assert "in _hang" in where["attempt-rank-00001.txt"]
    assert "in _hang" not in where["attempt-rank-00000.txt"]  # it waits for the other
    assert all("it hangs" in text and "in train\n" in text for text in where.values())


def plain_losses(variant: str, until: int) -> list[float]:
    return plain(variant, until)[0]


def plain(
    variant: str, until: int, disturbed_in: Store | None = None, faults: str = ""
) -> tuple[list[float], list[float]]:
    """Losses, and sum and norm of the averaged weights, of the same training on plain torch."""
    config, dataset = VARIANTS[variant], load_dataset("fashion_mnist", "train")
    decomposition = build_decomposition(config.decomposition)
    scale_std = measure_scale_std(decomposition, dataset)
    engine = PlainEngine(build_model(config, DataShape(1, 10), scale_std), config.training)
    paradigm = build_paradigm(config, decomposition, scale_std)
    if disturbed_in is not None:
        paradigm = with_faults(paradigm, faults, 0, config.training.batch_size, disturbed_in)
    rows = train(config, paradigm, dataset, engine, LoopPlan(until, 8, 1, frozenset()))
    average = torch.cat([tensor.double().flatten() for _, tensor in engine.tensors("ema")])
    return [row["loss"] for row in rows], [float(average.sum()), float(average.norm())]
