"""The straight path against SiT and flow_matching, and against its own derivative (numerics 1)."""

from __future__ import annotations

import pytest
import torch

from dfm_core.flow.guidance import guide
from dfm_core.flow.path import expand_like, interpolate, velocity
from tests.support.models import golden_tensors


@pytest.mark.parametrize(("point", "derivative"), [("sit_xt", "sit_ut"), ("fm_xt", "fm_dxt")])
def test_path_and_velocity_equal_the_originals(point: str, derivative: str) -> None:
    golden = golden_tensors("flow_paths_and_euler")
    noise, data = golden["x0"], golden["x1"]
    torch.testing.assert_close(interpolate(noise, data, golden["t"]), golden[point], rtol=0, atol=1e-6)
    torch.testing.assert_close(velocity(noise, data), golden[derivative], rtol=0, atol=1e-6)


def test_the_path_begins_at_noise_and_ends_at_data() -> None:
    noise, data = torch.randn(2, 3, 1, 4, 4)
    assert torch.equal(interpolate(noise, data, torch.zeros(3)), noise)
    assert torch.equal(interpolate(noise, data, torch.ones(3)), data)


def test_the_velocity_is_the_derivative_of_the_path() -> None:
    noise, data = torch.randn(2, 3, 1, 4, 4, dtype=torch.float64)
    t, weight = torch.rand(3, dtype=torch.float64, requires_grad=True), torch.randn(1, 4, 4, dtype=torch.float64)
    (derivative,) = torch.autograd.grad((interpolate(noise, data, t) * weight).sum(), t)
    torch.testing.assert_close(derivative, (velocity(noise, data) * weight).sum(dim=(1, 2, 3)))


def test_noise_and_data_are_recovered_from_point_and_velocity_in_float64() -> None:
    noise, data = torch.randn(2, 3, 1, 4, 4, dtype=torch.float64)
    t = torch.rand(3, dtype=torch.float64)
    point, v, time = interpolate(noise, data, t), velocity(noise, data), expand_like(t, data)
    torch.testing.assert_close(point + (1 - time) * v, data, rtol=0, atol=1e-14)
    torch.testing.assert_close(point - time * v, noise, rtol=0, atol=1e-14)


@pytest.mark.parametrize("shape", [(), (2,), (3, 1)])
def test_timesteps_that_are_not_one_per_sample_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="timesteps must be one per sample"):
        interpolate(torch.zeros(3, 1, 2, 2), torch.zeros(3, 1, 2, 2), torch.zeros(shape))


def test_guidance_one_is_conditional_zero_is_unconditional_and_two_extrapolates() -> None:
    conditional, unconditional = torch.tensor([3.0, -1.0]), torch.tensor([1.0, 0.5])
    assert torch.equal(guide(conditional, unconditional, 1.0), conditional)
    assert torch.equal(guide(conditional, unconditional, 0.0), unconditional)
    assert torch.equal(guide(conditional, unconditional, 2.0), torch.tensor([5.0, -2.5]))
