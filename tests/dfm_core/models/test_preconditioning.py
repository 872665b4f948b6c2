"""Preconditioning: EDM's network seen through the change of variables, and the unit variances it is made for."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dfm_core.models.preconditioning import PreconditioningFactors, preconditioning_factors
from tests.dfm_core.builders import golden_json

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
