"""The inception score against torch-fidelity, dgm-eval and ADM, and its known answers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from dfm_core.metrics.scores.accumulator import Batch, Score
from dfm_core.metrics.scores.inception_score import (
    InceptionScoreAccumulator,
    equal_splits,
    weighted_inception_scores,
)
from tests.support.models import golden_tensors

GOLDEN = golden_tensors("inception_score")
LOGITS = GOLDEN["logits"]
COUNT, NUM_CLASSES = LOGITS.shape


def score(logits: Tensor, bounds: tuple[int, ...]) -> Score:
    accumulator = InceptionScoreAccumulator.empty(bounds, logits.shape[1])
    return accumulator.update(Batch(torch.arange(len(logits)), logits)).compute()["inception_score"]


@pytest.mark.parametrize("num_splits", [1, 10])
def test_equal_splits_give_the_mean_and_deviation_of_torch_fidelity(num_splits: int) -> None:
    found = score(LOGITS, equal_splits(COUNT, num_splits))
    mean, deviation = GOLDEN[f"torch_fidelity_noshuffle_splits{num_splits}"].tolist()
    assert found.value == pytest.approx(mean, rel=1e-12)
    assert found.spread == pytest.approx(deviation, rel=1e-11, abs=1e-14)


@pytest.mark.parametrize("routine", ["torch_fidelity", "dgm_eval"])
def test_shuffled_splits_are_those_of_samples_in_another_order(routine: str) -> None:
    order = np.random.RandomState(2020).permutation(COUNT)  # what both originals draw
    mean, deviation = GOLDEN[f"{routine}_shuffle_splits10"].tolist()
    found = score(LOGITS[torch.from_numpy(order)], equal_splits(COUNT, 10))
    assert (found.value, found.spread) == pytest.approx((mean, deviation), rel=1e-11)


@pytest.mark.parametrize("size", [50, 500])
def test_splits_of_a_size_give_the_mean_of_adm(size: int) -> None:
    expected = float(GOLDEN[f"guided_diffusion_split_size{size}"])
    assert score(LOGITS, (*range(0, COUNT, size), COUNT)).value == pytest.approx(expected, rel=1e-12)


def test_splits_cover_all_samples_in_order() -> None:
    assert equal_splits(11, 3) == (0, 3, 7, 11)


def test_certain_and_evenly_spread_classes_score_their_number() -> None:
    assert score(1000 * torch.eye(7).repeat(3, 1), (0, 21)).value == pytest.approx(7, rel=1e-12)


def test_samples_that_look_alike_score_one() -> None:
    assert score(torch.randn(1, 9).expand(20, 9), (0, 20)).value == pytest.approx(1, rel=1e-12)


def test_two_samples_by_hand() -> None:
    p = torch.tensor([[0.9, 0.1], [0.3, 0.7]], dtype=torch.float64)
    divergences = [
        0.9 * math.log(0.9 / 0.6) + 0.1 * math.log(0.1 / 0.4),
        0.3 * math.log(0.3 / 0.6) + 0.7 * math.log(0.7 / 0.4),
    ]
    assert score(p.log() + 5.0, (0, 2)).value == pytest.approx(math.exp(sum(divergences) / 2), rel=1e-12)


def test_a_split_that_lacks_samples_or_has_some_twice_is_refused() -> None:
    accumulator = InceptionScoreAccumulator.empty((0, 3, 6), NUM_CLASSES)
    accumulator = accumulator.update(Batch(torch.tensor([0, 1, 2, 3, 5]), LOGITS[:5]))
    with pytest.raises(ValueError, match="inception score: split 1 has 3 samples, 2 came"):
        accumulator.compute()
    twice = accumulator.update(Batch(torch.tensor([4, 5]), LOGITS[:2]))
    with pytest.raises(ValueError, match="inception score: split 1 has 3 samples, 4 came"):
        twice.compute()


@pytest.mark.parametrize("index", [-1, 6])
def test_a_sample_that_no_split_has_is_refused(index: int) -> None:
    with pytest.raises(ValueError, match=f"inception score of 6 samples: no split has sample {index}"):
        InceptionScoreAccumulator.empty((0, 3, 6), NUM_CLASSES).update(Batch(torch.tensor([index]), LOGITS[:1]))


def test_impossible_splits_are_refused() -> None:
    with pytest.raises(ValueError, match="4 samples have 1 to 4 splits, got 5"):
        equal_splits(4, 5)


def test_counts_are_copies_of_the_samples() -> None:
    bounds, counts = (0, 200, 500), torch.ones(500, 3)
    counts[:, 1] = torch.arange(500) % 3  # by hand, split by split
    counts[:200, 2] = 0  # the first split has none left
    ones, drawn, second = weighted_inception_scores(LOGITS, bounds, counts).tolist()
    assert ones == pytest.approx(score(LOGITS, bounds).value, rel=1e-12)
    parts = (
        LOGITS[:200].repeat_interleave(counts[:200, 1].long(), 0),
        LOGITS[200:].repeat_interleave(counts[200:, 1].long(), 0),
    )
    assert drawn == pytest.approx(np.mean([score(part, (0, len(part))).value for part in parts]), rel=1e-12)
    assert second == pytest.approx(score(LOGITS[200:], (0, 300)).value, rel=1e-12)


def test_splits_with_fewer_samples_than_classes_say_that_they_bound_the_score() -> None:
    logits = 50.0 * torch.eye(30)[:12]
    scores = InceptionScoreAccumulator.empty(equal_splits(12, 3), 30).update(Batch(torch.arange(12), logits))
    score = scores.compute()["inception_score"]
    assert score.value == pytest.approx(4.0)
    assert score.notes == ("splits of 4 samples for 30 classes: no score of theirs can exceed 4",)
