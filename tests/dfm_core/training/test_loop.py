"""The training loop: interrupted is uninterrupted, and split is whole."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from dfm_core.config import ExperimentConfig
from dfm_core.paradigms import Batch, LossResult
from dfm_core.training.curve import CurveRow
from dfm_core.training.engine import STATE_KINDS, PlainEngine, learning_rate
from dfm_core.training.loop import train
from dfm_core.training.state import build_model
from dfm_core.training.steps import LoopPlan
from tests.support.models import (
    SHAPE,
    paradigm_of,
    random_dataset,
    tiny_cascade,
    tiny_dfm,
    tiny_flow_matching,
    tiny_pyramidal_flow,
    training_batch,
    with_values,
)
from tests.support.state_folders import read_folder
from tests.support.training_recorder import Recorder

STD = (0.5, 0.25)


def engine_for(config: ExperimentConfig, num_micro_batches: int = 1) -> PlainEngine:
    return PlainEngine(build_model(config, SHAPE, STD[-config.num_stages :]), config.training, num_micro_batches)


def run(config: ExperimentConfig, engine: PlainEngine, observer: Any = None, **settings: Any) -> list[CurveRow]:
    plan = LoopPlan(**{"until_step": 6, "micro_batch_size": 8, "log_every": 1, "save_at": frozenset(), **settings})
    return train(config, paradigm_of(config, STD[-config.num_stages :]), random_dataset(), engine, plan, observer)


TRAININGS = {
    "dfm": tiny_dfm(),
    "flow_matching": tiny_flow_matching(),
    "tied": tiny_dfm({"training.timesteps": "tied"}),
    "cascade_first": tiny_cascade(0),
    "cascade_second": tiny_cascade(1),
    "pyramid": tiny_pyramidal_flow(),
}


@pytest.mark.parametrize("config", TRAININGS.values(), ids=TRAININGS)
@pytest.mark.parametrize("log_every", [1, 2])
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(
    config: ExperimentConfig, log_every: int, tmp_path: Path
) -> None:
    plan = LoopPlan(until_step=6, micro_batch_size=8, log_every=log_every, save_at=frozenset({3}))
    paradigm, dataset = paradigm_of(config, STD[-config.num_stages :]), random_dataset()
    whole = engine_for(config)
    recorder = Recorder(whole, tmp_path)
    curve = train(config, paradigm, dataset, whole, plan, recorder)

    resumed = engine_for(replace(config, seed=123))  # its initial weights must not matter
    resumed.load(read_folder(tmp_path / "3"), num_steps=3)
    rest = train(config, paradigm, dataset, resumed, plan, start_step=3, curve=recorder.saved[3])

    assert rest == curve
    for kind in STATE_KINDS:
        for (name, a), (_, b) in zip(whole.tensors(kind), resumed.tensors(kind), strict=True):
            assert torch.equal(a, b), f"{kind} {name}"


def test_a_longer_run_extends_a_shorter_one() -> None:
    assert run(tiny_dfm(), engine_for(tiny_dfm()), until_step=4) == run(tiny_dfm(), engine_for(tiny_dfm()))[:4]


@pytest.mark.parametrize("micro_batch_size", [4, 2, 1])
@pytest.mark.parametrize("name", ["dfm", "cascade_first", "cascade_second", "pyramid"])
def test_micro_batches_change_nothing_but_rounding(name: str, micro_batch_size: int) -> None:
    config = TRAININGS[name]
    whole = run(config, engine_for(config))
    split = run(config, engine_for(config, 8 // micro_batch_size), micro_batch_size=micro_batch_size)
    for a, b in zip(whole, split, strict=True):
        assert b == pytest.approx(a, rel=1e-5)


def test_logging_and_saving_change_no_weight() -> None:
    engines = [engine_for(tiny_dfm()), engine_for(tiny_dfm())]
    run(tiny_dfm(), engines[0], log_every=1)
    run(tiny_dfm(), engines[1], log_every=4, save_at=frozenset({1, 5}))
    for (name, a), (_, b) in zip(engines[0].tensors("weight"), engines[1].tensors("weight"), strict=True):
        assert torch.equal(a, b), name


def test_a_row_averages_the_steps_since_the_row_before() -> None:
    single, pairs = run(tiny_dfm(), engine_for(tiny_dfm())), run(tiny_dfm(), engine_for(tiny_dfm()), log_every=2)
    assert [row["step"] for row in pairs] == [2, 4, 6]
    for row, first, second in zip(pairs, single[::2], single[1::2], strict=True):
        for key in ("loss", "gradient_norm"):
            assert row[key] == pytest.approx((first[key] + second[key]) / 2, rel=1e-12)
        assert row["learning_rate"] == second["learning_rate"]
        assert row["images"] == row["step"] * 8


def test_stage_losses_are_means_over_the_samples_that_have_the_stage() -> None:
    config = tiny_dfm({"training.learning_rate": 1e-12})
    (row,) = run(config, engine_for(config), until_step=5, log_every=5)
    paradigm, model = paradigm_of(config, STD), build_model(config, SHAPE, STD)
    results = [
        paradigm.loss(model, training_batch(config, random_dataset(), range(8 * k, 8 * k + 8))) for k in range(5)
    ]
    losses, counts = sum(r.stage_losses for r in results), sum(r.stage_counts for r in results)
    assert 0 < counts[1] < counts[0] == 40
    for stage in range(2):
        assert row[f"loss_stage_{stage}"] == pytest.approx(float(losses[stage] / counts[stage]), rel=1e-5)


def test_losses_by_timestep_stand_in_saved_rows_and_average_to_the_stages_losses() -> None:
    config = tiny_dfm({"training.learning_rate": 1e-12})
    rows = run(config, engine_for(config), until_step=6, log_every=2, save_at=frozenset({4}))
    by_time = [{key: value for key, value in row.items() if re.search(r"_t\dof8$", key)} for row in rows]
    assert [bool(found) for found in by_time] == [False, True, False]
    paradigm, model = paradigm_of(config, STD), build_model(config, SHAPE, STD)
    batches = [training_batch(config, random_dataset(), range(8 * k, 8 * k + 8)) for k in (2, 3)]
    losses, counts = sum(paradigm.loss(model, batch).timestep_sums for batch in batches)  # type: ignore[misc]
    bins = counts.nonzero().tolist()
    expected = {f"loss_stage_{s}_t{b}of8": float(losses[s, b] / counts[s, b]) for s, b in bins}
    shares = {f"draws_stage_{s}_t{b}of8": float(counts[s, b] / counts[s].sum()) for s, b in bins}
    assert by_time[1] == pytest.approx(expected | shares, rel=1e-5)
    for stage in range(2):
        mean = float(losses[stage].sum() / counts[stage].sum())
        assert rows[1][f"loss_stage_{stage}"] == pytest.approx(mean, rel=1e-5)


def test_a_cascades_network_has_the_loss_of_its_own_stage_alone() -> None:
    for stage in (0, 1):
        rows = run(tiny_cascade(stage), engine_for(tiny_cascade(stage)))
        for row in rows:
            assert row[f"loss_stage_{stage}"] == pytest.approx(row["loss"], rel=1e-6)
            assert f"loss_stage_{1 - stage}" not in row


def test_the_curve_shows_the_warm_up() -> None:
    config = tiny_dfm({"training.warmup_steps": 4})
    rates = [row["learning_rate"] for row in run(config, engine_for(config))]
    assert rates == [learning_rate(config.training, step) for step in range(6)]
    assert rates[0] == pytest.approx(config.training.learning_rate / 4)


@pytest.mark.parametrize("name", ["dfm", "cascade_second", "pyramid"])
def test_training_learns_an_image_by_heart(name: str) -> None:
    # With one image the velocity is a function of the state: the loss can fall far below that of the fresh network.
    config = with_values(TRAININGS[name], {"training.class_dropout": 0.0, "training.batch_size": 16})
    plan = LoopPlan(until_step=150, micro_batch_size=16, log_every=25, save_at=frozenset())
    rows = train(config, paradigm_of(config, STD), random_dataset(1), engine_for(config), plan)
    assert rows[-1]["loss"] < 0.7 * rows[0]["loss"]


def test_the_observer_sees_every_step_and_saves_after_the_row_is_logged() -> None:
    recorder = Recorder()
    rows = run(tiny_dfm(), engine_for(tiny_dfm()), recorder, log_every=4, save_at=frozenset({1, 5}))
    assert recorder.steps == [1, 2, 3, 4, 5, 6]
    assert [row["step"] for row in rows] == [1, 4, 5, 6]
    assert recorder.rows == rows
    assert recorder.saved == {1: rows[:1], 5: rows[:3]}


class Recording:
    """A paradigm that writes down the indices it is given."""

    def __init__(self) -> None:
        self.indices: list[int] = []

    def draw(self, *_arguments: Any) -> None:
        """It draws nothing."""

    def loss(self, model: Any, batch: Batch) -> LossResult:
        self.indices += batch.indices
        loss = sum(p.sum() for p in model.parameters()) * 0
        return LossResult(loss, torch.zeros(2), torch.ones(2))


class WorkerOf(PlainEngine):
    """One worker of several, without the others."""

    def __init__(self, config: ExperimentConfig, rank: int, world_size: int) -> None:
        super().__init__(build_model(config, SHAPE, STD), config.training)
        self.rank, self.world_size = rank, world_size


@pytest.mark.parametrize(("world_size", "micro_batch_size"), [(1, 8), (1, 2), (2, 4), (2, 2), (4, 1), (8, 1)])
def test_workers_and_micro_batches_share_the_batch_out_in_order(world_size: int, micro_batch_size: int) -> None:
    shares = []
    for rank in range(world_size):
        paradigm = Recording()
        plan = LoopPlan(until_step=3, micro_batch_size=micro_batch_size, log_every=1, save_at=frozenset())
        train(tiny_dfm(), paradigm, random_dataset(), WorkerOf(tiny_dfm(), rank, world_size), plan)
        shares.append(torch.tensor(paradigm.indices).reshape(3, -1))
    assert torch.cat(shares, dim=1).flatten().tolist() == list(range(24))


def test_a_batch_that_does_not_divide_is_refused() -> None:
    with pytest.raises(AssertionError, match="batch 8 is not 1 workers x 2 x 3"):
        run(tiny_dfm(), engine_for(tiny_dfm()), micro_batch_size=3)


def test_a_batch_holds_the_images_and_labels_of_its_indices() -> None:
    config, dataset = tiny_dfm(), random_dataset(20)
    indices = range(15, 25)
    batch = training_batch(config, dataset, indices)
    assert batch.indices == indices

    def find(image: torch.Tensor) -> Sequence[int]:
        return [row for row in range(20) if torch.equal(dataset.images([row])[0], image)]

    for image, label in zip(batch.images, batch.labels, strict=True):
        (row,) = find(image)
        assert label == dataset.labels[row]
    assert len({tuple(find(image)) for image in batch.images[:5]}) == 5  # the last five of epoch 0
