"""What every accumulator promises; run over the registry, so that a new one is tested by being registered."""

from __future__ import annotations

import math
import pickle
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dfm_core.config import EvaluationConfig
from dfm_core.metrics.registry import ACCUMULATORS, STORES_FEATURES, Sizes
from dfm_core.metrics.scores.accumulator import Accumulator, Batch, Score
from dfm_core.metrics.scores.moments import Moments

COUNT, WIDTH = 60, 6
GENERATOR = torch.Generator().manual_seed(3)
FEATURES = torch.randn(COUNT, WIDTH, generator=GENERATOR)
REFERENCE_FEATURES = 1.2 * torch.randn(50, WIDTH, generator=GENERATOR) + 0.3
TARGETS = {
    "clip_similarity": torch.randn(COUNT, WIDTH, generator=GENERATOR),
    "label_accuracy": torch.arange(COUNT) % WIDTH,
}
REFERENCES = {
    "frechet_distance": Moments.of(REFERENCE_FEATURES),
    "kernel_distance": REFERENCE_FEATURES,
    "neighbours": REFERENCE_FEATURES,
}
"""Of the accumulators that are given one; those of the others are None."""
TOLERANCE = 1e-10
for_every_name = pytest.mark.parametrize("name", ACCUMULATORS)
devices = pytest.mark.parametrize("device", ["cpu", *(["cuda"] if torch.cuda.is_available() else [])])
cuts_of_the_samples = st.lists(st.integers(0, COUNT), min_size=2, max_size=2)


def empty(name: str, device: str = "cpu") -> Accumulator[Any]:
    return ACCUMULATORS[name](
        Sizes(
            width=WIDTH,
            num_samples=COUNT,
            num_labels=1,
            evaluation=EvaluationConfig(inception_splits=3, kernel_subsets=4, kernel_subset_size=20, num_neighbours=3),
            device=device,
        )
    )


def batch(name: str, rows: Tensor, dtype: torch.dtype = torch.float32) -> Batch:
    """The samples with these indices."""
    targets = TARGETS[name][rows] if name in TARGETS else None
    return Batch(rows, FEATURES[rows].to(dtype), targets)


def updated(name: str, parts: Sequence[Tensor], device: str = "cpu") -> Accumulator[Any]:
    accumulator = empty(name, device)
    for rows in parts:
        accumulator = accumulator.update(batch(name, rows))
    return accumulator


def scores(name: str, accumulator: Accumulator[Any]) -> dict[str, Score]:
    return accumulator.compute(REFERENCES.get(name))


def assert_close(name: str, actual: Accumulator[Any], expected: Accumulator[Any]) -> None:
    assert actual.count == expected.count
    found, wanted = scores(name, actual), scores(name, expected)
    assert found.keys() == wanted.keys()
    for key, score in wanted.items():
        assert found[key].notes == score.notes
        numbers = {field: value for field, value in vars(score).items() if isinstance(value, float)}
        assert {field: getattr(found[key], field) for field in numbers} == pytest.approx(numbers, rel=TOLERANCE)


def parts_of(cuts: list[int]) -> list[Tensor]:
    """Three groups of consecutive samples, some perhaps empty."""
    first, second = sorted(cuts)
    return list(torch.arange(COUNT).tensor_split([first, second]))


@for_every_name
def test_scores_are_finite_numbers_of_all_samples(name: str) -> None:
    accumulator = updated(name, [torch.arange(COUNT)])
    assert accumulator.count == COUNT
    assert all(math.isfinite(score.value) for score in scores(name, accumulator).values())


@for_every_name
@given(cuts=cuts_of_the_samples)
def test_how_samples_fall_into_batches_does_not_matter(name: str, cuts: list[int]) -> None:
    assert_close(name, updated(name, parts_of(cuts)), updated(name, [torch.arange(COUNT)]))


@for_every_name
def test_the_order_in_which_samples_come_does_not_matter(name: str) -> None:
    order = torch.randperm(COUNT, generator=torch.Generator().manual_seed(1))
    assert_close(name, updated(name, list(order.split(7))), updated(name, [torch.arange(COUNT)]))


@for_every_name
@given(cuts=cuts_of_the_samples)
def test_merging_is_associative_and_commutative_and_equals_the_whole(name: str, cuts: list[int]) -> None:
    a, b, c = (updated(name, [rows]) for rows in parts_of(cuts))
    whole = updated(name, [torch.arange(COUNT)])
    for merged in (a.merge(b).merge(c), a.merge(b.merge(c)), c.merge(a).merge(b)):
        assert_close(name, merged, whole)


@for_every_name
def test_empty_is_neutral_on_both_sides_bitwise(name: str) -> None:
    whole = updated(name, [torch.arange(COUNT)])
    for merged in (empty(name).merge(whole), whole.merge(empty(name))):
        assert merged.count == whole.count
        assert scores(name, merged) == scores(name, whole)


@for_every_name
def test_an_update_or_merge_leaves_what_was_there_before_as_it_was(name: str) -> None:
    before = updated(name, [torch.arange(COUNT)])
    expected = scores(name, before)
    before.update(batch(name, torch.arange(COUNT)))
    before.merge(before)
    assert before.count == COUNT
    assert scores(name, before) == expected


@for_every_name
def test_nothing_is_refused_rather_than_scored(name: str) -> None:
    with pytest.raises(ValueError, match=r"needs two samples, got 0|0 came|no features were kept|no samples came"):
        scores(name, empty(name))


@for_every_name
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_are_counted_and_named(name: str, value: float) -> None:
    spoilt = FEATURES.clone()
    spoilt[[4, 31], 2] = value
    targets = TARGETS.get(name)
    with pytest.raises(ValueError, match=r"^features of 2 of 60 samples are not finite: 104, 131$"):
        empty(name).update(Batch(torch.arange(COUNT) + 100, spoilt, targets))
    with pytest.raises(ValueError, match=r"^targets of 2 of 60 samples are not finite: 4, 31$"):
        empty(name).update(Batch(torch.arange(COUNT), FEATURES, spoilt))


@for_every_name
def test_it_can_be_sent_to_another_process(name: str) -> None:
    accumulator = updated(name, [torch.arange(COUNT)])
    received = pickle.loads(pickle.dumps(accumulator.to("cpu")))
    assert scores(name, received) == scores(name, accumulator)


@for_every_name
def test_float32_features_count_as_the_float64_numbers_that_they_are(name: str) -> None:
    double = empty(name).update(batch(name, torch.arange(COUNT), torch.float64))
    assert_close(name, updated(name, [torch.arange(COUNT)]), double)


@for_every_name
def test_memory_grows_with_the_samples_only_where_features_are_kept(name: str) -> None:
    few, all_samples = (updated(name, list(torch.arange(count).split(10))) for count in (10, COUNT))
    grows = len(pickle.dumps(all_samples)) > len(pickle.dumps(few)) + COUNT
    assert grows == (name in STORES_FEATURES)


@for_every_name
@devices
def test_features_are_brought_to_the_accumulators_device(name: str, device: str) -> None:
    there = updated(name, list(torch.arange(COUNT).split(25)), device)
    tensors = [value for value in vars(there).values() if isinstance(value, Tensor)]
    assert {tensor.device.type for tensor in tensors} <= {device}
    assert {tensor.dtype for tensor in tensors} <= {torch.float64, torch.int64}
    whole = updated(name, [torch.arange(COUNT)])
    assert_close(name, there, whole)
    assert_close(name, there.to("cpu"), whole)


def test_a_batch_has_an_index_and_a_target_for_each_sample() -> None:
    with pytest.raises(ValueError, match=r"indices are \[60\] for 60 samples, got \[59\]"):
        Batch(torch.arange(COUNT - 1), FEATURES)
    with pytest.raises(ValueError, match="60 samples have as many targets, got 2"):
        Batch(torch.arange(COUNT), FEATURES, torch.zeros(2))


def test_many_samples_that_are_not_finite_are_not_all_named() -> None:
    message = r"^features of 60 of 60 samples are not finite: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, \.\.\.$"
    with pytest.raises(ValueError, match=message):
        Batch(torch.arange(COUNT), torch.full((COUNT, 2, 3), math.nan))
