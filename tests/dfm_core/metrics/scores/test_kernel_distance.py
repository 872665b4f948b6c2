"""KID against torch-fidelity and clean-fid, and against sums written out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dfm_core.metrics.scores import feature_store as module
from dfm_core.metrics.scores.accumulator import Batch
from dfm_core.metrics.scores.kernel_distance import (
    KernelDistanceAccumulator,
    draw_subsets,
    kernel_distance,
    unbiased_mmd2,
    weighted_mmd2,
)
from tests.support.models import golden_tensors

GOLDEN = golden_tensors("kernel_and_neighbours")
SAMPLES, REFERENCE = GOLDEN["samples"], GOLDEN["reference"]


def by_loops(x: Tensor, y: Tensor) -> float:
    """The estimate as a sum over pairs."""

    def kernel(a: Tensor, b: Tensor) -> float:
        return (float(a @ b) / len(a) + 1) ** 3

    within = sum(kernel(x[i], x[j]) for i in range(len(x)) for j in range(len(x)) if i != j) / (len(x) * (len(x) - 1))
    others = sum(kernel(y[i], y[j]) for i in range(len(y)) for j in range(len(y)) if i != j) / (len(y) * (len(y) - 1))
    return within + others - 2 * sum(kernel(a, b) for a in x for b in y) / (len(x) * len(y))


def test_the_same_subsets_give_the_mean_and_deviation_of_torch_fidelity() -> None:
    picks = (GOLDEN["kid_sample_subsets"].numpy(), GOLDEN["kid_reference_subsets"].numpy())
    score = kernel_distance(SAMPLES, REFERENCE, list(zip(*picks, strict=True)))
    assert (score.value, score.spread) == pytest.approx(tuple(GOLDEN["kid_torch_fidelity"].tolist()), rel=1e-11)


@pytest.mark.parametrize("routine", ["torch_fidelity", "clean_fid"])
def test_whole_sets_give_the_originals_value(routine: str) -> None:
    expected = float(GOLDEN[f"kid_{routine}_whole"])
    assert float(unbiased_mmd2(SAMPLES, REFERENCE[:160])) == pytest.approx(expected, rel=1e-12)


def test_sets_of_different_sizes_have_the_sum_over_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = SAMPLES[:9], REFERENCE[:7]
    assert float(unbiased_mmd2(x, y)) == pytest.approx(by_loops(x, y), rel=1e-12)
    monkeypatch.setattr(module, "_CHUNK_ELEMENTS", 20)  # blocks of two rows
    assert float(unbiased_mmd2(x, y)) == pytest.approx(by_loops(x, y), rel=1e-12)


def test_two_against_two_by_hand() -> None:
    """k(0, 2) = 1, k(1, 3) = 64; k(0, 1) = k(0, 3) = 1, k(2, 1) = 27, k(2, 3) = 343."""
    x, y = torch.tensor([[0.0], [2.0]]), torch.tensor([[1.0], [3.0]])
    assert float(unbiased_mmd2(x, y)) == 1 + 64 - 2 * (1 + 1 + 27 + 343) / 4


def test_one_distribution_has_distance_zero_in_the_mean() -> None:
    """That is what unbiased means: with the pairs of a sample and itself the mean would be 0.14."""
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(400, 2, 30, 4, generator=generator, dtype=torch.float64)
    values = torch.stack([unbiased_mmd2(x, y) for x, y in draws])
    assert abs(float(values.mean())) < 3 * float(values.std()) / 20
    assert float(values.min()) < 0


def test_counts_are_copies_of_which_pairs_do_not_count() -> None:
    counts = torch.stack([torch.ones(9), torch.arange(9) % 3], dim=1)
    ones, drawn = weighted_mmd2(SAMPLES[:9], REFERENCE[:7], counts).tolist()
    assert ones == pytest.approx(by_loops(SAMPLES[:9], REFERENCE[:7]), rel=1e-12)
    w, x, y = counts[:, 1].double(), SAMPLES[:9], REFERENCE[:7]
    k = (x @ x.T / 8 + 1) ** 3
    pairs = torch.outer(w, w).fill_diagonal_(0)
    across = w @ ((x @ y.T / 8 + 1) ** 3).mean(dim=1) / w.sum()
    l = ((y @ y.T / 8 + 1) ** 3).fill_diagonal_(0).sum() / 42  # noqa: E741
    assert drawn == pytest.approx(float((pairs * k).sum() / pairs.sum() + l - 2 * across), rel=1e-12)


def test_subsets_depend_on_the_seed_alone() -> None:
    first, again, other = (draw_subsets(seed, 3, 5, 40, 30) for seed in (1, 1, 2))
    flat = [[rows.tolist() for pair in subsets for rows in pair] for subsets in (first, again, other)]
    assert flat[0] == flat[1] != flat[2]
    assert [len(set(rows)) for rows in flat[0]] == [5] * 6
    more = draw_subsets(1, 4, 5, 40, 30)
    assert [rows.tolist() for pair in more[:3] for rows in pair] == flat[0]
    # Samples and reference are drawn apart: equal picks would pair each sample with one reference image.
    assert all(samples.tolist() != reference.tolist() for samples, reference in draw_subsets(1, 3, 5, 40, 40))


def test_the_accumulator_draws_its_subsets_by_seed() -> None:
    accumulator = KernelDistanceAccumulator.empty(num_subsets=6, subset_size=50, seed=4)
    accumulator = accumulator.update(Batch(torch.arange(160), SAMPLES))
    subsets = draw_subsets(4, 6, 50, 160, 200)
    assert accumulator.compute(REFERENCE)["kernel_distance"] == kernel_distance(SAMPLES, REFERENCE, subsets)


def test_a_set_that_is_smaller_than_a_subset_is_refused() -> None:
    message = "subsets of 1000 need as many samples and reference features, got 160 and 200"
    with pytest.raises(ValueError, match=message):
        KernelDistanceAccumulator.empty().update(Batch(torch.arange(160), SAMPLES)).compute(REFERENCE)
