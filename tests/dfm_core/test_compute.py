"""Closed-form counts against models that are built, operations that are counted, and published numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from dfm_core.catalog.datasets import DataShape
from dfm_core.catalog.flux import AdapterTarget, FluxArchitecture
from dfm_core.compute import model_cost, num_evaluations, sampling_flops, training_flops
from dfm_core.config import DecompositionConfig, ExperimentConfig, SamplingConfig, TrainingConfig
from dfm_core.config.choices import Backbone, ModelSize, Specialization
from dfm_core.config.model import MODEL_SIZES, BackboneDescription
from dfm_core.config.training import AdapterConfig
from dfm_core.models.registry import build_network
from dfm_core.models.text_tables import ZeroTextTable
from dfm_core.models.velocity import VelocityModel
from tests.support.flux import FLUX_SHAPE, TINY_FLUX, tiny_flux
from tests.support.models import (
    SHAPE,
    golden_json,
    one_network,
    paradigm_of,
    random_model,
    random_sampler,
    tiny_cascade,
    tiny_dfm,
    tiny_pyramidal_flow,
    with_values,
)

GOLDEN = golden_json("model_params_flops")
IMAGENET_CLASSES = 1000
LATENTS = DataShape(channels=16, num_classes=IMAGENET_CLASSES)


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
    cost, expected = model_cost(config, DataShape(channels, IMAGENET_CLASSES)), GOLDEN["models"][name]
    assert cost.num_parameters == expected["params_trainable"]
    assert {2 * macs for macs in cost.stage_macs} == {expected["flops_2xmac"]}
    assert set(cost.num_tokens) == {expected["tokens"]}


def test_the_published_parameter_counts_are_these() -> None:
    two_scales = {size: latent_config(size, (32, 64), (1, 2), stage_embedding=False) for size in ("B", "XL")}
    one_scale = latent_config("XL", (64,), (2,), stage_embedding=False)
    assert model_cost(two_scales["B"], LATENTS).num_parameters == 132_371_792
    assert model_cost(two_scales["XL"], LATENTS).num_parameters == 679_245_776
    assert model_cost(one_scale, LATENTS).num_parameters == 674_926_912


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
    gmac = model_cost(config, LATENTS).stage_macs[0] / 1e9
    assert gmac == pytest.approx(GOLDEN["formula_check"][name], rel=1e-9)


SHAPES = [((8,), (2,)), ((4, 8), (1, 2)), ((2, 4, 8), (1, 2, 4))]
PER_STAGE = {"model.patch_grid": "per_stage", "model.patch_sizes": (2, 2)}
THREE_GRIDS = {
    **PER_STAGE,
    "decomposition.resolutions": (2, 4, 8),
    "model.patch_sizes": (1, 2, 2),
    "sampling": SamplingConfig(steps=(3, 2, 2), tau=(0.6, 0.8)),
}
FREQUENCIES = {
    "decomposition": DecompositionConfig("cosine", (16, 32), block_size=8, domain="frequency"),
    "model.patch_sizes": (1, 1),
}
PYRAMID: dict[str, Any] = {
    "paradigm": "pyramidal_flow",
    "decomposition": DecompositionConfig("levels", (4, 8)),
    "sampling.tau": (),
}
PYRAMIDS: list[dict[str, Any]] = [
    PYRAMID,
    {**PYRAMID, **PER_STAGE},
    {
        **PYRAMID,
        "decomposition": DecompositionConfig("levels", (2, 4, 8)),
        "model.patch_sizes": (1, 2, 4),
        "sampling": SamplingConfig((2, 3, 2), ()),
    },
    *({**PYRAMID, "model.specialization": kind} for kind in ("projection", "conditioning", "full")),
    {**PYRAMID, "model.lora_rank": 5},
    {**PYRAMID, "model.backbone": "tokenformer"},
]
VARIANTS: list[dict[str, Any]] = [
    *({"model.specialization": kind} for kind in get_args(Specialization)),
    {"model.lora_rank": 5},
    {"model.backbone": "tokenformer"},
    {"model.backbone": "tokenformer", "model.specialization": "modulation"},
    PER_STAGE,
    {**PER_STAGE, "model.specialization": "full"},
    {**PER_STAGE, "model.lora_rank": 5},
    {**PER_STAGE, "model.backbone": "tokenformer"},
    THREE_GRIDS,
    FREQUENCIES,
    *PYRAMIDS,
]


def label(values: dict[str, Any]) -> str:
    return "-".join(str(value) for value in values.values() if isinstance(value, str | int)) or "three"


CASCADES: list[dict[str, Any]] = [
    {},
    {"cascade.condition_tokens": "joined"},
    {"cascade.condition_tokens": "joined", **PER_STAGE},
    PER_STAGE,
    {"model.preconditioning": "none", "model.stage_embedding": False},
]


def build_on(device: str, config: ExperimentConfig, shape: DataShape) -> VelocityModel:
    with torch.device(device):
        return VelocityModel(config, shape, data_std=(1.0,) * config.num_stages)


def counting() -> FlopCounterMode:
    return FlopCounterMode(display=False)


def counted_macs(model: VelocityModel, stage: int, device: str) -> float:
    """Multiply-accumulates of one forward pass of one sample, by torch's counter.

    The counter knows matrix products, not the fused attention of CPUs, hence the MATH backend.
    On the meta device nothing can be read back from the stages: they are told.
    """
    with torch.device(device), torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counting() as counter:
        scales = [torch.zeros(1, *sizes) for sizes in model.scale_shapes]
        t = torch.ones(1, len(scales))
        counts = None if device == "cpu" else tuple(int(one == stage) for one in range(len(scales)))
        model.network(scales, t, torch.zeros(1, dtype=torch.int64), torch.full((1,), stage), counts)
    return counter.get_total_flops() / 2


def assert_counted(config: ExperimentConfig, shape: DataShape, device: str = "cpu") -> None:
    model, cost = build_on(device, config, shape), model_cost(config, shape)
    assert sum(p.numel() for p in model.parameters()) == cost.num_parameters
    for stage in config.own_stages:
        assert counted_macs(model, stage, device) == pytest.approx(cost.stage_macs[stage], rel=0.01)


@pytest.mark.parametrize(("resolutions", "patches"), SHAPES)
@pytest.mark.parametrize("stage_embedding", [True, False])
@pytest.mark.parametrize("size", ["nano", "micro"])
def test_small_models_are_as_large_as_the_formula_says(
    size: ModelSize, stage_embedding: bool, resolutions: tuple[int, ...], patches: tuple[int, ...]
) -> None:
    assert_counted(latent_config(size, resolutions, patches, stage_embedding=stage_embedding), DataShape(3, 5))


@pytest.mark.parametrize("frames", [None, 3], ids=["image", "video"])
@pytest.mark.parametrize("values", VARIANTS, ids=label)
def test_every_variant_is_as_large_as_the_formula_says(values: dict[str, Any], frames: int | None) -> None:
    assert_counted(with_values(tiny_dfm(), values), DataShape(3, 5, frames))


@pytest.mark.parametrize("frames", [None, 3], ids=["image", "video"])
@pytest.mark.parametrize("stage", [0, 1])
@pytest.mark.parametrize("values", CASCADES, ids=label)
def test_every_network_of_a_cascade_is_as_large_as_the_formula_says(
    values: dict[str, Any], stage: int, frames: int | None
) -> None:
    config, shape = tiny_cascade(stage, values), DataShape(3, 5, frames)
    assert_counted(config, shape)
    whole, own = model_cost(tiny_cascade(None, values), shape), model_cost(config, shape)
    assert own.stage_macs == tuple(macs if s == stage else 0 for s, macs in enumerate(whole.stage_macs))
    assert own.num_tokens == tuple(count if s == stage else 0 for s, count in enumerate(whole.num_tokens))


def test_a_cascade_has_the_weights_of_both_its_networks() -> None:
    whole, *parts = (model_cost(tiny_cascade(stage), SHAPE).num_parameters for stage in (None, 0, 1))
    assert whole == sum(parts)


@pytest.mark.parametrize(("size", "positions"), [("S", "sincos"), ("B", "rope"), ("L", "rope"), ("XL", "rope")])
def test_large_models_are_as_large_as_the_formula_says(size: ModelSize, positions: str) -> None:
    assert_counted(latent_config(size, (32, 64), (1, 2), positions=positions), LATENTS, "meta")


@pytest.mark.parametrize("variant", [{"specialization": "full"}, {"lora_rank": 64}, {"backbone": "tokenformer"}])
def test_large_variants_are_as_large_as_the_formula_says(variant: dict[str, Any]) -> None:
    assert_counted(latent_config("B", (32, 64), (1, 2), **variant), LATENTS, "meta")


def test_a_video_has_the_tokens_of_all_its_frames() -> None:
    image, video = (model_cost(latent_config("XL", (64,), (2,)), DataShape(16, 400, frames)) for frames in (None, 5))
    assert (image.num_tokens, video.num_tokens) == ((1024,), (5 * 1024,))
    assert image.num_parameters == video.num_parameters


BLOCKS: tuple[Backbone, ...] = ("tokenformer", "dit")


@pytest.mark.parametrize("size", ["S", "B", "L", "XL"])
def test_a_tokenformer_costs_what_a_transformer_costs(size: ModelSize) -> None:
    tokens, maps = (
        model_cost(latent_config(size, (32, 64), (1, 2), backbone=backbone), LATENTS) for backbone in BLOCKS
    )
    assert tokens.stage_macs[0] == pytest.approx(maps.stage_macs[0], rel=0.01)


@pytest.mark.parametrize("kind", [kind for kind in get_args(Specialization) if kind != "none"])
def test_specialised_weights_take_memory_and_no_operation(kind: Specialization) -> None:
    plain, special = (
        model_cost(latent_config("B", (32, 64), (1, 2), specialization=value), LATENTS) for value in ("none", kind)
    )
    assert special.stage_macs == plain.stage_macs
    assert special.num_parameters > plain.num_parameters
    if kind == "full":
        assert special.num_parameters == 3 * plain.num_parameters


def test_a_stage_embedding_costs_one_row_a_stage_and_no_operation() -> None:
    with_table = model_cost(latent_config("B", (32, 64), (1, 2)), LATENTS)
    without = model_cost(latent_config("B", (32, 64), (1, 2), stage_embedding=False), LATENTS)
    assert with_table.num_parameters - without.num_parameters == 2 * MODEL_SIZES["B"].width
    assert with_table.stage_macs[0] == without.stage_macs[0]


def test_a_training_step_is_six_flops_a_mac_and_image() -> None:
    # numerics 11: DiT-B/2 at 512 px with batch 256 takes 1.6350e14 FLOPs a step, 9.810e19 in 600k steps.
    config = with_values(latent_config("B", (64,), (2,), stage_embedding=False), {"training.batch_size": 256})
    cost = model_cost(config, LATENTS)
    assert training_flops(config, cost, 1) == 6 * cost.stage_macs[0] * 256
    assert training_flops(config, cost, 1) == pytest.approx(1.6350e14, rel=1e-4)
    assert training_flops(config, cost, 600_000) == pytest.approx(9.810e19, rel=1e-4)


def test_sampling_counts_every_step_and_guidance_twice() -> None:
    config = with_values(latent_config("B", (32, 64), (1, 2)), {"sampling.steps": (30, 10)})
    cost = model_cost(config, LATENTS)
    guided = replace(config, sampling=replace(config.sampling, guidance=1.5))
    assert (num_evaluations(config), num_evaluations(guided)) == (40, 80)
    assert sampling_flops(config, cost, 100) == 2 * cost.stage_macs[0] * 40 * 100
    assert sampling_flops(guided, cost, 100) == 2 * sampling_flops(config, cost, 100)


SAMPLERS: list[dict[str, Any]] = [
    {},
    {"sampling.solver": "heun"},
    {"sampling.guidance": 2.0},
    {"sampling.guidance": 2.0, "sampling.guidance_interval": (0.2, 0.75)},
    {"sampling.guidance": 2.0, "sampling.guidance_interval": (0.2, 0.75), "sampling.solver": "heun"},
    {"training.timesteps": "tied", "sampling.guidance": 2.0},
]


@pytest.mark.parametrize("grid", [{}, PER_STAGE, THREE_GRIDS], ids=["shared_grid", "grid_per_stage", "three_stages"])
@pytest.mark.parametrize("values", SAMPLERS, ids=lambda values: "-".join(str(v) for v in values.values()) or "euler")
def test_the_plan_of_sampling_equals_what_sampling_does(values: dict[str, Any], grid: dict[str, Any]) -> None:
    config = with_values(tiny_dfm(), {**grid, **values})
    model, labels = random_model(config), torch.tensor([0, 2])
    with sdpa_kernel(SDPBackend.MATH), counting() as counter:
        result = paradigm_of(config).sample(model, labels, range(2), 0, config.sampling)
    assert result.num_evaluations == num_evaluations(config)
    assert counter.get_total_flops() == pytest.approx(sampling_flops(config, model_cost(config, SHAPE), 2), rel=0.01)


def test_training_on_grids_of_their_own_costs_the_mean_over_the_drawn_stages() -> None:
    config = latent_config("B", (32, 64), (2, 2), patch_grid="per_stage")
    cost = model_cost(config, LATENTS)
    coarse, fine = cost.stage_macs
    assert cost.num_tokens == (256, 1024)
    for stages, mean in (((0.9, 0.1), 0.9 * coarse + 0.1 * fine), ((0.0, 1.0), fine), ((1.0, 0.0), coarse)):
        drawn = with_values(config, {"training.stage_probabilities": stages, "training.batch_size": 10})
        assert training_flops(drawn, cost, 3) == pytest.approx(6 * mean * 10 * 3, rel=1e-9)
    tied = with_values(config, {"training.timesteps": "tied", "training.batch_size": 10})
    assert training_flops(tied, cost, 3) == 6 * fine * 10 * 3


def test_coarse_stages_of_their_own_pay_for_the_larger_batch_of_table_1e() -> None:
    base = with_values(latent_config("B", (32, 64), (1, 2)), {"training.first_stage_probability": 0.9})
    shared = with_values(base, {"training.batch_size": 256})
    grids = {"model.patch_grid": "per_stage", "model.patch_sizes": (2, 2), "training.batch_size": 872}
    larger = with_values(base, grids)
    flops = [training_flops(config, model_cost(config, LATENTS), 1) for config in (shared, larger)]
    assert flops[1] == pytest.approx(flops[0], rel=0.005)


def test_dfm_costs_what_flow_matching_costs() -> None:
    for size, relative in (("XL", 1.0001), ("B", 1.0003)):
        two, one = (
            model_cost(latent_config(size, *shape), LATENTS).stage_macs[0]
            for shape in (((32, 64), (1, 2)), ((64,), (2,)))
        )
        assert two / one == pytest.approx(relative, abs=5e-5)


def flow_matching_macs(size: ModelSize) -> int:
    """Of the baseline at 512 px with patch 2, numerics 11."""
    return model_cost(latent_config(size, (64,), (2,), stage_embedding=False), LATENTS).stage_macs[0]


def pyramid_config(size: ModelSize, **model: Any) -> ExperimentConfig:
    own = {"paradigm": "pyramidal_flow", "decomposition.name": "levels", "sampling.tau": ()}
    return with_values(latent_config(size, (32, 64), (1, 2), **model), own)


@pytest.mark.parametrize(("size", "relative"), [("XL", 0.9999), ("B", 0.9996)])
def test_pyramidal_flow_with_a_patch_per_stage_costs_what_flow_matching_costs(size: ModelSize, relative: float) -> None:
    config = pyramid_config(size)
    cost = model_cost(config, LATENTS)
    assert cost.num_tokens == (1024, 1024)
    per_image = training_flops(with_values(config, {"training.batch_size": 1}), cost, 1) / 6
    assert per_image / flow_matching_macs(size) == pytest.approx(relative, abs=5e-5)


@pytest.mark.parametrize(("size", "relative", "batch"), [("XL", 0.6131, 418), ("B", 0.6081, 421)])
def test_pyramidal_flow_with_one_patch_pays_for_a_larger_batch(size: ModelSize, relative: float, batch: int) -> None:
    config = with_values(pyramid_config(size, patch_grid="per_stage"), {"model.patch_sizes": (2, 2)})
    cost = model_cost(config, LATENTS)
    assert cost.num_tokens == (256, 1024)
    per_image = training_flops(with_values(config, {"training.batch_size": 1}), cost, 1) / 6
    assert per_image / flow_matching_macs(size) == pytest.approx(relative, abs=5e-5)
    assert round(256 / (per_image / flow_matching_macs(size))) == batch
    base = 6 * flow_matching_macs(size) * 256
    assert training_flops(with_values(config, {"training.batch_size": batch}), cost, 1) == pytest.approx(base, rel=2e-3)


def test_three_stages_of_pyramidal_flow_train_as_one_two_one() -> None:
    config = with_values(
        pyramid_config("B", patch_grid="per_stage"),
        {"decomposition.resolutions": (16, 32, 64), "model.patch_sizes": (2, 2, 2), "training.batch_size": 4},
    )
    cost = model_cost(config, LATENTS)
    assert cost.num_tokens == (64, 256, 1024)
    coarse, middle, fine = cost.stage_macs
    assert training_flops(config, cost, 1) == 6 * (coarse + 2 * middle + fine)


@pytest.mark.parametrize(
    ("size", "tokens", "relative"),
    [("XL", "added", 0.9998), ("B", "added", 0.9995), ("XL", "joined", 1.251), ("B", "joined", 1.272)],
)
def test_a_cascade_of_80_to_20_steps_costs_its_share(size: ModelSize, tokens: str, relative: float) -> None:
    own = {
        "paradigm": "cascaded",
        "decomposition.name": "levels",
        "sampling.tau": (),
        "experts.steps": (80, 20),
        "cascade.condition_tokens": tokens,
        "training.batch_size": 1,
    }
    config = with_values(latent_config(size, (32, 64), (1, 2)), own)
    parts = [one_network(config, stage) for stage in (0, 1)]
    costs = [model_cost(part, LATENTS) for part in parts]
    assert costs[1].num_tokens[1] == (1024 if tokens == "added" else 2048)
    flops = sum(
        training_flops(part, cost, steps) for part, cost, steps in zip(parts, costs, config.experts.steps, strict=True)
    )
    per_image = flops / 6 / 100
    assert per_image / flow_matching_macs(size) == pytest.approx(relative, abs=5e-5 if tokens == "added" else 5e-4)


def test_sampling_a_cascade_runs_each_network_in_its_own_steps() -> None:
    config = tiny_cascade(None, {"cascade.condition_tokens": "joined", "sampling.guidance": 2.0})
    cost = model_cost(config, SHAPE)
    coarse, fine = cost.stage_macs
    assert fine > coarse
    assert num_evaluations(config) == 2 * (3 + 2)
    assert sampling_flops(config, cost, 10) == 2 * 2 * (3 * coarse + 2 * fine) * 10


@pytest.mark.parametrize("solver", ["euler", "heun"])
@pytest.mark.parametrize("guidance", [1.0, 2.0])
@pytest.mark.parametrize(
    "config",
    [
        tiny_cascade(None),
        tiny_cascade(None, {"cascade.condition_tokens": "joined"}),
        tiny_cascade(None, {"sampling.guidance_interval": (0.2, 0.75)}),
        *(tiny_pyramidal_flow(values) for values in PYRAMIDS[:3]),
    ],
    ids=["added", "joined", "interval", "pyramid", "grid_per_stage", "three_stages"],
)
def test_the_plan_of_sampling_stage_after_stage_equals_what_sampling_does(
    config: ExperimentConfig, guidance: float, solver: str
) -> None:
    config = with_values(config, {"sampling.guidance": guidance, "sampling.solver": solver})
    sampler, labels = random_sampler(config), torch.tensor([0, 2])
    with sdpa_kernel(SDPBackend.MATH), counting() as counter:
        result = paradigm_of(config).sample(sampler, labels, range(2), 0, config.sampling)
    assert result.num_evaluations == num_evaluations(config)
    assert counter.get_total_flops() == pytest.approx(sampling_flops(config, model_cost(config, SHAPE), 2), rel=0.01)


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention as matrix products, which the counter knows."""
    return (query @ key.transpose(-1, -2)) @ value


@pytest.mark.parametrize("stages", [1, 2])
@pytest.mark.parametrize(
    ("architecture", "side", "parameters", "tera_macs"),
    [
        (TINY_FLUX, 8, None, None),
        (FluxArchitecture(), 128, 11_901_408_320, 37.19),
        (FluxArchitecture(), 64, None, 10.75),
    ],
    ids=["tiny", "dev-1024", "dev-512"],
)
def test_flux_is_as_large_as_the_formula_says(
    architecture: FluxArchitecture, side: int, parameters: int | None, tera_macs: float | None, stages: int
) -> None:
    """Also FLUX.1-dev itself, counted on the meta device (FLUX.md 3 and 4)."""
    ladder = (side // 2, side) if stages == 2 else (side,)
    described = BackboneDescription("flux", architecture)
    values = {"decomposition.resolutions": ladder, "model.described": described, "data.text_length": 512}
    config, shape = tiny_flux(stages, values), DataShape(architecture.latent_channels, 0)
    cost = model_cost(config, shape)
    with torch.device("meta"), torch.no_grad(), counting() as counter:
        model = build_network(config, shape, (1.0,) * stages)
        model.use_text(ZeroTextTable(512, *architecture.text_widths))
        model.use_attention(attend)
        scales = [torch.zeros(1, *sizes) for sizes in model.scale_shapes]
        model(scales, torch.ones(1, stages), torch.ones(1, stages), torch.zeros(1, dtype=torch.int64))
    assert sum(weight.numel() for weight in model.parameters()) == cost.num_parameters
    assert counter.get_total_flops() // 2 == cost.stage_macs[-1]
    if parameters is not None:
        assert cost.num_parameters == parameters + (29_512_768 if stages == 2 else 0)
    if tera_macs is not None:
        assert cost.stage_macs[0] / 1e12 == pytest.approx(tera_macs, rel=5e-4)


@pytest.mark.parametrize("stages", [1, 2])
@pytest.mark.parametrize(
    "training",
    [
        TrainingConfig(trainable="projections"),
        TrainingConfig(adapter=AdapterConfig(rank=3)),
        TrainingConfig(adapter=AdapterConfig(rank=2, targets=get_args(AdapterTarget))),
    ],
    ids=["projections", "few", "all"],
)
def test_what_is_trained_of_flux_is_as_large_as_the_formula_says(training: TrainingConfig, stages: int) -> None:
    architecture = replace(TINY_FLUX, num_layers=2, num_single_layers=3)
    config = tiny_flux(stages, {"training": training, "model.described": BackboneDescription("flux", architecture)})
    cost = model_cost(config, FLUX_SHAPE)
    with torch.device("meta"), torch.no_grad(), counting() as counter:
        model = build_network(config, FLUX_SHAPE, (1.0,) * stages)
        model.use_text(ZeroTextTable(config.data.text_length, *architecture.text_widths))
        model.use_attention(attend)
        scales = [torch.zeros(1, *sizes) for sizes in model.scale_shapes]
        model(scales, torch.ones(1, stages), torch.ones(1, stages), torch.zeros(1, dtype=torch.int64))
    assert sum(weight.numel() for weight in model.parameters()) == cost.num_parameters
    assert sum(weight.numel() for weight in model.parameters() if weight.requires_grad) == cost.num_trained
    assert counter.get_total_flops() // 2 == cost.stage_macs[-1]
    assert training_flops(config, cost, 7) == 2 * 2 * cost.stage_macs[-1] * config.training.batch_size * 7
