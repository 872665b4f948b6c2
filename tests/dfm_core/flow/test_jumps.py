"""Pyramidal Flow's stages against those of the original, and what a jump must do to the noise (numerics 8.1)."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfm_core.flow.jumps import NUM_TICKS, progress_grid, pyramid_stages
from tests.support.models import golden_arrays, golden_json

GOLDEN = golden_json("pyramid_flow_schedule")
TABLES = golden_arrays("pyramid_flow_timesteps_full")
THIRD = 1 / 3
"""The gamma of the full tables."""


@pytest.mark.parametrize("name", GOLDEN)
def test_shares_of_noise_equal_those_of_the_original(name: str) -> None:
    golden = GOLDEN[name]
    stages = pyramid_stages(golden["stages"], golden["gamma"])
    assert len(stages) == golden["stages"]
    for number, stage in enumerate(stages):
        assert stage.start_noise == pytest.approx(golden["start_sigmas"][str(number)], abs=1e-6)
        assert stage.end_noise == pytest.approx(golden["end_sigmas"][str(number)], abs=1e-6)
        before = golden["ori_start_sigmas"][str(number)]  # what the stage before ends with
        assert before == pytest.approx(stages[number - 1].end_noise if number else 1.0, abs=1e-6)


@pytest.mark.parametrize("name", GOLDEN)
def test_jumps_equal_those_of_the_original(name: str) -> None:
    golden = GOLDEN[name]
    first, *later = pyramid_stages(golden["stages"], golden["gamma"])
    assert (first.jump_scale, first.jump_noise) == (1.0, 0.0)
    for number, stage in enumerate(later, start=1):
        jump = golden["jump_renoise"][str(number)]
        assert stage.jump_scale == pytest.approx(jump["alpha"], abs=1e-6)
        assert stage.jump_noise == pytest.approx(jump["beta"], abs=1e-6)


@pytest.mark.parametrize("name", GOLDEN)
def test_timesteps_are_the_ratios_of_the_original_in_whole_ticks(name: str) -> None:
    golden = GOLDEN[name]
    stages = pyramid_stages(golden["stages"], golden["gamma"])
    for number, stage in enumerate(stages):
        begin, end = golden["timestep_ratios"][str(number)]
        ticks = int(begin * NUM_TICKS), min(int(end * NUM_TICKS), NUM_TICKS - 1)
        assert (stage.start_t * NUM_TICKS, stage.end_t * NUM_TICKS) == pytest.approx(ticks, abs=1e-9)
        table, last = golden["timesteps_per_stage_every50"][str(number)], golden["timesteps_per_stage_last"]
        found = [NUM_TICKS * (1 - stage.network_t(tick / NUM_TICKS)) for tick in range(0, NUM_TICKS, 50)]
        assert found == pytest.approx(table, abs=1e-3)
        assert NUM_TICKS * (1 - stage.network_t(1 - 1 / NUM_TICKS)) == pytest.approx(last[str(number)], abs=1e-3)
    assert stages[0].start_t == 0
    assert [before.end_t for before in stages[:-1]] == [after.start_t for after in stages[1:]]


@pytest.mark.parametrize("name", TABLES)
def test_the_whole_table_of_timesteps_equals_that_of_the_original(name: str) -> None:
    num_stages, number = int(name[1]), int(name.split("_")[1].removeprefix("stage"))
    stage = pyramid_stages(num_stages, THIRD)[number]
    found = [NUM_TICKS * (1 - stage.network_t(tick / NUM_TICKS)) for tick in range(NUM_TICKS)]
    assert found == pytest.approx(TABLES[name], abs=1e-3)  # the original is float32


@pytest.mark.parametrize("steps", [1, 10, 20])
@pytest.mark.parametrize("name", GOLDEN)
def test_the_grids_of_sampling_equal_those_of_the_original(name: str, steps: int) -> None:
    golden, grid = GOLDEN[name], progress_grid(steps)
    for number, stage in enumerate(pyramid_stages(golden["stages"], golden["gamma"])):
        inference = golden["inference"][str(steps)][str(number)]
        assert [1 - progress for progress in grid] == pytest.approx(inference["sigmas"], abs=1e-6)
        timesteps = [NUM_TICKS * (1 - stage.network_t(progress)) for progress in grid[:-1]]
        assert timesteps == pytest.approx(inference["timesteps"], abs=1e-3)


@given(st.integers(1, 400))
def test_a_grid_of_sampling_runs_forwards_from_noise_to_the_end(steps: int) -> None:
    grid = progress_grid(steps)
    assert (len(grid), grid[0], grid[-1]) == (steps + 1, 0.0, 1.0)
    assert all(begin < end for begin, end in pairwise(grid))


GAMMAS = st.floats(0.02, 1 / 3)
STAGES = st.integers(1, 4)


@given(STAGES, GAMMAS)
def test_a_jump_puts_signal_and_noise_onto_the_start_of_the_next_stage(num_stages: int, gamma: float) -> None:
    # alpha (1 - e) of the signal, and of the noise alpha e times the deviation sqrt(1 + 1/gamma) of a whitened block.
    for before, after in pairwise(pyramid_stages(num_stages, gamma)):
        signal = after.jump_scale * (1 - before.end_noise)
        assert signal == pytest.approx(1 - after.start_noise, abs=1e-12)
        white = (1 + 1 / gamma) ** 0.5 * after.jump_scale * before.end_noise
        assert white == pytest.approx(after.start_noise, abs=1e-12)
        assert after.jump_noise**2 == pytest.approx((after.jump_scale * before.end_noise) ** 2 / gamma, abs=1e-12)


@given(STAGES, GAMMAS)
def test_noise_falls_inside_a_stage_and_time_goes_on_across_all(num_stages: int, gamma: float) -> None:
    stages = pyramid_stages(num_stages, gamma)
    assert (stages[0].start_noise, stages[-1].end_noise, stages[0].start_t) == (1.0, 0.0, 0.0)
    for stage in stages:
        assert 0 <= stage.end_noise < stage.start_noise <= 1
        assert 0 <= stage.start_t < stage.end_t < 1
        halfway = (stage.start_t + stage.end_t) / 2
        assert [stage.network_t(progress) for progress in (0.0, 0.5, 1.0)] == pytest.approx(
            [stage.start_t, halfway, stage.end_t]
        )
    for before, after in pairwise(stages):
        assert before.end_noise < after.start_noise  # the jump adds noise
        assert before.end_t == after.start_t


def test_one_stage_is_flow_matching() -> None:
    (stage,) = pyramid_stages(1, 0.1)
    assert (stage.start_noise, stage.end_noise, stage.start_t) == (1.0, 0.0, 0.0)
    assert stage.end_t == pytest.approx(1 - 1 / NUM_TICKS)


@pytest.mark.parametrize("gamma", [0.0, -0.1, 0.3334, 1.0, float("nan")])
def test_a_gamma_that_no_noise_has_is_refused(gamma: float) -> None:
    with pytest.raises(ValueError, match=r"gamma must be in \(0, 1/3\], got"):
        pyramid_stages(2, gamma)


def test_the_smallest_covariance_of_block_noise_is_that_of_one_third() -> None:
    # Its eigenvalue along the block's mean, 1 - 3 gamma, is 0 there: the reason for the range of gamma.
    stages = pyramid_stages(2, 1 / 3)
    assert stages[1].jump_scale == pytest.approx(2 / 3)
    assert stages[1].jump_noise == pytest.approx(3**0.5 / 3)
    assert np.linalg.eigvalsh(GOLDEN["S2_gamma_1/3"]["block_noise_covariance_4x4"])[0] == pytest.approx(0, abs=1e-12)
