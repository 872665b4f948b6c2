"""FLUX's and CogVideoX's autoencoders against diffusers itself, and files that are not theirs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from dfm_core.autoencoders.diffusers_vae import DiffusersAutoencoder
from dfm_core.autoencoders.identity import CONFIG, WEIGHTS
from dfm_core.autoencoders.registry import load_autoencoder
from dfm_core.catalog.autoencoders import AUTOENCODERS, AutoencoderCard, autoencoder_card, card_from_settings
from dfm_core.data.image_dataset import to_pixels
from tests.support.tiny_autoencoders import FLUX_SCALE, FLUX_SHIFT, save_cogvideox, save_flux, save_kl


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_flux(tmp_path_factory.mktemp("flux"))


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copytree(saved, tmp_path / "vae"))


def test_flux_latents_are_shifted_and_scaled_and_back(saved: Path) -> None:
    from diffusers import AutoencoderKL

    network, own = AutoencoderKL.from_pretrained(saved), load_autoencoder("flux", saved)
    image = torch.rand(1, 3, 16, 24, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        theirs, ours = network.encode(image).latent_dist, own.encode(image)
        torch.testing.assert_close(ours.mean, FLUX_SCALE * (theirs.mean - FLUX_SHIFT))
        torch.testing.assert_close(ours.std, FLUX_SCALE * theirs.std)
        torch.testing.assert_close(own.decode(ours.mean), network.decode(theirs.mean).sample, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scale", [1.15258426, 0.7])
def test_cogvideox_latents_are_scaled(tmp_path: Path, scale: float) -> None:
    from diffusers import AutoencoderKLCogVideoX

    save_cogvideox(tmp_path, scaling_factor=scale)
    network, own = AutoencoderKLCogVideoX.from_pretrained(tmp_path), load_autoencoder("cogvideox", tmp_path)
    clip = torch.rand(1, 3, 9, 8, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        theirs, ours = network.encode(clip).latent_dist.mean, own.encode(clip).mean
        assert ours.shape == (1, 16, 3, 1, 1)
        torch.testing.assert_close(ours, scale * theirs)
        torch.testing.assert_close(own.decode(ours), network.decode(theirs).sample, rtol=1e-4, atol=1e-5)


def test_latents_that_diffusers_decodes_into_more_frames_are_refused(tmp_path: Path) -> None:
    own = load_autoencoder("cogvideox", save_cogvideox(tmp_path))
    with torch.no_grad():
        latents = own.encode(torch.zeros(1, 3, 5, 8, 8)).mean
        assert own.network.decode(latents).sample.shape[2] == 8  # of 5: the day it is 5, the refusal can go
        with pytest.raises(ValueError, match="2 latent frames: diffusers decodes odd numbers of them alone"):
            own.decode(latents)


@pytest.mark.parametrize("frames", [0, 2, 4, 6, 16])
def test_videos_of_a_length_that_loses_frames_are_refused(tmp_path: Path, frames: int) -> None:
    own = load_autoencoder("cogvideox", save_cogvideox(tmp_path))
    with pytest.raises(ValueError, match=rf"{frames} frames, but needed are videos of 1 \+ k \* 4 frames"):
        own.encode(torch.zeros(1, 3, frames, 8, 8))


def test_the_papers_clips_have_5_latent_frames() -> None:
    card = AUTOENCODERS["cogvideox"]
    assert [card.latent_frames(frames) for frames in (1, 5, 17)] == [1, 2, 5]
    assert card.latent_side(512) == 64
    with pytest.raises(ValueError, match="17 frames, but this autoencoder is for images"):
        AUTOENCODERS["flux"].latent_frames(17)
    with pytest.raises(ValueError, match="images, but needed are videos"):
        card.latent_frames(None)


def test_the_identity_is_of_settings_and_weights_alone(folder: Path, saved: Path) -> None:
    known = load_autoencoder("flux", saved).identity
    assert load_autoencoder("flux", folder).identity == known
    weights = load_file(folder / WEIGHTS)
    next(iter(weights.values())).view(-1)[0] += 1
    save_file(weights, folder / WEIGHTS)
    other = load_autoencoder("flux", folder).identity
    set_config(folder, scaling_factor=0.5)
    assert len({known, other, load_autoencoder("flux", folder).identity}) == 3


def set_config(folder: Path, **settings: object) -> None:
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps({**config, **settings}))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"_class_name": "AutoencoderKLCogVideoX"}, "is of 'AutoencoderKLCogVideoX', needed is 'AutoencoderKL'"),
        ({"latent_channels": 4}, "holds the weights of another network: "),
        ({"scaling_factor": 0.0}, "its scaling_factor is 0.0, not above 0"),
        ({"scaling_factor": float("nan")}, "its scaling_factor is nan, not above 0"),
        ({"down_block_types": ["os.system"]}, "its settings make no AutoencoderKL"),
    ],
)
def test_settings_of_another_network_are_refused(folder: Path, settings: dict[str, object], message: str) -> None:
    set_config(folder, **settings)
    with pytest.raises(ValueError, match=message):
        load_autoencoder("flux", folder)


def test_an_autoencoder_of_other_latents_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"makes other latents \(AutoencoderCard\(channels=4"):
        load_autoencoder("flux", save_flux(tmp_path, latent_channels=4))


def test_a_small_autoencoder_has_the_card_that_its_files_say(tmp_path: Path) -> None:
    own, settings = load_autoencoder("kl", save_kl(tmp_path)), json.loads((tmp_path / CONFIG).read_text())
    assert own.card == autoencoder_card("kl", settings) == AutoencoderCard(channels=4, spatial_factor=4)
    assert autoencoder_card("flux", settings) == AUTOENCODERS["flux"]
    with pytest.raises(ValueError, match=r"makes other latents \(AutoencoderCard\(channels=4, spatial_factor=4"):
        load_autoencoder("flux", tmp_path)


def test_the_card_of_a_video_autoencoder_can_be_read_too(tmp_path: Path) -> None:
    save_cogvideox(tmp_path)
    assert card_from_settings(json.loads((tmp_path / CONFIG).read_text())) == AUTOENCODERS["cogvideox"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (None, "its shapes are in its config.json, which was not given"),
        ({"latent_channels": 4}, "have no 'block_out_channels'"),
        ({"latent_channels": "4", "block_out_channels": [4]}, "latent_channels '4' and .* give no latents"),
        ({"latent_channels": 4, "block_out_channels": []}, "block_out_channels .. give no latents"),
    ],
)
def test_settings_that_give_no_card_are_told(settings: dict[str, object] | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        autoencoder_card("kl", settings)


@pytest.mark.parametrize("channels", [{"in_channels": 1}, {"out_channels": 1}])
def test_an_autoencoder_of_grey_pixels_is_refused(tmp_path: Path, channels: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="channels, needed are 3; repeat grey ones"):
        load_autoencoder("kl", save_kl(tmp_path, **channels))


def test_files_that_are_missing_or_damaged_are_told(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere: has no config\.json; needed are"):
        load_autoencoder("flux", tmp_path / "nowhere")
    weights = load_file(folder / WEIGHTS)
    whole = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(whole[:-10])
    with pytest.raises(ValueError, match="is damaged or no safetensors file"):
        load_autoencoder("flux", folder)
    first, second = sorted(weights)[:2]
    save_file({"stranger" if name == first else name: tensor for name, tensor in weights.items()}, folder / WEIGHTS)
    with pytest.raises(ValueError, match=f"1 are missing, such as {first}; 1 are unknown, such as stranger"):
        load_autoencoder("flux", folder)
    save_file({**weights, second: torch.full_like(weights[second], float("nan"))}, folder / WEIGHTS)
    with pytest.raises(ValueError, match=f"NaN or infinite values in {second}"):
        load_autoencoder("flux", folder)
    (folder / WEIGHTS).unlink()
    with pytest.raises(ValueError, match="weights in other formats can run code, and are not read"):
        load_autoencoder("flux", folder)
    (folder / CONFIG).write_text("{")
    with pytest.raises(ValueError, match="is no JSON"):
        load_autoencoder("flux", folder)


def test_pixels_of_8_bits_are_stored_nearly_without_loss() -> None:
    values = torch.arange(256, dtype=torch.uint8).repeat(3, 1, 1)[None]  # [1, 3, 1, 256]
    own, level = load_autoencoder("pixels", Path()), 1 / 127.5
    kept = own.encode(values.float() * level - 1).stored()["mean"].float()
    assert torch.equal(to_pixels(own.decode(kept)), values)
    assert (kept - (values.float() * level - 1)).abs().max() < level / 30  # bf16 would be off by a quarter of a level


def test_bf16_is_near_fp32_and_another_identity(saved: Path) -> None:
    plain, mixed = load_autoencoder("flux", saved), load_autoencoder("flux", saved)
    assert isinstance(mixed, DiffusersAutoencoder)
    mixed.use_bf16()
    assert mixed.identity == plain.identity + ":bf16"
    pixels = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        expected, found = plain.encode(pixels), mixed.encode(pixels)
        images, others = plain.decode(expected.mean), mixed.decode(expected.mean)
    for a, b in ((expected.mean, found.mean), (images, others)):
        assert b.dtype == torch.float32
        assert not torch.equal(a, b)
        assert float((a - b).norm() / a.norm()) < 0.03
