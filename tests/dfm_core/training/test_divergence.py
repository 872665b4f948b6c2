"""Steps without finite gradients change nothing, many of them end a training, and so does a loss that runs away."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from dfm_core.config import ExperimentConfig
from dfm_core.paradigms import Batch, LossResult
from dfm_core.training.curve import CurveRow
from dfm_core.training.divergence import NotFiniteError, Skips, TrainingDivergedError, check_loss
from dfm_core.training.engine import STATE_KINDS, PlainEngine
from dfm_core.training.loop import train
from dfm_core.training.state import build_model
from dfm_core.training.steps import LoopPlan
from tests.support.models import SHAPE, paradigm_of, random_dataset, tiny_dfm, with_values
from tests.support.state_folders import read_folder
from tests.support.training_recorder import Recorder

STD = (0.5, 0.25)
CONFIG = tiny_dfm()
BATCH = CONFIG.training.batch_size


class BadSteps:
    """A paradigm whose loss is not a number in some steps, counted from 1: in one micro-batch of them only."""

    def __init__(self, steps: Collection[int], config: ExperimentConfig = CONFIG) -> None:
        self._inner, self._indices = paradigm_of(config, STD), {(step - 1) * BATCH + 5 for step in steps}

    def draw(self, *arguments: Any) -> Any:
        return self._inner.draw(*arguments)

    def loss(self, model: Any, batch: Batch) -> LossResult:
        result = self._inner.loss(model, batch)
        bad = self._indices & set(batch.indices)
        return replace(result, loss=result.loss * float("nan")) if bad else result

    def sample(self, *_arguments: Any) -> Any:
        raise AssertionError("a training does not sample")


def engine(num_micro_batches: int = 1, config: ExperimentConfig = CONFIG) -> PlainEngine:
    return PlainEngine(build_model(config, SHAPE, STD), config.training, num_micro_batches)


def run(
    bad: Collection[int],
    on: PlainEngine,
    observer: Any = None,
    start: int = 0,
    curve: list[CurveRow] | None = None,
    **settings: Any,
) -> list[CurveRow]:
    plan = LoopPlan(**{"until_step": 6, "micro_batch_size": 8, "log_every": 1, "save_at": frozenset(), **settings})
    return train(CONFIG, BadSteps(bad), random_dataset(), on, plan, observer, start_step=start, curve=curve)


def tensors(of: PlainEngine) -> list[torch.Tensor]:
    return [tensor.clone() for kind in STATE_KINDS for _, tensor in of.tensors(kind)]


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.proves(17)
@pytest.mark.parametrize("micro_batch_size", [8, 2])
def test_a_bad_batch_changes_neither_weights_nor_moments_nor_average(micro_batch_size: int) -> None:
    before, after = engine(8 // micro_batch_size), engine(8 // micro_batch_size)
    run((), before, until_step=2, micro_batch_size=micro_batch_size)
    rows = run({3}, after, until_step=3, micro_batch_size=micro_batch_size)
    assert same(tensors(before), tensors(after))
    assert [row["step"] for row in rows] == [1, 2]
    assert (before.num_steps, after.num_steps) == (2, 2)


def test_the_training_goes_on_and_its_curve_counts_what_was_left_out() -> None:
    rows = run({2, 3, 5}, engine())
    assert [row["step"] for row in rows] == [1, 4, 6]
    assert [row.get("skipped_steps") for row in rows] == [None, 2.0, 1.0]
    assert all(torch.isfinite(torch.tensor(list(row.values()))).all() for row in rows)


def test_a_row_averages_the_steps_that_were_taken() -> None:
    whole, skipping = run((), engine(), until_step=2), run({3}, engine(), until_step=3, log_every=3)
    assert skipping[0]["loss"] == pytest.approx((whole[0]["loss"] + whole[1]["loss"]) / 2)
    assert skipping[0]["gradient_norm"] == pytest.approx((whole[0]["gradient_norm"] + whole[1]["gradient_norm"]) / 2)


@pytest.mark.parametrize("cut", [2, 3, 4])
def test_a_training_that_is_cut_beside_a_bad_batch_goes_on_bit_for_bit(cut: int, tmp_path: Path) -> None:
    whole = engine()
    recorder = Recorder(whole, tmp_path)
    plan = LoopPlan(until_step=cut, micro_batch_size=8, log_every=1, save_at=frozenset({cut}))
    train(CONFIG, BadSteps({3}), random_dataset(), whole, plan, recorder)
    num_steps = whole.num_steps
    run({3}, whole, start=cut)
    resumed = engine()
    resumed.load(read_folder(tmp_path / str(cut)), num_steps)
    run({3}, resumed, start=cut)
    assert same(tensors(whole), tensors(resumed))
    assert whole.num_steps == resumed.num_steps == 5


def test_bad_batches_without_end_stop_the_training_and_name_the_last_of_them() -> None:
    recorder, trained = Recorder(), engine()
    good = engine()
    run((), good, until_step=2)
    with pytest.raises(NotFiniteError, match=r"at step 5, the 3\. in a row, with samples 32 to 39 of"):
        run(range(3, 99), trained, recorder, until_step=99, most_skipped_in_a_row=3, save_at=frozenset({5}))
    assert same(tensors(trained), tensors(good))
    assert recorder.saved == {}


@pytest.mark.proves(17)
@pytest.mark.parametrize(("first_bad", "cut"), [(1, 2), (3, 4)])
def test_bad_batches_are_counted_over_a_cut(first_bad: int, cut: int) -> None:
    """Else a training with checkpoints closer than that would get past them by being submitted again and again."""
    recorder, trained, bad = Recorder(), engine(), range(first_bad, 99)
    plan: dict[str, Any] = {"until_step": 99, "save_at": frozenset({cut}), "most_skipped_in_a_row": 3}
    with pytest.raises(NotFiniteError, match=rf"at step {first_bad + 2}, the 3\. in a row"):
        run(bad, trained, recorder, **plan)
    with pytest.raises(NotFiniteError, match=rf"at step {first_bad + 2}, the 3\. in a row"):
        run(bad, trained, start=cut, curve=recorder.saved[cut], **plan)


def test_the_curve_of_a_training_cut_between_bad_batches_counts_skipped_steps() -> None:
    recorder, trained = Recorder(), engine()
    run({2, 3, 4}, trained, recorder, until_step=3, save_at=frozenset({3}))
    cut = run({2, 3, 4}, trained, start=3, curve=recorder.saved[3])
    assert cut == run({2, 3, 4}, engine())
    assert [row.get("skipped_steps") for row in cut] == [None, 3.0, None]


def test_only_steps_in_a_row_are_too_many() -> None:
    skips = Skips(2)
    for step in range(1, 20):
        skips.stepped(step, range(8), skipped=bool(step % 2))
    with pytest.raises(NotFiniteError):  # step 19 was the first
        skips.stepped(20, range(8), skipped=True)
    assert skips.taken() == {"skipped_steps": 11.0}
    assert skips.taken() == {}


def test_a_learning_rate_without_bounds_diverges() -> None:
    config = with_values(CONFIG, {"training.learning_rate": 1e30, "training.warmup_steps": 0})
    plan = LoopPlan(until_step=20, micro_batch_size=8, log_every=1, save_at=frozenset())
    with pytest.raises(NotFiniteError, match=r"lower training\.learning_rate"):
        train(config, paradigm_of(config, STD), random_dataset(), engine(config=config), plan)


@pytest.mark.proves(18)
def test_a_learning_rate_a_thousand_times_too_high_is_noticed_before_nan() -> None:
    config = with_values(CONFIG, {"training.learning_rate": 10.0, "training.warmup_steps": 0})
    plan = LoopPlan(until_step=60, micro_batch_size=8, log_every=1, save_at=frozenset())
    with pytest.raises(TrainingDivergedError, match=r"loss [\d.e+]+ at step \d+, from .* at step 1: lower"):
        train(config, paradigm_of(config, STD), random_dataset(), engine(config=config), plan)


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), 2001.0])
def test_a_loss_that_is_lost_is_told(loss: float) -> None:
    check_loss([{"step": 1.0, "loss": 2.0}, {"step": 2.0, "loss": 1999.0}])
    with pytest.raises(TrainingDivergedError, match=r"at step 3.*lower training\.learning_rate\?"):
        check_loss([{"step": 1.0, "loss": 2.0}, {"step": 2.0, "loss": 1.0}, {"step": 3.0, "loss": loss}])
