"""FLUX under ZeRO on two processes of gloo: it starts from files piece by piece, trains as one process does, and frozen
weights have neither moments nor a place in checkpoints."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing
from torch import Tensor

from dfm_core.config.training import AdapterConfig
from dfm_core.decompositions import build_decomposition
from dfm_core.models.empty_weights import give_weights
from dfm_core.models.flux.pretrained_files import open_pretrained
from dfm_core.models.flux.velocity import FluxVelocity
from dfm_core.paradigms import Batch, build_paradigm
from dfm_core.training.engine import PlainEngine
from dfm_core.training.state import empty_model, initialize_model
from orchestration.config.workers import WorkersConfig, ZeroStage
from orchestration.training.deepspeed_engine import DeepSpeedEngine
from tests.support.flux import FLUX_SHAPE, labels, pretrained, texts, tiny_flux
from tests.support.process_group import join, leave

STEPS, BATCH, WORLD = 3, 4, 2
ADAPTER = AdapterConfig(rank=2, targets=("attn.to_q", "attn.to_out.0", "proj_mlp", "norm1.linear"))


@dataclass(frozen=True)
class Run:
    """One training on two workers."""

    name: str
    zero_stage: ZeroStage
    stages: int
    values: dict[str, Any]


RUNS = (
    Run("all-1", 1, 1, {}),
    Run("all-3", 3, 2, {}),
    Run("projections-2", 2, 2, {"training.trainable": "projections"}),
    Run("projections-3", 3, 1, {"training.trainable": "projections"}),
    Run("adapter-1", 1, 2, {"training.adapter": ADAPTER}),
    Run("adapter-3", 3, 2, {"training.adapter": ADAPTER}),
    Run("no-average-3", 3, 1, {"training.ema_decay": 0.0, "training.trainable": "projections"}),
)


def loss_of(run: Run, model: Any, step: int, positions: range) -> Tensor:
    config = tiny_flux(run.stages, run.values)
    paradigm = build_paradigm(config, build_decomposition(config.decomposition), (1.0,) * run.stages)
    images = torch.randn(BATCH, 4, 8, 8, generator=torch.Generator().manual_seed(step))
    own = slice(positions.start, positions.stop)
    indices = range(BATCH * step + positions.start, BATCH * step + positions.stop)
    return paradigm.loss(model, Batch(images[own], labels(BATCH)[own], indices)).loss


def started(run: Run) -> FluxVelocity:
    """The empty network of a run."""
    model = empty_model(tiny_flux(run.stages, run.values), FLUX_SHAPE, (1.0,) * run.stages)
    assert isinstance(model, FluxVelocity)
    model.use_text(texts())
    return model


def in_one_process(run: Run, folder: Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Weights at the start and the averages at the end."""
    config, model, files = tiny_flux(run.stages, run.values), started(run), open_pretrained(folder / "start")
    give_weights(model, torch.device("cpu"))
    origins = model.starting_names(files.places)
    initialize_model(model, config, given=origins)
    weights = dict(model.named_parameters())
    for name, origin in origins.items():
        weights[name].data.copy_(files.tensor(origin))
    before = {name: weight.detach().clone() for name, weight in weights.items()}
    engine = PlainEngine(model, config.training)
    for step in range(STEPS):
        engine.backward(loss_of(run, model, step, range(BATCH)))
        engine.step(1e-2)
    return before, dict(engine.tensors("ema"))


def worker(rank: int, meeting: str, folder: str) -> None:
    join(rank, WORLD, meeting)
    for run in RUNS:
        config, model = tiny_flux(run.stages, run.values), started(run)
        workers = WorkersConfig(WORLD, zero_stage=run.zero_stage, micro_batch_size=BATCH // WORLD)
        training = tiny_flux(run.stages, {**run.values, "training.batch_size": BATCH}).training
        engine = DeepSpeedEngine(model, training, workers, torch.device("cpu"))
        files = open_pretrained(Path(folder) / "start")
        origins = model.starting_names(files.places)
        initialize_model(engine.module, config, engine.whole, origins)
        engine.set_weights(files, "weight", origins)
        engine.restart()
        held = sum(_held(weight) for weight in engine.module.parameters())
        per = BATCH // WORLD
        for step in range(STEPS):
            engine.backward(loss_of(run, engine.model, step, range(rank * per, (rank + 1) * per)))
            engine.step(1e-2)
        found = {
            "pieces": {
                str(frozen): [
                    [name, offset, values.tolist()] for name, offset, values in engine.pieces("ema", frozen=frozen)
                ]
                for frozen in (False, True)
            },
            "moments": sum(values.numel() for _, _, values in engine.pieces("exp_avg")),
            "kinds": engine.kinds,
            "held": held,
            "frozen": sorted(engine.frozen),
        }
        (Path(folder) / f"{run.name}-{rank}.json").write_text(json.dumps(found))
        engine.close()
    leave()


def _held(weight: Any) -> int:
    """Elements that a worker keeps of a weight."""
    return weight.ds_tensor.numel() if hasattr(weight, "ds_tensor") else weight.numel()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flux")
    pretrained().save_pretrained(folder / "start", max_shard_size="30KB")
    meeting = folder / f"meeting-{uuid.uuid4().hex}"
    torch.multiprocessing.spawn(worker, (str(meeting), str(folder)), nprocs=WORLD)
    return folder


def found(folder: Path, run: Run) -> list[dict[str, Any]]:
    return [json.loads((folder / f"{run.name}-{rank}.json").read_text()) for rank in range(WORLD)]


def whole(workers: list[dict[str, Any]], like: dict[str, Tensor]) -> dict[str, Tensor]:
    """Whole tensors from all pieces; NaN where nobody owns anything."""
    tensors = {name: torch.full((weight.numel(),), float("nan")) for name, weight in like.items()}
    for pieces in (pieces for one in workers for pieces in one["pieces"].values()):
        for name, offset, values in pieces:
            assert tensors[name][offset : offset + len(values)].isnan().all(), f"{name} is owned twice"
            tensors[name][offset : offset + len(values)] = torch.tensor(values)
    return {name: tensor.view(like[name].shape) for name, tensor in tensors.items()}


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_two_workers_train_as_one_process_does(folder: Path, run: Run) -> None:
    before, after = in_one_process(run, folder)
    together = whole(found(folder, run), before)
    for name, weight in after.items():
        torch.testing.assert_close(together[name], weight, rtol=1e-5, atol=1e-5, msg=name)


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_only_what_is_trained_moves_and_has_moments(folder: Path, run: Run) -> None:
    before, _ = in_one_process(run, folder)
    workers = found(folder, run)
    after = whole(workers, before)
    moved = {name for name, weight in after.items() if not torch.equal(weight, before[name])}
    trained = {name for name, weight in started(run).named_parameters() if weight.requires_grad}
    assert moved == trained
    if "projections" in run.name or "average" in run.name:
        assert {name.removeprefix("network.").removeprefix("scales.1.").rpartition(".")[0] for name in moved} == {
            "x_embedder",
            "proj_out",
        }
    assert sum(one["moments"] for one in workers) == sum(before[name].numel() for name in trained)
    assert all(set(one["frozen"]) == before.keys() - trained for one in workers)
    expected = (
        ["weight", "exp_avg", "exp_avg_sq"] if "average" in run.name else ["weight", "ema", "exp_avg", "exp_avg_sq"]
    )
    assert workers[0]["kinds"] == expected


@pytest.mark.parametrize("run", [run for run in RUNS if run.zero_stage == 3], ids=lambda run: run.name)
def test_each_of_two_workers_holds_half_of_every_weight(folder: Path, run: Run) -> None:
    before, _ = in_one_process(run, folder)
    halves = sum(ceil(weight.numel() / WORLD) for weight in before.values())
    assert [one["held"] for one in found(folder, run)] == [halves] * WORLD
