"""The transformer against the released network's outputs, and the symmetries its parts must have (numerics 5)."""

from __future__ import annotations

import pytest
import torch

from dfm_core.catalog.datasets import DataShape
from dfm_core.config.model import ModelSizeSpec
from dfm_core.models.blocks import Block
from dfm_core.models.dit import DiT
from dfm_core.models.embeddings import timestep_features
from dfm_core.models.linear import LinearFactory
from tests.dfm_core.models.transformer_inputs import random_inputs, rows
from tests.support.models import golden_tensors, random_model, tiny_dfm

GOLDEN = golden_tensors("dfm_official_tiny_forward")


def renamed(name: str) -> str:
    """The name in our DiT of a parameter of the released network."""
    for theirs, ours in (
        ("x_embedder.embedders", "patch_embedders"),
        (".proj.weight", ".weight") if name.startswith("x_embedder") else ("", ""),
        (".proj.bias", ".bias") if name.startswith("x_embedder") else ("", ""),
        ("t_embedder.embedders", "timestep_embedders"),
        ("y_embedder.embedding_table", "label_table"),
        ("final_layer.projections", "heads"),
        (".attn.", ".attention."),
        ("adaLN_modulation.1", "modulation"),
    ):
        name = name.replace(theirs, ours) if theirs else name
    return name


@pytest.fixture
def released() -> DiT:
    """Our network with the weights of the released one."""
    config = tiny_dfm({"model.positions": "sincos", "model.stage_embedding": False, "model.timestep_scale": 1.0})
    network = DiT(config, DataShape(channels=2, num_classes=10), ModelSizeSpec(depth=2, width=16, heads=2))
    weights = {renamed(key[2:]): value for key, value in GOLDEN.items() if key.startswith("w:")}
    table = weights.pop("pos_embed")[0]
    torch.testing.assert_close(network.position_table, table, rtol=0, atol=1e-6)
    shapes = {name: parameter.shape for name, parameter in network.named_parameters()}
    network.load_state_dict({name: value.reshape(shapes[name]) for name, value in weights.items()})
    return network


@pytest.mark.parametrize("mask", [(1, 1), (1, 0)], ids=["both_scales", "second_masked"])
@torch.no_grad()
def test_outputs_equal_those_of_the_released_network(released: DiT, mask: tuple[int, int]) -> None:
    scales = [GOLDEN["x0"] * mask[0], GOLDEN["x1"] * mask[1]]
    outputs = released(scales, GOLDEN["t_sigma"], GOLDEN["y"], torch.tensor([sum(mask) - 1] * 2))
    for scale, output in enumerate(outputs):
        expected = GOLDEN[f"m{mask[0]}{mask[1]}_out{scale}"]
        torch.testing.assert_close(output, expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_timestep_embeddings_sum_to_those_of_the_released_network(released: DiT) -> None:
    parts = [
        embed(t) for embed, t in zip(released.timestep_embedders.values(), GOLDEN["t_sigma"].unbind(1), strict=True)
    ]
    torch.testing.assert_close(sum(parts), GOLDEN["t_embed_sum"], rtol=0, atol=1e-6)


def random_network(**settings: object) -> DiT:
    return random_model(tiny_dfm({f"model.{name}": value for name, value in settings.items()})).network


STAGES = (0, 1, 0)


@torch.no_grad()
def test_images_of_a_batch_do_not_see_each_other() -> None:
    network, inputs = random_network(), random_inputs(tiny_dfm(), STAGES)
    whole, alone = network(*inputs), network(*rows(inputs, [1]))
    for one, all_of_them in zip(alone, whole, strict=True):
        torch.testing.assert_close(one, all_of_them[1:2], rtol=0, atol=1e-5)


@pytest.mark.parametrize("position", range(4), ids=["scale", "timestep", "label", "stage"])
@torch.no_grad()
def test_every_input_reaches_every_output(position: int) -> None:
    network, inputs = random_network(), random_inputs(tiny_dfm(), STAGES)
    before = network(*inputs)
    scales, t, labels, stage = inputs
    changed = [([scales[0], scales[1] + 1], t, labels, stage), (scales, t + torch.tensor([0.0, 0.1]), labels, stage)]
    changed += [(scales, t, (labels + 1) % 3, stage), (scales, t, labels, 1 - stage)]
    for a, b in zip(before, network(*changed[position]), strict=True):
        assert (a - b).flatten(1).abs().amax(dim=1).min() > 1e-4


@torch.no_grad()
def test_without_a_stage_table_the_stage_changes_nothing() -> None:
    network, (scales, t, labels, stage) = random_network(stage_embedding=False), random_inputs(tiny_dfm(), STAGES)
    for a, b in zip(network(scales, t, labels, stage), network(scales, t, labels, 1 - stage), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("positions", ["rope", "sincos"])
@torch.no_grad()
def test_tokens_know_where_they_are(positions: str) -> None:
    network, (scales, t, labels, stage) = random_network(positions=positions), random_inputs(tiny_dfm(), STAGES)
    plain = network(scales, t, labels, stage)
    mirrored = network([scale.flip(-1) for scale in scales], t, labels, stage)
    assert not torch.allclose(plain[0], mirrored[0].flip(-1), atol=1e-3)


@torch.no_grad()
def test_the_timestep_scale_multiplies_the_timestep() -> None:
    fast, (scales, t, labels, stage) = random_network(timestep_scale=1000.0), random_inputs(tiny_dfm(), STAGES)
    slow = random_network(timestep_scale=1.0)
    slow.load_state_dict(fast.state_dict())
    for a, b in zip(fast(scales, t, labels, stage), slow(scales, 1000.0 * t, labels, stage), strict=True):
        assert torch.equal(a, b)
    assert timestep_features(t[:, 0]).shape == (3, 256)


@torch.no_grad()
def test_the_mlp_of_a_block_is_its_formula_with_the_tanh_gelu() -> None:
    block, x, width = Block(16, 2, LinearFactory(num_stages=1)), 3 * torch.randn(2, 5, 16), 16
    shift, scale, gate = torch.randn(3, width)
    block.modulation.weight.zero_()
    block.modulation.bias.copy_(torch.cat([torch.zeros(3 * width), shift, scale, gate]))
    normed = (x - x.mean(-1, keepdim=True)) / (x.var(-1, correction=0, keepdim=True) + 1e-6).sqrt()
    hidden = 4 * (normed * (1 + scale) + shift) @ block.mlp.fc1.weight.T + block.mlp.fc1.bias
    block.mlp.fc1.weight.mul_(4)
    activated = 0.5 * hidden * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (hidden + 0.044715 * hidden**3)))
    expected = x + gate * (activated @ block.mlp.fc2.weight.T + block.mlp.fc2.bias)
    torch.testing.assert_close(block(x, torch.randn(2, width), None), expected, rtol=0, atol=1e-5)


def test_initialisation_is_that_of_dit() -> None:
    network = random_network()
    network.reset_parameters(torch.Generator().manual_seed(0))
    for head in network.heads.values():
        assert not any(parameter.any() for parameter in head.parameters())
    for block in network.blocks:
        assert not block.modulation.weight.any()
        bound = (6 / (32 + 3 * 32)) ** 0.5
        assert 0.9 * bound < block.attention.qkv.weight.abs().max() <= bound
    for embedder in network.timestep_embedders.values():
        assert embedder.mlp[0].weight.std().item() == pytest.approx(0.02, rel=0.05)
        assert embedder.mlp[2].weight.std().item() == pytest.approx(0.02, rel=0.15)
    assert network.label_table.weight.std().item() == pytest.approx(0.02, rel=0.3)
    assert not any(p.any() for name, p in network.named_parameters() if name.endswith("bias"))
    assert all(
        p.any() for name, p in network.named_parameters() if name.startswith("patch_embedders") and "weight" in name
    )
