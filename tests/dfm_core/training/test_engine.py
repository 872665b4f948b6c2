"""The plain engine against AdamW, clipping and averaging written out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dfm_core.config import TrainingConfig
from dfm_core.models.velocity import VelocityModel
from dfm_core.training.engine import STATE_KINDS, PlainEngine, build_optimizer, learning_rate
from dfm_core.training.pieces import TensorState
from tests.support.models import paradigm_of, random_batch, random_model, tiny_dfm


def loss_of(model: VelocityModel, first_index: int = 0) -> Tensor:
    return paradigm_of(tiny_dfm(), (1.0, 1.0)).loss(model, random_batch(4, first_index=first_index)).loss


def kept(engine: PlainEngine, kind: str) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in engine.tensors(kind)}


def test_three_steps_are_adamw_with_clipping_by_hand() -> None:
    training = TrainingConfig(
        adam_beta1=0.8, adam_beta2=0.95, adam_epsilon=1e-4, weight_decay=0.3, gradient_clip=0.5, learning_rate=1e-2
    )
    model = random_model(tiny_dfm())
    engine = PlainEngine(model, training)
    weights = {name: p.detach().double() for name, p in model.named_parameters()}
    first = {name: torch.zeros_like(w) for name, w in weights.items()}
    second = {name: torch.zeros_like(w) for name, w in weights.items()}
    for step, rate in enumerate((1e-2, 3e-3, 2e-2), start=1):
        engine.backward(loss_of(model, first_index=4 * step))
        gradients = {name: p.grad.double() for name, p in model.named_parameters()}
        norm = sum(g.square().sum() for g in gradients.values()).sqrt().item()
        assert norm > training.gradient_clip, "the case must clip"
        found = engine.step(rate)
        assert found is not None
        assert float(found) == pytest.approx(norm, rel=1e-5)
        for name, gradient in gradients.items():
            g = gradient * training.gradient_clip / norm
            first[name] = 0.8 * first[name] + 0.2 * g
            second[name] = 0.95 * second[name] + 0.05 * g**2
            moved = (first[name] / (1 - 0.8**step)) / ((second[name] / (1 - 0.95**step)).sqrt() + 1e-4)
            weights[name] = weights[name] * (1 - rate * 0.3) - rate * moved
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.detach().double(), weights[name], rtol=0, atol=2e-5, msg=name)
    for name, moment in engine.tensors("exp_avg"):
        torch.testing.assert_close(moment.double(), first[name], rtol=1e-3, atol=1e-7)


def test_a_small_gradient_is_not_clipped() -> None:
    model = random_model(tiny_dfm())
    engine = PlainEngine(model, TrainingConfig(gradient_clip=1e6))
    engine.backward(loss_of(model))
    gradients = {name: p.grad.clone() for name, p in model.named_parameters()}
    engine.step(1e-3)
    for name, moment in engine.tensors("exp_avg"):
        torch.testing.assert_close(moment, 0.1 * gradients[name], rtol=1e-5, atol=1e-9)


def test_the_average_follows_its_formula() -> None:
    model = random_model(tiny_dfm())
    engine = PlainEngine(model, TrainingConfig(ema_decay=0.7))
    expected = {name: tensor.double() for name, tensor in engine.tensors("weight")}
    for step in range(4):
        engine.backward(loss_of(model, first_index=4 * step))
        engine.step(1e-2)
        for name, weight in engine.tensors("weight"):
            expected[name] = 0.7 * expected[name] + 0.3 * weight.double()
    weights = kept(engine, "weight")
    for name, average in engine.tensors("ema"):
        torch.testing.assert_close(average.double(), expected[name], rtol=0, atol=1e-6)
    assert any(not torch.allclose(average, weights[name]) for name, average in engine.tensors("ema"))


def test_a_decay_of_zero_keeps_the_weights_themselves() -> None:
    model = random_model(tiny_dfm())
    engine = PlainEngine(model, TrainingConfig(ema_decay=0.0))
    engine.backward(loss_of(model))
    engine.step(1e-2)
    weights = kept(engine, "weight")
    for name, average in engine.tensors("ema"):
        torch.testing.assert_close(average, weights[name], rtol=0, atol=1e-7)


def test_gradients_of_micro_batches_are_averaged_and_cleared() -> None:
    gradients = []
    for count in (1, 3):
        model = random_model(tiny_dfm())
        engine = PlainEngine(model, TrainingConfig(), num_micro_batches=count)
        for _ in range(count):
            engine.backward(loss_of(model))
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters()})
        engine.step(1e-3)
        assert all(p.grad is None for p in model.parameters())
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-4, atol=5e-6)


def test_state_has_every_parameter_in_the_models_order() -> None:
    model = random_model(tiny_dfm())
    engine = PlainEngine(model, TrainingConfig())
    names = [name for name, _ in model.named_parameters()]
    for kind in STATE_KINDS:
        assert [name for name, _ in engine.tensors(kind)] == names
    assert not any(tensor.any() for _, tensor in engine.tensors("exp_avg")), "no step, no moments"


def test_loading_a_fresh_state_changes_nothing() -> None:
    weights = []
    for load in (False, True):
        model = random_model(tiny_dfm())
        engine = PlainEngine(model, TrainingConfig())
        if load:
            engine.load(TensorState({kind: kept(engine, kind) for kind in STATE_KINDS}), num_steps=0)
        engine.backward(loss_of(model))
        engine.step(1e-2)
        weights.append(kept(engine, "weight"))
    for name, weight in weights[0].items():
        assert torch.equal(weight, weights[1][name]), name


def test_a_loaded_state_is_a_copy() -> None:
    engine = PlainEngine(random_model(tiny_dfm()), TrainingConfig())
    state = {kind: kept(engine, kind) for kind in STATE_KINDS}
    before = {kind: {name: tensor.clone() for name, tensor in part.items()} for kind, part in state.items()}
    engine.load(TensorState(state), num_steps=0)
    engine.backward(loss_of(engine.model))
    engine.step(1e-2)
    for kind, part in state.items():
        assert all(torch.equal(tensor, before[kind][name]) for name, tensor in part.items())


@pytest.mark.parametrize(
    ("warmup", "expected"),
    [(4, [0.25, 0.5, 0.75, 1, 1, 1]), (1, [1] * 6), (0, [1] * 6)],
)
def test_the_learning_rate_warms_up_linearly_and_stays(warmup: int, expected: list[float]) -> None:
    training = TrainingConfig(learning_rate=2e-3, warmup_steps=warmup)
    assert [learning_rate(training, step) for step in range(6)] == pytest.approx([2e-3 * f for f in expected])


def test_the_optimizer_is_built_from_the_config() -> None:
    training = TrainingConfig(learning_rate=1e-3, adam_beta1=0.8, adam_beta2=0.95, adam_epsilon=1e-6, weight_decay=0.2)
    model = random_model(tiny_dfm())
    optimizer = build_optimizer(model, training)
    (group,) = optimizer.param_groups
    assert [group[key] for key in ("lr", "betas", "eps", "weight_decay")] == [1e-3, (0.8, 0.95), 1e-6, 0.2]
    assert len(group["params"]) == len(list(model.parameters()))
