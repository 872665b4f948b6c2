"""What a network starts with that starts from another: all of it, or a cascade's share (numerics 7)."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from dfm_core.config import ExperimentConfig
from dfm_core.models.initialization import inherited_names
from dfm_core.models.velocity import VelocityModel
from dfm_core.training.state import build_model
from tests.support.models import SHAPE, one_network, random_model, tiny_cascade, tiny_dfm

VARIANTS: list[dict[str, Any]] = [
    {},
    {"cascade.condition_tokens": "joined"},
    {"decomposition.resolutions": (2, 8), "model.patch_sizes": (1, 4)},
    {"model.positions": "sincos"},
]


def inherit(model: VelocityModel, config: ExperimentConfig, weights: dict[str, Tensor]) -> None:
    own = {name: weight.numel() for name, weight in model.named_parameters()}
    names = inherited_names(config, own, {name: weight.numel() for name, weight in weights.items()})
    model.load_state_dict({name: weights[origin] for name, origin in names.items()}, strict=False)


def successor(values: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Tensor], VelocityModel]:
    """Weights of a trained first network, the second's fresh ones, and the second after it inherited."""
    first, second = tiny_cascade(0, values), tiny_cascade(1, values)
    before, model = random_model(first).state_dict(), build_model(second, SHAPE, (1.0, 1.0))
    fresh = {name: weight.clone() for name, weight in model.state_dict().items()}
    inherit(model, second, before)
    return before, fresh, model


@pytest.mark.parametrize("values", VARIANTS, ids=str)
def test_every_weight_of_a_cascades_second_network_is_copied_renamed_or_new(values: dict[str, Any]) -> None:
    before, fresh, model = successor(values)
    new = ("network.patch_embedders.1.", "network.heads.1.", "network.timestep_embedders.0.")
    for name, weight in model.state_dict().items():
        if name.startswith(new):
            assert torch.equal(weight, fresh[name]), name
        elif name.startswith("network.timestep_embedders.1."):
            assert torch.equal(weight, before[name.replace("embedders.1.", "embedders.0.")]), name
        else:
            assert torch.equal(weight, before[name]), name


def test_blocks_tables_and_the_coarse_patchify_are_copied() -> None:
    before, _, model = successor({})
    after = model.state_dict()
    copied = {name for name in after if name in before and torch.equal(after[name], before[name])}
    blocks = {name for name in before if name.startswith("network.blocks.")}
    patchify = {"network.patch_embedders.0.weight", "network.patch_embedders.0.bias"}
    assert copied == blocks | patchify | {"network.label_table.weight"}


def test_the_weights_that_are_inherited_are_not_changed() -> None:
    second, before = tiny_cascade(1), random_model(tiny_cascade(0)).state_dict()
    kept = {name: weight.clone() for name, weight in before.items()}
    model = build_model(second, SHAPE, (1.0, 1.0))
    inherit(model, second, before)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(1.0)
    assert all(torch.equal(before[name], weight) for name, weight in kept.items())


def test_an_expert_of_dfm_inherits_everything() -> None:
    experts = tiny_dfm({"experts.steps": (3, 3)})
    first, second = (one_network(experts, stage) for stage in (0, 1))
    before, model = random_model(first).state_dict(), build_model(second, SHAPE, (1.0, 1.0))
    inherit(model, second, before)
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


def test_a_first_network_of_another_size_is_refused() -> None:
    second = tiny_cascade(1)
    other = random_model(tiny_cascade(0, {"model.size": "micro"})).state_dict()
    with pytest.raises(AssertionError, match=r"other sizes in the network before: .*network\.label_table\.weight"):
        inherit(build_model(second, SHAPE, (1.0, 1.0)), second, other)


def test_a_first_network_without_blocks_is_refused() -> None:
    second, before = tiny_cascade(1), random_model(tiny_cascade(0)).state_dict()
    part = {name: weight for name, weight in before.items() if not name.startswith("network.blocks.1.mlp")}
    with pytest.raises(AssertionError, match=r"nothing to start network\.blocks\.1\.mlp\.fc1\.weight, .* from"):
        inherit(build_model(second, SHAPE, (1.0, 1.0)), second, part)
