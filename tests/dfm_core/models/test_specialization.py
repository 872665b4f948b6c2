"""Weights per stage in the whole network: where they are, how they start, whom they serve (numerics 6)."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from dfm_core.config import ExperimentConfig
from dfm_core.config.choices import Specialization
from dfm_core.models.dit import DiT
from dfm_core.models.linear import LoraLinear, SpecializedEmbedding, SpecializedLinear
from dfm_core.training.state import build_model
from tests.dfm_core.models.transformer_inputs import assert_all_close, random_inputs, rows
from tests.support.models import SHAPE, random_model, tiny_dfm, with_values

KINDS = tuple(kind for kind in get_args(Specialization) if kind != "none")
BLOCKS, SCALES = ("blocks.0", "blocks.1"), ("0", "1")
MAPS = {
    "modulation": {f"{part}.modulation" for part in (*BLOCKS, "heads.0", "heads.1")},
    "projection": {f"{part}" for s in SCALES for part in (f"patch_embedders.{s}", f"heads.{s}.linear")},
    "conditioning": {"label_table", "stage_table"}
    | {f"timestep_embedders.{s}.mlp.{layer}" for s in SCALES for layer in (0, 2)},
    "attention": {f"{block}.attention.{part}" for block in BLOCKS for part in ("qkv", "proj")},
    "mlp": {f"{block}.mlp.{part}" for block in BLOCKS for part in ("fc1", "fc2")},
}
"""What the paper's Table 1d calls these, in a network of two blocks and two scales."""
MAPS["full"] = set().union(*MAPS.values())
LORA: dict[str, Any] = {"model.lora_rank": 3}
BY_STAGE: list[dict[str, Any]] = [
    *({"model.specialization": kind} for kind in KINDS),
    LORA,
    {"model.backbone": "tokenformer"},
]
STAGE_WEIGHTS = ("stage_weight", "stage_bias", "down", "up", "stage_keys", "stage_values")
"""Names of parameters with one entry per stage."""


def label(values: dict[str, Any]) -> str:
    return "-".join(str(value) for value in values.values())


def with_base_of(plain: DiT, config: ExperimentConfig) -> DiT:
    """A network as it is initialised on top of the weights of an unspecialised one."""
    network = build_model(config, SHAPE, (1.0,) * config.num_stages).network
    network.load_state_dict(plain.state_dict(), strict=False)
    for module in network.modules():
        if isinstance(module, SpecializedLinear | SpecializedEmbedding):
            module.copy_base()
    return network


def averaged(network: DiT, stage: int) -> dict[str, Tensor]:
    """Weights of the unspecialised network that stage q sees: (W + W[q]) / 2, or W + (alpha / rank) B_q A_q."""
    weights = network.state_dict()
    seen = {name: value for name, value in weights.items() if not name.endswith(STAGE_WEIGHTS)}
    for name, value in weights.items():
        if name.endswith(("stage_weight", "stage_bias")):
            base = name.replace("stage_weight", "weight").replace("stage_bias", "bias")
            seen[base] = (seen[base] + value[stage]) / 2
    for name, module in network.named_modules():
        if isinstance(module, LoraLinear):
            seen[f"{name}.weight"] = module.weight + module.scale * module.up[stage] @ module.down[stage]
    return seen


@pytest.mark.parametrize("kind", KINDS)
def test_exactly_the_intended_maps_are_specialised(kind: Specialization) -> None:
    network = random_model(tiny_dfm({"model.specialization": kind})).network
    found = {name for name, module in network.named_modules() if hasattr(module, "stage_weight")}
    assert found == MAPS[kind]


def test_full_is_every_map_and_table() -> None:
    network = random_model(tiny_dfm()).network
    assert MAPS["full"] == {n for n, m in network.named_modules() if isinstance(m, nn.Linear | nn.Embedding)}


def test_low_rank_additions_are_in_every_map_of_the_blocks_and_nowhere_else() -> None:
    network = random_model(tiny_dfm(LORA)).network
    found = {name for name, module in network.named_modules() if isinstance(module, LoraLinear)}
    assert found == {name for name in MAPS["full"] if name.startswith("blocks")}


@pytest.mark.parametrize("values", [*BY_STAGE[:-1]], ids=label)
def test_the_same_seed_gives_the_same_common_weights_and_stages_that_equal_them(values: dict[str, Any]) -> None:
    plain, special = (build_model(config, SHAPE, (1.0, 1.0)).network for config in (tiny_dfm(), tiny_dfm(values)))
    seen = [averaged(special, stage) for stage in (0, 1)]
    for name, value in plain.state_dict().items():
        assert torch.equal(special.state_dict()[name], value), name
        assert all(torch.equal(weights[name], value) for weights in seen), name


@pytest.mark.parametrize("stage", [0, 1])
@pytest.mark.parametrize("values", [*BY_STAGE[:-1]], ids=label)
@torch.no_grad()
def test_a_fresh_specialised_network_computes_what_the_common_one_computes(values: dict[str, Any], stage: int) -> None:
    # Random common weights, since with DiT's zero heads all outputs would be zero.
    plain = random_model(tiny_dfm()).network
    special, inputs = with_base_of(plain, tiny_dfm(values)), random_inputs(tiny_dfm(), (stage,) * 3)
    for a, b in zip(special(*inputs), plain(*inputs), strict=True):
        assert b.abs().max() > 0.1
        assert torch.equal(a, b)


@pytest.mark.parametrize("grid", [{}, {"model.patch_grid": "per_stage", "model.patch_sizes": (2, 2)}], ids=label)
@pytest.mark.parametrize("values", [*BY_STAGE[:-1]], ids=label)
@torch.no_grad()
def test_a_mixed_batch_equals_each_sample_with_the_weights_of_its_stage(
    values: dict[str, Any], grid: dict[str, Any]
) -> None:
    config = tiny_dfm({**values, **grid})
    network, inputs = random_model(config).network, random_inputs(config, (1, 0, 0, 1, 0))
    plain, whole = random_model(tiny_dfm(grid)).network, network(*inputs)
    for i, stage in enumerate(inputs[3].tolist()):
        plain.load_state_dict(averaged(network, stage))
        assert_all_close([output[[i]] for output in whole], plain(*rows(inputs, [i])))


@pytest.mark.parametrize("values", BY_STAGE, ids=label)
def test_a_sample_moves_the_weights_of_its_stage_alone(values: dict[str, Any]) -> None:
    config = tiny_dfm(values)
    network = random_model(config).network
    sum(output[1].sum() for output in network(*random_inputs(config, (0, 1, 0)))).backward()
    own = {name: p.grad for name, p in network.named_parameters() if name.endswith(STAGE_WEIGHTS)}
    assert own
    for name, gradient in own.items():
        assert not gradient[0].any(), name
        assert gradient[1].any(), name


@pytest.mark.parametrize("stage", [0, 1])
@pytest.mark.parametrize("grid", [{}, {"model.patch_grid": "per_stage", "model.patch_sizes": (2, 2)}], ids=label)
@pytest.mark.parametrize("values", [{}, *BY_STAGE], ids=label)
def test_every_weight_has_a_gradient_whatever_the_batch_lacks(
    values: dict[str, Any], grid: dict[str, Any], stage: int
) -> None:
    # ZeRO reduces the gradients of all workers together, so each must have one of every weight.
    config = tiny_dfm({**values, **grid})
    network = random_model(config).network
    outputs = network(*random_inputs(config, (stage,) * 2))
    sum((s <= stage) * output.sum() for s, output in enumerate(outputs)).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        if name.endswith(STAGE_WEIGHTS):
            assert not parameter.grad[1 - stage].any(), name


def test_three_stages_have_three_versions() -> None:
    values = {"decomposition.resolutions": (2, 4, 8), "model.patch_sizes": (1, 2, 4), "model.specialization": "mlp"}
    network = random_model(with_values(tiny_dfm(), values)).network
    assert network.get_parameter("blocks.0.mlp.fc1.stage_weight").shape == (3, 128, 32)
