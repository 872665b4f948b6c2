"""DINOv2: the original weights in the transformers model, held against the original architecture written out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor
from torch.nn.functional import conv2d, gelu, interpolate, layer_norm, linear

from dfm_core.catalog.weight_files import GivenFile
from dfm_core.metrics.features.dinov2 import build_dinov2, positions_at_224, published_names, vit_large
from dfm_core.metrics.features.preprocessing import fdd_input
from dfm_core.metrics.features.pretrained import read_tensors
from tests.support.feature_standins import given, tiny_dinov2, tiny_dinov2_config

WIDTH, DEPTH, HEADS, GRID = 16, 2, 2, 37
ANY_FILE = GivenFile(Path("dinov2.pth"), "0" * 64)


def original_weights() -> dict[str, Tensor]:
    """A state dict as the original code names it, of small width, random."""
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, WIDTH),
        "pos_embed": (1, 1 + GRID**2, WIDTH),
        "mask_token": (1, WIDTH),
        "patch_embed.proj.weight": (WIDTH, 3, 14, 14),
        "patch_embed.proj.bias": (WIDTH,),
        "norm.weight": (WIDTH,),
        "norm.bias": (WIDTH,),
    }
    for i in range(DEPTH):
        for name, out_width, in_width in (
            ("attn.qkv", 3, 1),
            ("attn.proj", 1, 1),
            ("mlp.fc1", 4, 1),
            ("mlp.fc2", 1, 4),
        ):
            shapes[f"blocks.{i}.{name}.weight"] = (out_width * WIDTH, in_width * WIDTH)
            shapes[f"blocks.{i}.{name}.bias"] = (out_width * WIDTH,)
        for name in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias", "ls1.gamma", "ls2.gamma"):
            shapes[f"blocks.{i}.{name}"] = (WIDTH,)
    return {name: torch.randn(shape) * 0.3 for name, shape in shapes.items()}


def original_forward(weights: Mapping[str, Tensor], images: Tensor) -> Tensor:
    """The vision transformer of the DINOv2 paper on 224 x 224 images: its class token after the last norm."""

    def norm(x: Tensor, name: str) -> Tensor:
        return layer_norm(x, (WIDTH,), weights[f"{name}.weight"], weights[f"{name}.bias"], eps=1e-6)

    def dense(x: Tensor, name: str) -> Tensor:
        return linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    patches = conv2d(images, weights["patch_embed.proj.weight"], weights["patch_embed.proj.bias"], stride=14)
    x = torch.cat([weights["cls_token"].expand(len(images), -1, -1), patches.flatten(2).mT], dim=1)
    grid = weights["pos_embed"][:, 1:].reshape(1, GRID, GRID, WIDTH).permute(0, 3, 1, 2)
    scale = float(16 + 0.1) / GRID
    grid = interpolate(grid, mode="bicubic", scale_factor=(scale, scale))
    x = x + torch.cat([weights["pos_embed"][:, :1], grid.permute(0, 2, 3, 1).reshape(1, 256, WIDTH)], dim=1)
    for i in range(DEPTH):
        block = f"blocks.{i}"
        qkv = dense(norm(x, f"{block}.norm1"), f"{block}.attn.qkv").reshape(len(x), 257, 3, HEADS, WIDTH // HEADS)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        attention = (q @ k.mT / (WIDTH // HEADS) ** 0.5).softmax(dim=-1) @ v
        x = x + weights[f"{block}.ls1.gamma"] * dense(attention.transpose(1, 2).flatten(2), f"{block}.attn.proj")
        inner = gelu(dense(norm(x, f"{block}.norm2"), f"{block}.mlp.fc1"))
        x = x + weights[f"{block}.ls2.gamma"] * dense(inner, f"{block}.mlp.fc2")
    return norm(x, "norm")[:, 0]


def test_original_weights_compute_what_the_original_architecture_computes() -> None:
    weights, images = original_weights(), torch.randn(2, 3, 224, 224)
    model = build_dinov2(weights, tiny_dinov2_config(), ANY_FILE)
    with torch.no_grad():
        actual = model(images).last_hidden_state[:, 0]
    torch.testing.assert_close(actual, original_forward(weights, images), rtol=0, atol=1e-4)


def test_both_sets_of_names_hold_the_same_network() -> None:
    weights = original_weights()
    published = published_names(weights)
    assert "encoder.layer.1.attention.attention.query.weight" in published
    one, other = (build_dinov2(tensors, tiny_dinov2_config(), ANY_FILE) for tensors in (weights, published))
    assert one.state_dict().keys() == other.state_dict().keys()
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


def test_positions_are_sampled_at_steps_of_37_over_16_point_1() -> None:
    column = torch.arange(GRID, dtype=torch.float32).expand(GRID, GRID).reshape(1, GRID**2, 1)
    table = torch.cat([torch.full((1, 1, 1), -5.0), column], dim=1)
    at_224 = positions_at_224(table)
    assert at_224[0, 0, 0] == -5.0
    sampled = at_224[0, 1:, 0].reshape(16, 16)
    ours, plain = ((torch.arange(16) + 0.5) * GRID / size - 0.5 for size in (16.1, 16.0))
    assert (sampled[3] - ours)[1:-1].abs().max() < 0.06  # torch's cubic bends a line by up to 0.05
    assert (sampled[3] - plain)[14].abs() > 0.15
    torch.testing.assert_close(sampled, sampled[:1].expand(16, 16), rtol=0, atol=1e-4)


def test_positions_for_224_stay_as_they_are() -> None:
    table = torch.randn(1, 257, 4)
    assert torch.equal(positions_at_224(table), table)


def test_the_model_takes_its_positions_without_interpolating_again() -> None:
    weights = original_weights()
    model = build_dinov2(weights, tiny_dinov2_config(), ANY_FILE)
    positions = model.embeddings.interpolate_pos_encoding(torch.zeros(1, 257, WIDTH), 224, 224)
    assert torch.equal(positions, positions_at_224(weights["pos_embed"]))


def test_vit_large_has_the_published_number_of_parameters() -> None:
    from transformers import Dinov2Model

    with torch.device("meta"):
        trained, ours = Dinov2Model(vit_large(518)), Dinov2Model(vit_large())
    assert ours.config.num_attention_heads == 16
    assert sum(parameter.numel() for parameter in trained.parameters()) == 304_368_640
    assert {name for name, value in ours.state_dict().items() if value.shape != trained.state_dict()[name].shape} == {
        "embeddings.position_embeddings"
    }
    assert ours.embeddings.position_embeddings.shape == (1, 257, 1024)


def test_features_are_the_normed_class_token_of_the_preprocessed_images() -> None:
    network = tiny_dinov2()
    pixels = torch.randint(0, 256, (2, 3, 40, 30), dtype=torch.uint8)
    with torch.no_grad():
        expected = network._model(fdd_input(pixels)).pooler_output
    torch.testing.assert_close(network(pixels)["cls"], expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"blocks.1.ls2.gamma": None}, "1 tensors are missing, such as encoder.layer.1.layer_scale2.lambda1"),
        ({"register_tokens": torch.zeros(1, 4, WIDTH)}, "1 tensors are too many, such as .*register_tokens"),
        ({"norm.bias": torch.zeros(3)}, "1 tensors have another shape, such as .*layernorm.bias"),
    ],
)
def test_weights_of_another_network_are_refused(change: dict[str, Tensor | None], message: str) -> None:
    changed = {name: value for name, value in (original_weights() | change).items() if value is not None}
    with pytest.raises(ValueError, match=f"dinov2.pth: is not this network: {message}"):
        build_dinov2(changed, tiny_dinov2_config(), ANY_FILE)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_both_file_formats_are_read(suffix: str, tmp_path: Path) -> None:
    weights, path = original_weights(), tmp_path / f"dinov2{suffix}"
    torch.save(weights, path) if suffix == ".pth" else safetensors.torch.save_file(weights, path)
    read = read_tensors(path.read_bytes(), path)
    assert read.keys() == weights.keys()
    assert all(torch.equal(value, weights[name]) for name, value in read.items())


def test_a_file_that_would_execute_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "dinov2.pth"
    torch.save({"cls_token": Path("/")}, path)
    with pytest.raises(ValueError, match=re.escape(f"{path}: holds no tensors that can be read safely")):
        read_tensors(path.read_bytes(), path)
    torch.save([torch.zeros(1)], path)
    with pytest.raises(ValueError, match="is no mapping of names to tensors"):
        read_tensors(path.read_bytes(), path)
    path = tmp_path / "cut.safetensors"
    path.write_bytes(safetensors.torch.save({"a": torch.zeros(100)})[:-7])
    with pytest.raises(ValueError, match="holds no tensors that can be read safely"):
        read_tensors(path.read_bytes(), path)
    assert given(path).path == path
