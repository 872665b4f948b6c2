"""A chain of trainings of FLUX from the user's files, on one Ray Train worker; `test_flux_engine` has two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dfm_core.models.flux.pretrained_files import open_pretrained
from dfm_core.training.state import load_snapshot
from orchestration.artifacts.snapshot_loader import read_snapshot
from orchestration.artifacts.state_files import open_state
from orchestration.artifacts.task_record import read_record
from orchestration.config.workers import WorkersConfig
from orchestration.control.progress_board import start_progress_board
from orchestration.export import main
from orchestration.plan.plan import Plan, make_plan
from orchestration.spec.load import load_sweep
from orchestration.storage.layout import TaskPaths
from orchestration.storage.store import Store
from orchestration.tasks.task import EncodeTask, TrainTask
from orchestration.training.train_request import request_of
from orchestration.training.worker_group import WorkerGroup
from orchestration.training.worker_group_pool import WorkerGroupPool
from tests.support.flux_sweeps import flux_sweep, make_flux_files
from tests.support.measuring import Bench

pytestmark = pytest.mark.slow
SECONDS = 240
WORKERS = WorkersConfig(num_workers=1, zero_stage=3, checkpoint_every=2, log_every=1, max_failures=0)


@dataclass(frozen=True)
class Trained:
    """Everything that a chain left in the store."""

    store: Store
    plan: Plan
    files: Path
    failures: Sequence[str]

    def training(self, what: str) -> TrainTask:
        """The training of a row, or the one that makes a backbone."""
        rows = {trial.row: trial.trains[0] for trial in self.plan.trials}
        titles = {task.title.removeprefix("backbone "): task.digest for task in self.plan.of_kind(TrainTask)}
        task = self.plan.tasks[rows.get(what) or titles[what]]
        assert isinstance(task, TrainTask)
        return task

    def weights(self, what: str, step: int | None = None) -> dict[str, Tensor]:
        task = self.training(what)
        snapshot = read_snapshot(self.store, (task.digest, task.until_step if step is None else step))
        return {name.removeprefix("network."): weight.detach() for name, weight in snapshot.model.named_parameters()}


def train(store: Store, plan: Plan) -> list[str]:
    """Run all trainings in the plan's order; return why any failed."""
    name, board = start_progress_board()
    groups = WorkerGroupPool(
        WORKERS,
        lambda task: request_of(task, store, WORKERS, name),
        lambda only: WorkerGroup(store, WORKERS, only),
        is_short=lambda _task: True,
    )
    for task in plan.of_kind(TrainTask):
        groups.submit(task).result(SECONDS)
    del board
    return []


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, ray_here: None) -> Trained:  # noqa: ARG001
    folder = tmp_path_factory.mktemp("trained")
    files = make_flux_files(folder / "files")
    plan = make_plan(load_sweep(flux_sweep(folder, files)))
    store = Store(str(folder / "store"))
    bench = Bench(store, runtime=plan.spec.runtime)
    for task in plan.of_kind(EncodeTask):
        bench.run(task)
    return Trained(store, plan, files, train(store, plan))


def test_every_training_of_the_chain_is_on_record(trained: Trained) -> None:
    for task in trained.plan.of_kind(TrainTask):
        record = read_record(trained.store, task.digest)
        assert record is not None
        assert record.step == task.until_step
        assert len(record.curve) == task.until_step


def test_a_backbone_as_it_is_has_the_weights_of_its_files_bitwise(trained: Trained) -> None:
    files, weights = open_pretrained(trained.files / "transformer"), trained.weights("flux", 0)
    assert set(weights) == set(files.places)
    assert all(torch.equal(weight, files.tensor(name)) for name, weight in weights.items())


def test_projections_move_alone_and_the_next_training_starts_from_them(trained: Trained) -> None:
    files, weights = open_pretrained(trained.files / "transformer"), trained.weights("projections")
    moved = {name for name, weight in weights.items() if not torch.equal(weight, files.tensor(name))}
    assert moved == {f"{layer}.{kind}" for layer in ("x_embedder", "proj_out") for kind in ("weight", "bias")}
    adapted = trained.weights("adapted")
    assert all(not torch.equal(adapted[name], weight) for name, weight in weights.items() if "norm_" not in name)


def test_checkpoints_hold_what_is_trained_and_no_average(trained: Trained) -> None:
    task = trained.training("projections")
    with open_state(trained.store, TaskPaths(task.digest).checkpoint(2)) as (state, _):
        assert not state.sizes("ema")
        names = {name.removeprefix("network.") for name in state.sizes("exp_avg")}
    assert names == {f"{layer}.{kind}" for layer in ("x_embedder", "proj_out") for kind in ("weight", "bias")}


def test_snapshots_hold_what_moved_and_lead_to_the_rest(trained: Trained) -> None:
    layers = {f"{layer}.{kind}" for layer in ("x_embedder", "proj_out") for kind in ("weight", "bias")}
    for what, step, held in (("projections", 2, layers), ("flux", 0, set[str]())):
        directory = TaskPaths(trained.training(what).digest).snapshot(step)
        with open_state(trained.store, directory) as (state, about):
            assert {name.removeprefix("network.") for name in state.sizes("ema")} == held
        unmoved = about["unmoved"]
        assert unmoved["files"] == str(trained.files / "transformer")
        assert len(unmoved["names"]) + len(held) == len(trained.weights(what, step))
        with pytest.raises(ValueError, match=r"did not move in its training.*DFMPipeline.from_sweep"):
            load_snapshot(trained.store.path(directory))
    assert "unmoved" not in trained.store.manifest(TaskPaths(trained.training("ft").digest).snapshot(5))["about"]


def test_weights_that_are_no_more_where_a_snapshot_leads_are_told(trained: Trained) -> None:
    config = trained.files / "transformer/config.json"
    content = config.read_text()
    try:
        config.write_text(content.replace("{", '{"more": 1,', 1))
        with pytest.raises(FileNotFoundError, match=r"did not move are those of .*: its files have changed; put the"):
            trained.weights("projections")
        config.unlink()
        with pytest.raises(FileNotFoundError, match=r"config\.json: is not there; put the files there again"):
            trained.weights("projections")
    finally:
        config.write_text(content)
    assert trained.weights("projections")


def test_captions_encoded_in_a_worker_train_bitwise_as_stored_ones_do(trained: Trained, tmp_path: Path) -> None:
    limit = ["text_encoders.tiny.store_gb=0", f"storage.root={tmp_path}"]
    plan, store = make_plan(load_sweep(trained.files.parent / "flux.yaml", limit)), Store(str(tmp_path))
    wanted = trained.training("projections")
    task = plan.tasks[wanted.digest]
    assert isinstance(task, TrainTask)
    assert task.texts != wanted.texts
    bench = Bench(store, runtime=plan.spec.runtime)
    for one in plan.of_kind(EncodeTask):
        bench.run(one)
    only = {digest: one for digest, one in plan.tasks.items() if one is task}
    assert train(store, replace(plan, tasks=only)) == []
    own, stored = (read_snapshot(one, (task.digest, 2)).model.state_dict() for one in (store, trained.store))
    assert all(torch.equal(own[name], weight) for name, weight in stored.items())


def test_two_stages_learn_from_where_one_does(trained: Trained) -> None:
    weights, before = trained.weights("dfm"), trained.weights("adapted")
    assert all(weights[name].shape == weight.shape for name, weight in before.items())
    # With batches of four and a first stage in nine of ten, a step with a second stage may not have come.
    assert not torch.equal(weights["x_embedder.weight"], before["x_embedder.weight"])
    assert len(weights) == len(before) + 11
    assert not torch.equal(trained.weights("ft")["x_embedder.weight"], weights["x_embedder.weight"])


def test_trained_again_nothing_changes(trained: Trained) -> None:
    before = trained.weights("projections")
    trained.store.remove_artifact(TaskPaths(trained.training("projections").digest).snapshot(2))
    assert train(trained.store, trained.plan) == []
    after = trained.weights("projections")  # from the checkpoint, which holds no frozen weight
    assert all(torch.equal(after[name], weight) for name, weight in before.items())


@pytest.mark.parametrize(("row", "class_name"), [("ft", "FluxPipeline"), ("main / dfm", "FluxDFMPipeline")])
def test_trained_rows_are_exported_and_load(trained: Trained, tmp_path: Path, row: str, class_name: str) -> None:
    from diffusers import DiffusionPipeline

    sweep = trained.files.parent / "flux.yaml"
    assert main([str(sweep), row, str(tmp_path / "pipeline"), "--dtype", "bf16"]) == 0
    pipe = DiffusionPipeline.from_pretrained(tmp_path / "pipeline", trust_remote_code=True)
    assert type(pipe).__name__ == class_name
    weights = trained.weights(row.rpartition(" ")[2])
    own = dict(pipe.transformer.named_parameters())
    assert set(own) == set(weights)
    assert all(torch.equal(own[name].bfloat16(), weight.bfloat16()) for name, weight in weights.items())
