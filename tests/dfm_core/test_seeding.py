"""Draws are functions of (seed, stream, index): nothing else may matter, and all three must."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from dfm_core.seeding import normal, normal_scalars, permutation, sample_generator, uniform
from tests.support.models import golden_json

MANY = 4000

DRAWS: dict[str, Callable[[int, str, list[int]], Tensor]] = {
    "normal": lambda seed, stream, indices: normal(seed, stream, indices, (2, 3)),
    "normal_scalars": lambda seed, stream, indices: normal_scalars(seed, stream, indices, 3),
    "uniform": uniform,
}


@pytest.fixture(params=DRAWS)
def draw(request: pytest.FixtureRequest) -> Callable[[int, str, list[int]], Tensor]:
    return DRAWS[request.param]


def test_a_sample_has_the_same_numbers_in_every_batch(draw: Callable[[int, str, list[int]], Tensor]) -> None:
    whole = draw(3, "noise/0", [0, 1, 2, 900, 2**40])
    assert torch.equal(torch.cat([draw(3, "noise/0", [0, 1]), draw(3, "noise/0", [2, 900, 2**40])]), whole)
    assert torch.equal(draw(3, "noise/0", [2**40, 1])[1], whole[1])


@pytest.mark.parametrize(("seed", "stream", "index"), [(4, "noise/0", 5), (3, "noise/1", 5), (3, "noise/0", 6)])
def test_another_seed_stream_or_index_gives_other_numbers(
    draw: Callable[[int, str, list[int]], Tensor], seed: int, stream: str, index: int
) -> None:
    assert not (draw(3, "noise/0", [5]) == draw(seed, stream, [index])).any()


def test_a_longer_draw_begins_with_the_shorter_one() -> None:
    assert torch.equal(normal_scalars(0, "timestep", [4, 9], 3)[:, :1], normal_scalars(0, "timestep", [4, 9], 1))


def test_an_empty_batch_draws_nothing() -> None:
    assert normal(0, "noise/0", [], (2, 3)).shape == (0, 2, 3)
    assert normal_scalars(0, "timestep", [], 3).shape == (0, 3)
    assert uniform(0, "stage", []).shape == (0,)


def test_types_are_float32_for_noise_and_float64_for_scalars() -> None:
    assert normal(0, "noise/0", [1], (2,)).dtype == torch.float32
    assert normal_scalars(0, "timestep", [1], 2).dtype == torch.float64
    assert uniform(0, "stage", [1]).dtype == torch.float64


def test_noise_is_standard_normal_and_independent_over_indices() -> None:
    values = normal(0, "noise/0", range(MANY), (4,)).double().numpy()
    bound = 4.5 / np.sqrt(values.size)
    assert abs(values.mean()) < bound
    assert abs(values.var() - 1) < bound * np.sqrt(2)
    assert abs(stats.skew(values, axis=None)) < bound * np.sqrt(6)
    assert abs(stats.kurtosis(values, axis=None)) < bound * np.sqrt(24)
    correlation = np.corrcoef(np.hstack([values[:-1], values[1:]]).T) - np.eye(8)
    assert np.abs(correlation).max() < 4.5 / np.sqrt(MANY)


def test_first_scalars_of_consecutive_indices_pass_kolmogorov_smirnov() -> None:
    assert stats.kstest(normal_scalars(1, "timestep", range(MANY), 1)[:, 0], "norm").pvalue > 1e-3
    assert stats.kstest(uniform(1, "stage", range(MANY)), "uniform").pvalue > 1e-3


def test_seeds_and_streams_are_uncorrelated() -> None:
    columns = [normal_scalars(seed, stream, range(MANY), 1)[:, 0] for seed in (0, 1) for stream in ("a", "b")]
    correlation = np.corrcoef(torch.stack(columns).numpy()) - np.eye(4)
    assert np.abs(correlation).max() < 4.5 / np.sqrt(MANY)


def test_a_permutation_holds_every_item_once() -> None:
    order = permutation(0, "data_order", 0, 1000)
    assert sorted(order.tolist()) == list(range(1000))
    assert (order != permutation(0, "data_order", 1, 1000)).any()
    assert (order != permutation(1, "data_order", 0, 1000)).any()


def test_a_negative_index_is_refused() -> None:
    with pytest.raises(AssertionError, match=r"sample index -1 of stream 'noise/0' is negative"):
        sample_generator(0, "noise/0", -1)


def test_numbers_are_those_recorded_for_this_numerics_version() -> None:
    # Whoever changes these must raise NUMERICS_VERSION: every digest and every result depends on them.
    golden = golden_json("seeding_recorded")
    drawn = normal(7, "noise/0", [0, 123_456], (4,))
    torch.testing.assert_close(drawn, torch.tensor(golden["normal"]), rtol=0, atol=0)
    assert normal_scalars(7, "timestep", [5], 3).tolist() == golden["normal_scalars"]
    assert uniform(7, "stage", [0, 1, 2]).tolist() == golden["uniform"]
    assert permutation(7, "data_order", 2, 12).tolist() == golden["permutation"]
