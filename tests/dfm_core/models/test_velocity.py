"""What surrounds the transformer: masks hide, preconditioning begins as the best linear guess."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dfm_core.models.preconditioning import preconditioning_factors
from dfm_core.models.velocity import VelocityModel
from dfm_core.training.state import build_model
from tests.support.models import SHAPE, random_model, tiny_dfm

FIRST_ONLY = torch.tensor([[1.0, 0.0]]).expand(3, 2)
LABELS = torch.arange(3)


def inputs() -> tuple[list[Tensor], Tensor]:
    t = torch.stack([torch.tensor([0.2, 0.5, 0.9]), torch.zeros(3)], dim=1)
    return [torch.randn(3, 1, 4, 4), torch.randn(3, 1, 8, 8)], t


@pytest.mark.parametrize("preconditioning", ["edm", "no_skip", "none"])
@torch.no_grad()
def test_a_masked_scale_cannot_be_seen(preconditioning: str) -> None:
    model = random_model(tiny_dfm({"model.preconditioning": preconditioning}))
    (first, second), t = inputs()
    a = model([first, second], t, FIRST_ONLY, LABELS)[0]
    b = model([first, torch.randn_like(second) * 9], t, FIRST_ONLY, LABELS)[0]
    assert torch.equal(a, b)


@torch.no_grad()
def test_without_input_masking_a_masked_scale_is_seen() -> None:
    model = random_model(tiny_dfm({"model.input_masking": False}))
    (first, second), t = inputs()
    a = model([first, second], t, FIRST_ONLY, LABELS)[0]
    b = model([first, torch.randn_like(second)], t, FIRST_ONLY, LABELS)[0]
    assert (a - b).flatten(1).abs().amax(dim=1).min() > 1e-4


@torch.no_grad()
def test_an_active_scale_is_seen_by_all() -> None:
    model = random_model(tiny_dfm())
    (first, second), t = inputs()
    a = model([first, second], t, torch.ones(3, 2), LABELS)[0]
    b = model([first, torch.randn_like(second)], t, torch.ones(3, 2), LABELS)[0]
    assert (a - b).flatten(1).abs().amax(dim=1).min() > 1e-4


@pytest.mark.parametrize("preconditioning", ["edm", "no_skip", "none"])
@torch.no_grad()
def test_a_fresh_model_predicts_the_skip_alone(preconditioning: str) -> None:
    config = tiny_dfm({"model.preconditioning": preconditioning})
    std = (0.7, 0.2)
    model = build_model(config, SHAPE, std)
    scales, t = inputs()
    factors = preconditioning_factors(t, torch.tensor(std), preconditioning)
    for stage, (scale, velocity) in enumerate(zip(scales, model(scales, t, FIRST_ONLY, LABELS), strict=True)):
        assert torch.equal(velocity, factors.c_skip[:, stage, None, None, None] * scale)


@torch.no_grad()
def test_the_active_stage_is_the_number_of_active_scales_less_one() -> None:
    model = random_model(tiny_dfm())
    seen: list[Tensor] = []
    model.network.stage_table.register_forward_hook(lambda _m, args, _o: seen.append(args[0]))
    scales, t = inputs()
    model(scales, t, torch.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, 0.0]]), LABELS)
    assert seen[0].tolist() == [0, 1, 0]


@torch.no_grad()
def test_bfloat16_stays_close_and_returns_float32() -> None:
    scales, t = inputs()
    exact = random_model(tiny_dfm())(scales, t, torch.ones(3, 2), LABELS)
    rounded = random_model(tiny_dfm({"training.precision": "bf16"}))(scales, t, torch.ones(3, 2), LABELS)
    for a, b in zip(exact, rounded, strict=True):
        assert b.dtype == torch.float32
        assert not torch.equal(a, b)
        torch.testing.assert_close(a, b, rtol=0, atol=0.05 * float(a.abs().max()))


def test_data_std_must_be_one_per_scale() -> None:
    with pytest.raises(AssertionError, match="1 data_std for 2 scales"):
        VelocityModel(tiny_dfm(), SHAPE, data_std=(1.0,))
    with pytest.raises(AssertionError, match="1 standard deviations for 2 scales"):
        build_model(tiny_dfm(), SHAPE, (1.0,))


def test_standardised_data_has_unit_std() -> None:
    standardised = build_model(tiny_dfm({"data.standardize": True}), SHAPE, (0.3, 0.1))
    assert standardised.data_std.tolist() == [1, 1]
    assert build_model(tiny_dfm(), SHAPE, (0.5, 0.25)).data_std.tolist() == [0.5, 0.25]


def test_initial_weights_depend_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    first = build_model(tiny_dfm(), SHAPE, (1.0, 1.0))
    torch.manual_seed(2)
    again = build_model(tiny_dfm({"training.learning_rate": 0.5}), SHAPE, (1.0, 1.0))
    other = build_model(tiny_dfm({"seed": 1}), SHAPE, (1.0, 1.0))
    for (name, a), b, c in zip(first.named_parameters(), again.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b), name
        assert not a.any() or not torch.equal(a, c), name
