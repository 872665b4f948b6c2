"""Preconditioning: EDM's network seen through the change of variables, and the unit variances it is made for."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import avg_pool2d

from dfm_core.flow.jumps import PyramidStage, pyramid_stages
from dfm_core.models.preconditioning import (
    PreconditioningFactors,
    preconditioning_factors,
    pyramid_ends,
    pyramidal_factors,
)
from dfm_core.paradigms.pyramidal_flow import noise_pyramid, stage_ends
from dfm_core.training.state import build_model
from tests.support.gaussian_images import image_law
from tests.support.models import SHAPE, golden_json, tiny_pyramidal_flow, with_values

ROWS = golden_json("edm_precond")
TIMES = st.floats(0.0, 1.0)
STDS = st.floats(0.05, 5.0)


def factors_at(t: float, std: float, kind: str = "edm") -> PreconditioningFactors:
    return preconditioning_factors(*torch.tensor([[t], [std]], dtype=torch.float64), kind)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"std{row['sigma_data']}-t{row['t']}")
def test_factors_equal_those_derived_from_edm(row: dict[str, float]) -> None:
    factors = factors_at(row["t"], row["sigma_data"])
    assert float(factors.c_in) == pytest.approx(row["flow_c_in_derived"], rel=1e-12)
    assert float(factors.c_skip) == pytest.approx(row["flow_c_skip_derived"], rel=1e-12, abs=1e-12)
    assert float(factors.c_out) == pytest.approx(row["flow_c_out_derived"], rel=1e-12)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"std{row['sigma_data']}-t{row['t']}")
def test_velocity_is_that_of_the_original_edm_network(row: dict[str, float]) -> None:
    # EDM at sigma = (1-t)/t denoises x = X_t / t; the velocity is (D - X_t) / (1-t).
    t, factors = row["t"], factors_at(row["t"], row["sigma_data"])
    state, network_output = 0.7, -1.3
    x = state / t
    assert row["edm_c_in"] * x == pytest.approx(float(factors.c_in) * state, rel=1e-5)
    denoised = row["edm_c_skip"] * x + row["edm_c_out"] * network_output
    velocity = float(factors.c_skip) * state + float(factors.c_out) * network_output
    # The original is float32, and dividing by 1 - t magnifies its rounding.
    assert velocity == pytest.approx((denoised - state) / (1 - t), abs=1e-6 / (1 - t))


@given(TIMES, STDS)
def test_network_input_and_target_have_unit_variance(t: float, std: float) -> None:
    factors = factors_at(t, std)
    variance_of_state, variance_of_velocity = t**2 * std**2 + (1 - t) ** 2, 1 + std**2
    covariance = t * std**2 - (1 - t)
    assert float(factors.c_in) ** 2 * variance_of_state == pytest.approx(1)
    skip, out = float(factors.c_skip), float(factors.c_out)
    target_variance = (variance_of_velocity - 2 * skip * covariance + skip**2 * variance_of_state) / out**2
    assert target_variance == pytest.approx(1, rel=1e-6)


@given(TIMES, STDS, st.floats(-1.0, 1.0))
def test_no_other_skip_needs_a_smaller_output(t: float, std: float, change: float) -> None:
    def residual(skip: float) -> float:
        return (1 + std**2) - 2 * skip * (t * std**2 - (1 - t)) + skip**2 * (t**2 * std**2 + (1 - t) ** 2)

    best = float(factors_at(t, std).c_skip)
    assert residual(best + change) >= residual(best) - 1e-9 * (1 + std**2)


def test_factors_take_their_known_values_at_the_ends() -> None:
    for std in (0.5, 2.0):
        begin, end = factors_at(0.0, std), factors_at(1.0, std)
        assert [float(v) for v in (begin.c_in, begin.c_skip, begin.c_out)] == pytest.approx([1, -1, std])
        assert [float(v) for v in (end.c_in, end.c_skip, end.c_out)] == pytest.approx([1 / std, 1, 1])


@given(TIMES, STDS)
def test_without_skip_the_output_has_the_variance_of_the_velocity(t: float, std: float) -> None:
    factors = factors_at(t, std, "no_skip")
    assert float(factors.c_skip) == 0
    assert float(factors.c_out) ** 2 == pytest.approx(1 + std**2)
    assert torch.equal(factors.c_in, factors_at(t, std).c_in)


def test_none_is_the_raw_network() -> None:
    factors = factors_at(0.3, 2.0, "none")
    assert [float(v) for v in (factors.c_in, factors.c_skip, factors.c_out)] == [1, 0, 1]


@pytest.mark.parametrize("kind", ["edm", "no_skip", "none"])
def test_factors_have_the_shape_of_the_timesteps(kind: str) -> None:
    factors = preconditioning_factors(torch.rand(5, 2), torch.tensor([0.5, 2.0]), kind)
    assert factors.c_in.shape == factors.c_skip.shape == factors.c_out.shape == (5, 2)


STAGE_COUNTS, GAMMAS, PROGRESS = (2, 3), (1 / 3, 0.2), (0.0, 0.25, 0.6, 0.999, 1.0)


@pytest.mark.parametrize("kind", ["edm", "no_skip", "none"])
@given(TIMES, STDS)
def test_pyramidal_factors_of_a_single_flow_are_those_of_edm(kind: str, t: float, std: float) -> None:
    whole_flow = torch.tensor([[1.0], [0.0], [0.0], [1.0]], dtype=torch.float64)
    times, deviation = torch.tensor([[t]], dtype=torch.float64), torch.tensor([std], dtype=torch.float64)
    found, expected = pyramidal_factors(times, deviation, whole_flow, kind), factors_at(t, std, kind)
    for name in ("c_in", "c_skip", "c_out"):
        assert float(getattr(found, name)) == pytest.approx(float(getattr(expected, name)), rel=1e-6, abs=1e-9)


class StageMoments:
    """Second moments, per value, of state and velocity in a stage, where images are centred and follow `image_law`."""

    def __init__(self, num_stages: int, stage: PyramidStage, number: int, progress: float) -> None:
        images = torch.eye(64, dtype=torch.float64).reshape(64, 1, 8, 8)
        levels = [images]
        while len(levels) < num_stages:
            levels.insert(0, avg_pool2d(levels[0], 2))
        none = torch.zeros_like(levels[number])
        start, end = (x.flatten(1) for x in stage_ends(stage, levels[number], coarser(levels, number), none))
        self._covariance, self._count = image_law()[1], start.shape[1]
        self.data_std = torch.tensor([self._moment(x.flatten(1), x.flatten(1)) for x in levels]).sqrt()
        state, velocity = (1 - progress) * start + progress * end, end - start
        noise = (1 - progress) * stage.start_noise + progress * stage.end_noise
        noise_change = stage.end_noise - stage.start_noise
        self.state = self._moment(state, state) + noise**2
        self.velocity = self._moment(velocity, velocity) + noise_change**2
        self.product = self._moment(state, velocity) + noise * noise_change

    def _moment(self, a: Tensor, b: Tensor) -> float:
        """Mean over values of E[(x @ a) (x @ b)]."""
        return float((a.T @ self._covariance @ b).diagonal().mean())


def coarser(levels: list[Tensor], number: int) -> Tensor | None:
    return levels[number - 1] if number else None


def pyramidal_factors_at(
    num_stages: int, gamma: float, number: int, progress: float, kind: str
) -> tuple[StageMoments, PreconditioningFactors]:
    """The moments at a stage's progress, and the factors there."""
    stages = pyramid_stages(num_stages, gamma)
    moments = StageMoments(num_stages, stages[number], number, progress)
    t = torch.zeros(1, num_stages, dtype=torch.float64)
    t[0, number] = stages[number].network_t(progress)
    found = pyramidal_factors(t, moments.data_std.double(), pyramid_ends(stages).double(), kind)
    return moments, PreconditioningFactors(found.c_in[0, number], found.c_skip[0, number], found.c_out[0, number])


EVERYWHERE = [
    (num_stages, gamma, number, progress)
    for num_stages in STAGE_COUNTS
    for gamma in GAMMAS
    for number in range(num_stages)
    for progress in PROGRESS
]


@pytest.mark.parametrize(("num_stages", "gamma", "number", "progress"), EVERYWHERE)
def test_pyramidal_inputs_and_targets_have_unit_variance_and_the_best_skip(
    num_stages: int, gamma: float, number: int, progress: float
) -> None:
    moments, factors = pyramidal_factors_at(num_stages, gamma, number, progress, "edm")
    skip, out = float(factors.c_skip), float(factors.c_out)
    assert float(factors.c_in) ** 2 * moments.state == pytest.approx(1, rel=1e-4)
    assert skip == pytest.approx(moments.product / moments.state, rel=1e-4, abs=1e-4)  # least squares

    def residual(factor: float) -> float:
        return moments.velocity - 2 * factor * moments.product + factor**2 * moments.state

    assert residual(skip) / out**2 == pytest.approx(1, rel=1e-3)
    assert residual(skip) <= min(residual(skip - 0.01), residual(skip + 0.01))


@pytest.mark.parametrize(("num_stages", "gamma", "number", "progress"), EVERYWHERE)
def test_pyramidal_outputs_without_skip_have_the_variance_of_the_velocity(
    num_stages: int, gamma: float, number: int, progress: float
) -> None:
    moments, factors = pyramidal_factors_at(num_stages, gamma, number, progress, "no_skip")
    assert float(factors.c_skip) == 0
    assert float(factors.c_in) ** 2 * moments.state == pytest.approx(1, rel=1e-4)
    assert float(factors.c_out) ** 2 == pytest.approx(moments.velocity, rel=1e-4)


def test_pyramidal_factors_are_the_regression_of_drawn_velocities_on_drawn_states() -> None:
    # Smoothed noise as images; 10^6 values make the regression exact to about 0.3 %.
    images = avg_pool2d(torch.randn(4000, 1, 18, 18, dtype=torch.float64), 3, stride=1) * 2
    levels = [avg_pool2d(images, 2), images]
    stages, progress = pyramid_stages(2, 0.25), 0.4
    noises = noise_pyramid(torch.randn_like(images), 2)
    data_std = torch.tensor([float(level.std()) for level in levels], dtype=torch.float64)
    t = torch.tensor([[stage.network_t(progress) for stage in stages]], dtype=torch.float64)
    factors = pyramidal_factors(t, data_std, pyramid_ends(stages).double(), "edm")
    for number, stage in enumerate(stages):
        start, end = stage_ends(stage, levels[number], coarser(levels, number), noises[number])
        state, velocity = ((1 - progress) * start + progress * end).flatten(), (end - start).flatten()
        slope = float((state @ velocity) / (state @ state))
        assert float(factors.c_in[0, number]) == pytest.approx(float(1 / state.std()), rel=0.01)
        assert float(factors.c_skip[0, number]) == pytest.approx(slope, abs=0.01)
        assert float(factors.c_out[0, number]) == pytest.approx(float((velocity - slope * state).std()), rel=0.01)


@pytest.mark.parametrize("kind", ["edm", "no_skip", "none"])
def test_outside_its_time_a_stage_has_the_factors_of_its_nearer_end(kind: str) -> None:
    # Other stages' timesteps are 0, which lies outside all stages but the first.
    stages, std = pyramid_stages(3, 1 / 3), torch.tensor([0.3, 0.4, 0.5])
    for outside, own in ((0.0, [stage.start_t for stage in stages]), (1.0, [stage.end_t for stage in stages])):
        found = pyramidal_factors(torch.full((2, 3), outside), std, pyramid_ends(stages), kind)
        expected = pyramidal_factors(torch.tensor(own).expand(2, 3), std, pyramid_ends(stages), kind)
        for name in ("c_in", "c_skip", "c_out"):
            assert getattr(found, name).shape == (2, 3)
            torch.testing.assert_close(getattr(found, name), getattr(expected, name))


@torch.no_grad()
def test_a_fresh_pyramidal_network_is_the_best_linear_guess_of_its_stage() -> None:
    config, std = tiny_pyramidal_flow(), (0.4, 0.5)
    labels, x = torch.zeros(2, dtype=torch.int64), [torch.randn(2, 1, 4, 4), torch.randn(2, 1, 8, 8)]
    stages = pyramid_stages(2, 1 / 3)
    for standardize, data_std in ((False, std), (True, (0.4 / 0.5, 1.0))):
        model = build_model(with_values(config, {"data.standardize": standardize}), SHAPE, std)
        torch.testing.assert_close(model.data_std, torch.tensor(data_std))
        for number, stage in enumerate(stages):
            t = torch.zeros(2, 2)
            t[:, number] = stage.network_t(0.3)
            mask = (torch.arange(2) <= number).float().expand(2, -1)
            factors = pyramidal_factors(t, torch.tensor(data_std), pyramid_ends(stages), "edm")
            expected = factors.c_skip[:, number, None, None, None] * x[number]
            torch.testing.assert_close(model(x, t, mask, labels)[number], expected)
