"""Leaving out groups: known answers of means, ratios and pairs."""

from __future__ import annotations

import pytest
import torch

from dfm_core.metrics.scores.jackknife import Groups, jackknife, jackknife_of_pairs

GENERATOR = torch.Generator().manual_seed(3)
VALUES = torch.randn(60, generator=GENERATOR, dtype=torch.float64)


def means(groups: Groups) -> torch.Tensor:
    counts = groups.counts()
    return VALUES[: groups.num_samples] @ counts / counts.sum(dim=0)


def test_one_sample_a_group_gives_the_error_of_a_mean() -> None:
    groups = Groups(60, 60)
    found = jackknife(float(VALUES.mean()), means(groups)[:60], groups.sizes)
    assert float(found.influences.norm()) == pytest.approx(float(VALUES.std()) / 60**0.5, rel=1e-10)
    assert found.bias == pytest.approx(0.0, abs=1e-12)
    paired = jackknife_of_pairs(means(groups), groups.sizes)
    assert float(paired.influences.norm()) == pytest.approx(float(found.influences.norm()), rel=1e-6)  # no pairs in it


def test_the_bias_of_a_variance_without_its_correction_is_found_exactly() -> None:
    """sum (x - mean)^2 / n is too small by a share of 1 / n; the jackknife's correction of it is exact."""
    counts, squares = Groups(60, 60).counts(), VALUES**2
    sizes = counts.sum(dim=0)
    variances = squares @ counts / sizes - (VALUES @ counts / sizes) ** 2
    found = jackknife(float(variances[-1]), variances[:60], torch.ones(60).double())
    assert float(variances[-1]) - found.bias == pytest.approx(float(VALUES.var()), rel=1e-10)


def test_groups_of_unequal_size_weigh_as_many_as_they_are() -> None:
    """By hand, of a mean: the variance is sum m^2 (group's mean - mean)^2 / (G n (n - m)) in this form."""
    groups = Groups(50, 20)
    assert groups.sizes.tolist() == [3.0] * 10 + [2.0] * 10
    mean = float(VALUES[:50].mean())
    found = jackknife(mean, means(groups)[:20], groups.sizes)
    own = groups.of_samples(torch.arange(50))
    expected = 0.0
    for group in range(20):
        members = VALUES[:50][own == group]
        m = len(members)
        expected += (float(members.mean()) - mean) ** 2 / (20 * (50 / m - 1))
    assert float((found.influences**2).sum()) == pytest.approx(expected, rel=1e-10)


def test_the_variance_of_a_sum_over_pairs_counts_once() -> None:
    """A mean of products over pairs of standard normal vectors, [20]: variance 2 * 20 / (n (n - 1))."""
    groups, plain, corrected = Groups(100, 50), [], []
    counts = groups.counts()
    sizes = counts.sum(dim=0)
    for seed in range(60):
        x = torch.randn(20, 100, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        estimates = (((x @ counts) ** 2 - x**2 @ counts) / (sizes * (sizes - 1))).sum(dim=0)
        plain.append(float((jackknife(float(estimates[-1]), estimates[:50], groups.sizes).influences ** 2).sum()))
        corrected.append(float((jackknife_of_pairs(estimates, groups.sizes).influences ** 2).sum()))
    true = 2 * 20 / (100 * 99)
    assert 1.6 < sum(plain) / 60 / true < 2.4
    assert 0.8 < sum(corrected) / 60 / true < 1.25


def test_groups_hold_labels_in_turn_equally_often() -> None:
    groups = Groups.of(1000, 50, 10)
    own, labels = groups.of_samples(torch.arange(1000)), torch.arange(1000) % 10
    table = torch.zeros(50, 10).index_put_((own, labels), torch.ones(1000), accumulate=True)
    assert table.unique().tolist() == [2.0]
    assert Groups.of(300, 50, 10) == Groups(300, 30, 10)
    assert Groups.of(1000, 50, 1000) == Groups(1000, 50, 1)  # one of each label: none can be left out alike
    assert Groups.of(7, 50, 1) == Groups(7, 7, 1)


def test_counts_leave_out_one_group_then_two_then_none() -> None:
    counts = Groups(6, 3).counts(rows_per_sample=2)
    assert counts.shape == (12, 7)
    assert counts[::2, 0].tolist() == [0, 1, 1, 0, 1, 1]
    assert counts[::2, 3].tolist() == [0, 0, 1, 0, 0, 1]
    assert counts[::2, 5].tolist() == [0, 1, 0, 0, 1, 0]
    assert counts[:, 6].tolist() == [1.0] * 12
    assert torch.equal(counts[::2], counts[1::2])


def test_empty_groups_are_refused() -> None:
    with pytest.raises(ValueError, match="two groups, none of them empty"):
        jackknife(1.0, torch.ones(2), torch.tensor([3.0, 0.0]))
