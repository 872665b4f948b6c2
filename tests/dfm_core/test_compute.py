"""Closed-form counts against models that are built, operations that are counted, and published numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from dfm_core.compute import model_cost, num_evaluations, sampling_flops, training_flops
from dfm_core.config import MODEL_SIZES, ExperimentConfig, ModelSize
from dfm_core.models.velocity import VelocityModel
from tests.dfm_core.builders import golden_json, tiny_dfm, with_values

GOLDEN = golden_json("model_params_flops")
IMAGENET_CLASSES = 1000


def latent_config(
    size: ModelSize, resolutions: tuple[int, ...], patches: tuple[int, ...], **model: Any
) -> ExperimentConfig:
    values = {f"model.{key}": value for key, value in model.items()}
    base = {"decomposition.resolutions": resolutions, "model.patch_sizes": patches, "model.size": size}
    return with_values(tiny_dfm(), {**base, **values})


def published(name: str) -> tuple[ExperimentConfig, int]:
    """Config and channels of an entry such as "owner/repo DFM-SiT-B/2 S2 patches[1,2] res512 C16"."""
    fields = name.split()
    size, patch = fields[1].split("-")[-1].split("/")
    side = int(next(f for f in fields if f.startswith("res"))[3:]) // 8
    channels = int(next(f for f in fields if f.startswith("C"))[1:])
    two_scales = "S2" in fields
    resolutions, patches = ((side // 2, side), (1, 2)) if two_scales else ((side,), (int(patch),))
    return latent_config(size, resolutions, patches, stage_embedding=False, positions="sincos"), channels


@pytest.mark.parametrize("name", GOLDEN["models"])
def test_counts_equal_those_of_the_originals(name: str) -> None:
    config, channels = published(name)
    cost, expected = model_cost(config, channels, IMAGENET_CLASSES), GOLDEN["models"][name]
    assert cost.num_parameters == expected["params_trainable"]
    assert 2 * cost.forward_macs == expected["flops_2xmac"]
    assert cost.num_tokens == expected["tokens"]


def test_the_published_parameter_counts_are_these() -> None:
    two_scales = {size: latent_config(size, (32, 64), (1, 2), stage_embedding=False) for size in ("B", "XL")}
    one_scale = latent_config("XL", (64,), (2,), stage_embedding=False)
    assert model_cost(two_scales["B"], 16, IMAGENET_CLASSES).num_parameters == 132_371_792
    assert model_cost(two_scales["XL"], 16, IMAGENET_CLASSES).num_parameters == 679_245_776
    assert model_cost(one_scale, 16, IMAGENET_CLASSES).num_parameters == 674_926_912


@pytest.mark.parametrize(
    ("name", "size", "resolutions"),
    [
        ("DiT-XL/2 512 C16 nosigma", "XL", (64,)),
        ("DiT-B/2 512 C16 nosigma", "B", (64,)),
        ("DiT-XL/2 256 C16 nosigma", "XL", (32,)),
        ("DiT-XL N=4096 (1024px p2)", "XL", (128,)),
        ("DiT-B N=4096", "B", (128,)),
        ("DiT-B/2 256", "B", (32,)),
    ],
)
def test_the_formula_gives_the_tabulated_gmac(name: str, size: ModelSize, resolutions: tuple[int, ...]) -> None:
    config = latent_config(size, resolutions, (2,) * len(resolutions), stage_embedding=False)
    gmac = model_cost(config, 16, IMAGENET_CLASSES).forward_macs / 1e9
    assert gmac == pytest.approx(GOLDEN["formula_check"][name], rel=1e-9)


SHAPES = [((8,), (2,)), ((4, 8), (1, 2)), ((2, 4, 8), (1, 2, 4))]


def build_on(device: str, config: ExperimentConfig, channels: int, num_classes: int) -> VelocityModel:
    with torch.device(device):
        return VelocityModel(config, channels=channels, num_classes=num_classes, data_std=(1.0,) * config.num_stages)


def counted_macs(model: VelocityModel, config: ExperimentConfig, channels: int, device: str) -> float:
    """Multiply-accumulates of one forward pass of one sample, by torch's counter.

    The counter knows matrix products, not the fused attention of CPUs, hence the MATH backend.
    """
    counter = FlopCounterMode(display=False)
    with torch.device(device), torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        scales = [torch.zeros(1, channels, side, side) for side in config.decomposition.resolutions]
        zero = torch.zeros(1, dtype=torch.int64)
        model.network(scales, torch.ones(1, config.num_stages), zero, zero)
    return counter.get_total_flops() / 2


@pytest.mark.parametrize(("resolutions", "patches"), SHAPES)
@pytest.mark.parametrize("stage_embedding", [True, False])
@pytest.mark.parametrize("size", ["nano", "micro"])
def test_small_models_are_as_large_as_the_formula_says(
    size: ModelSize, stage_embedding: bool, resolutions: tuple[int, ...], patches: tuple[int, ...]
) -> None:
    config = latent_config(size, resolutions, patches, stage_embedding=stage_embedding)
    model, cost = build_on("cpu", config, 3, 5), model_cost(config, 3, 5)
    assert sum(p.numel() for p in model.parameters()) == cost.num_parameters
    assert counted_macs(model, config, 3, "cpu") == pytest.approx(cost.forward_macs, rel=0.01)


@pytest.mark.parametrize(("size", "positions"), [("S", "sincos"), ("B", "rope"), ("L", "rope"), ("XL", "rope")])
def test_large_models_are_as_large_as_the_formula_says(size: ModelSize, positions: str) -> None:
    config = latent_config(size, (32, 64), (1, 2), positions=positions)
    model, cost = build_on("meta", config, 16, IMAGENET_CLASSES), model_cost(config, 16, IMAGENET_CLASSES)
    assert sum(p.numel() for p in model.parameters()) == cost.num_parameters
    assert counted_macs(model, config, 16, "meta") == pytest.approx(cost.forward_macs, rel=0.01)


def test_a_stage_embedding_costs_one_row_a_stage_and_no_operation() -> None:
    with_table = model_cost(latent_config("B", (32, 64), (1, 2)), 16, IMAGENET_CLASSES)
    without = model_cost(latent_config("B", (32, 64), (1, 2), stage_embedding=False), 16, IMAGENET_CLASSES)
    assert with_table.num_parameters - without.num_parameters == 2 * MODEL_SIZES["B"].width
    assert with_table.forward_macs == without.forward_macs


def test_a_training_step_is_six_flops_a_mac_and_image() -> None:
    # numerics 11: DiT-B/2 at 512 px with batch 256 takes 1.6350e14 FLOPs a step, 9.810e19 in 600k steps.
    config = with_values(latent_config("B", (64,), (2,), stage_embedding=False), {"training.batch_size": 256})
    cost = model_cost(config, 16, IMAGENET_CLASSES)
    assert training_flops(config, cost, 1) == 6 * cost.forward_macs * 256
    assert training_flops(config, cost, 1) == pytest.approx(1.6350e14, rel=1e-4)
    assert training_flops(config, cost, 600_000) == pytest.approx(9.810e19, rel=1e-4)


def test_sampling_counts_every_step_and_guidance_twice() -> None:
    config = with_values(latent_config("B", (32, 64), (1, 2)), {"sampling.steps": (30, 10)})
    cost = model_cost(config, 16, IMAGENET_CLASSES)
    guided = replace(config, sampling=replace(config.sampling, guidance=1.5))
    assert (num_evaluations(config), num_evaluations(guided)) == (40, 80)
    assert sampling_flops(config, cost, 100) == 2 * cost.forward_macs * 40 * 100
    assert sampling_flops(guided, cost, 100) == 2 * sampling_flops(config, cost, 100)


def test_dfm_costs_what_flow_matching_costs() -> None:
    for size, relative in (("XL", 1.0001), ("B", 1.0003)):
        two, one = (
            model_cost(latent_config(size, *shape), 16, IMAGENET_CLASSES).forward_macs
            for shape in (((32, 64), (1, 2)), ((64,), (2,)))
        )
        assert two / one == pytest.approx(relative, abs=5e-5)
