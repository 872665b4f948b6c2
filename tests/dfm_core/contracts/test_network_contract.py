"""The promises of every network; run over the registry, so that a new backbone is tested by being registered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from dfm_core.catalog.datasets import DataShape
from dfm_core.compute import model_cost
from dfm_core.config import ExperimentConfig
from dfm_core.config.rules import broken_rules
from dfm_core.decompositions import build_decomposition
from dfm_core.models.network import VelocityNetwork
from dfm_core.models.registry import NETWORKS, build_network
from dfm_core.paradigms import Batch, build_paradigm
from dfm_core.training.state import build_model
from tests.support.flux import FLUX_SHAPE, labels, texts, tiny_flux
from tests.support.models import SHAPE, tiny_dfm, tiny_flow_matching

CASES: Mapping[str, tuple[Callable[[], tuple[ExperimentConfig, ...]], DataShape]] = {
    "dit": (lambda: (tiny_flow_matching(), tiny_dfm()), SHAPE),
    "tokenformer": (
        lambda: (tiny_flow_matching({"model.backbone": "tokenformer"}), tiny_dfm({"model.backbone": "tokenformer"})),
        SHAPE,
    ),
    "flux": (lambda: (tiny_flux(1), tiny_flux(2)), FLUX_SHAPE),
}
"""Configs of one and of two scales, by backbone, and the shape of their data."""
for_every_network = pytest.mark.parametrize(
    ("config", "shape"),
    [(config, shape) for configs, shape in CASES.values() for config in configs()],
    ids=[f"{name}-S{stages}" for name in CASES for stages in (1, 2)],
)
NUM_SAMPLES = 4


def random_network(config: ExperimentConfig, shape: DataShape) -> VelocityNetwork:
    network = build_network(config, shape, (1.0,) * config.num_stages)
    with torch.no_grad():
        for weight in network.parameters():
            weight.normal_(std=0.2, generator=torch.Generator().manual_seed(weight.numel()))
    return with_texts(network)


def with_texts(network: VelocityNetwork) -> VelocityNetwork:
    if network.reads_text:
        network.use_text(texts())
    return network


def inputs(network: VelocityNetwork) -> tuple[list[Tensor], Tensor, Tensor, Tensor]:
    stages = len(network.scale_shapes)
    scales = [torch.randn(NUM_SAMPLES, *shape) for shape in network.scale_shapes]
    mask = torch.ones(NUM_SAMPLES, stages)
    mask[::2, 1:] = 0.0
    return scales, torch.rand(NUM_SAMPLES, stages), mask, labels_of(network)


def labels_of(network: VelocityNetwork) -> Tensor:
    return labels(NUM_SAMPLES) if network.reads_text else torch.arange(NUM_SAMPLES) % SHAPE.num_classes


def test_every_backbone_is_held_to_the_contract() -> None:
    assert set(CASES) == set(NETWORKS)


@for_every_network
def test_no_rule_is_broken(config: ExperimentConfig, shape: DataShape) -> None:
    broken = [rule for rule in broken_rules(config) if rule[0].startswith(("model", "decomposition.held"))]
    assert broken == []
    assert shape.channels > 0


@for_every_network
@torch.no_grad()
def test_velocities_have_the_shapes_of_the_scales_in_float32(config: ExperimentConfig, shape: DataShape) -> None:
    network = random_network(config, shape)
    scales, t, mask, classes = inputs(network)
    velocities = network(scales, t, mask, classes)
    assert [velocity.shape for velocity in velocities] == [scale.shape for scale in scales]
    assert {velocity.dtype for velocity in velocities} == {torch.float32}


@for_every_network
@torch.no_grad()
def test_a_sample_alone_has_the_velocities_that_it_has_in_a_batch(config: ExperimentConfig, shape: DataShape) -> None:
    network = random_network(config, shape)
    scales, t, mask, classes = inputs(network)
    whole = network(scales, t, mask, classes)
    for row in range(NUM_SAMPLES):
        one, active = slice(row, row + 1), int(mask[row].sum())
        alone = network([scale[one] for scale in scales], t[one], mask[one], classes[one])
        for together, own in list(zip(whole, alone, strict=True))[:active]:
            torch.testing.assert_close(together[one], own, rtol=1e-3, atol=1e-4)


@for_every_network
@torch.no_grad()
def test_the_null_label_is_a_label_of_its_own(config: ExperimentConfig, shape: DataShape) -> None:
    network = random_network(config, shape)
    scales, t, mask, classes = inputs(network)
    null = torch.full_like(classes, network.null_class)
    classes = torch.where(classes == null, classes[0], classes)
    before, after = network(scales, t, mask, classes)[0], network(scales, t, mask, null)[0]
    assert (after - before).flatten(1).abs().amax(dim=1).min() > 1e-5


@for_every_network
def test_initial_weights_are_finite_and_depend_on_the_seed_alone(config: ExperimentConfig, shape: DataShape) -> None:
    ones = (1.0,) * config.num_stages
    first, torch_state = build_model(config, shape, ones), torch.get_rng_state()
    second = build_model(config, shape, ones)
    del torch_state
    for weight, again in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(weight, again)
        assert weight.isfinite().all()


@for_every_network
def test_it_is_as_large_as_planned_and_every_weight_learns(config: ExperimentConfig, shape: DataShape) -> None:
    network = random_network(config, shape)
    assert sum(weight.numel() for weight in network.parameters()) == model_cost(config, shape).num_parameters
    paradigm = build_paradigm(config, build_decomposition(config.decomposition), (1.0,) * config.num_stages)
    images = torch.randn(NUM_SAMPLES * 4, shape.channels, 8, 8)
    batch = Batch(images, labels_of(network).repeat(4), range(NUM_SAMPLES * 4))
    paradigm.loss(network, batch).loss.backward()  # type: ignore[no-untyped-call]
    assert [name for name, weight in network.named_parameters() if weight.grad is None] == []


@for_every_network
def test_recomputed_activations_give_the_same_gradients(config: ExperimentConfig, shape: DataShape) -> None:
    gradients: list[list[Any]] = []
    for frugal in (False, True):
        network = random_network(config, shape).train()
        if frugal:
            network.use_activation_checkpointing()
        torch.manual_seed(2)
        sum(velocity.square().sum() for velocity in network(*inputs(network))).backward()
        gradients.append([weight.grad for weight in network.parameters()])
    assert len(network.blocks) >= 2
    for before, after in zip(*gradients, strict=True):
        assert before is after is None or torch.equal(before, after)


@for_every_network
@torch.no_grad()
def test_attention_can_be_replaced(config: ExperimentConfig, shape: DataShape) -> None:
    network = random_network(config, shape)
    arguments, calls = inputs(network), list[int]()
    before = network(*arguments)[0]

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        calls.append(query.shape[1])
        weights = (query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5).softmax(dim=-1)
        return weights @ value

    network.use_attention(attend)
    torch.testing.assert_close(network(*arguments)[0], before, rtol=1e-4, atol=1e-4)
    assert len(calls) >= len(network.blocks)


@for_every_network
@torch.no_grad()
def test_its_own_size_gives_its_own_shapes(config: ExperimentConfig, shape: DataShape) -> None:
    network = random_network(config, shape)
    sized = network.sized(*network.scale_shapes[-1][-2:])
    assert (sized.scale_shapes, sized.null_class) == (network.scale_shapes, network.null_class)
    arguments = inputs(network)
    assert all(map(torch.equal, sized(*arguments), network(*arguments)))


@for_every_network
def test_texts_are_for_networks_that_read_them(config: ExperimentConfig, shape: DataShape) -> None:
    network = build_network(config, shape, (1.0,) * config.num_stages)
    if not network.reads_text:
        with pytest.raises(ValueError, match="reads classes, not captions"):
            network.use_text(texts())
        with pytest.raises(ValueError, match="starts from no pretrained network"):
            network.starting_names(["a"])
