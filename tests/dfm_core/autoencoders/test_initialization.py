"""Autoencoders that are made here: weights from the seed, latents of unit scale, files that are read back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from dfm_core.autoencoder_training.config import FinetuningConfig, finetuning_problems
from dfm_core.autoencoders.architecture import KlArchitecture, architecture_problems
from dfm_core.autoencoders.identity import CONFIG, WEIGHTS
from dfm_core.autoencoders.initialization import random_autoencoder, unit_scale, write_autoencoder
from dfm_core.autoencoders.registry import load_autoencoder
from dfm_core.catalog.autoencoders import AUTOENCODERS, AutoencoderCard, card_from_settings
from dfm_core.seeding import normal
from tests.support.tiny_autoencoders import save_cogvideox

SMALL = KlArchitecture(widths=(4, 8), norm_groups=4, latent_channels=5)


def pixels(count: int = 4) -> torch.Tensor:
    return torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_weights_depend_on_the_seed_alone() -> None:
    before = torch.get_rng_state()
    first, again, other = (random_autoencoder(SMALL, seed).network.state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["encoder.conv_in.weight"], other["encoder.conv_in.weight"])


def test_the_card_of_an_architecture_is_the_one_of_its_network() -> None:
    assert SMALL.card == AutoencoderCard(channels=5, spatial_factor=2) == card_from_settings(SMALL.settings)
    assert random_autoencoder(SMALL, 0).card == SMALL.card
    assert SMALL.card.shape_of_latent((16, 24)) == (5, 8, 12)
    assert AUTOENCODERS["cogvideox"].shape_of_latent((17, 64, 48)) == (16, 5, 8, 6)


def test_what_is_written_is_read_and_equal_networks_give_equal_files(tmp_path: Path) -> None:
    own = random_autoencoder(SMALL, 0)
    for name in ("a", "b"):
        files = write_autoencoder(own, own.network.state_dict(), tmp_path / name, (2.0, 0.5))
        assert [file.name for file in files] == [CONFIG, WEIGHTS]
    read = load_autoencoder("kl", tmp_path / "a")
    assert (read.scale, read.shift, read.card) == (2.0, 0.5, SMALL.card)
    assert read.identity == load_autoencoder("kl", tmp_path / "b").identity
    with torch.no_grad():
        torch.testing.assert_close(read.encode(pixels()).mean, 2.0 * (own.encode(pixels()).mean - 0.5))
        torch.testing.assert_close(read.decode(read.encode(pixels()).mean), own.decode(own.encode(pixels()).mean))


def test_other_weights_are_another_autoencoder(tmp_path: Path) -> None:
    for seed in (0, 1):
        own = random_autoencoder(SMALL, seed)
        write_autoencoder(own, own.network.state_dict(), tmp_path / str(seed))
    assert len({load_autoencoder("kl", tmp_path / str(seed)).identity for seed in (0, 1)}) == 2


def test_files_name_no_place_and_a_video_autoencoder_stays_one(tmp_path: Path) -> None:
    own = load_autoencoder("cogvideox", save_cogvideox(tmp_path / "there"))
    write_autoencoder(own, own.network.state_dict(), tmp_path / "here")  # type: ignore[attr-defined, arg-type]
    settings = json.loads((tmp_path / "here" / CONFIG).read_text())
    assert "there" not in str(settings)
    assert [key for key in settings if key.startswith("_")] == ["_class_name"]  # of diffusers' own notes none
    assert load_autoencoder("cogvideox", tmp_path / "here").card == AUTOENCODERS["cogvideox"]


def test_with_its_unit_scale_drawn_latents_have_mean_0_and_deviation_1(tmp_path: Path) -> None:
    own, batch = random_autoencoder(SMALL, 0), pixels(64)
    scale = unit_scale(own, batch.split(24))
    write_autoencoder(own, own.network.state_dict(), tmp_path, scale)
    with torch.no_grad():
        posterior = load_autoencoder("kl", tmp_path).encode(batch)
    assert posterior.std is not None
    drawn = posterior.mean + posterior.std * normal(0, "draw", range(64), (5, 8, 8))
    assert float(drawn.mean()) == pytest.approx(0.0, abs=0.02)
    assert float(drawn.std()) == pytest.approx(1.0, rel=0.02)


@pytest.mark.parametrize(
    ("settings", "side", "frames", "messages"),
    [
        ({}, 256, None, []),
        ({"scale_factors": (2, 3)}, 256, None, ["3 does not divide the latent's side 32; give downscaling: bilinear"]),
        ({"scale_factors": (2, 3), "downscaling": "bilinear"}, 256, None, []),
        ({"scale_factors": (64,)}, 256, None, ["64 leaves nothing of a latent of side 32"]),
        ({"scale_factors": (64,), "scale_equivariance": False}, 256, None, []),
        ({"l1_weight": 0.0}, 256, None, ["is 0, and so is l2_weight: nothing is reconstructed"]),
        ({}, 100, None, ["a side of 100 pixels is no multiple of 8"]),
        ({}, 256, 17, ["17 frames, but this autoencoder is for images"]),
    ],
)
def test_what_does_not_fit_is_told(settings: dict, side: int, frames: int | None, messages: list[str]) -> None:
    found = finetuning_problems(FinetuningConfig(**settings), AUTOENCODERS["flux"], side, frames)
    assert [message for _, message in found] == messages


def test_videos_that_cannot_be_decoded_are_told_before_any_work() -> None:
    card = AUTOENCODERS["cogvideox"]
    assert list(finetuning_problems(FinetuningConfig(), card, 256, 17)) == []
    ((_, message),) = finetuning_problems(FinetuningConfig(), card, 256, 13)
    assert message == "13 frames become 4 of the latent, and only odd numbers of them can be decoded"


def test_widths_that_cannot_be_grouped_are_told() -> None:
    assert list(architecture_problems(KlArchitecture())) == []
    assert list(architecture_problems(KlArchitecture(widths=(12, 16)))) == [
        ("norm_groups", "8 does not divide the width 12")
    ]
