"""An autoencoder from a folder and from a bucket is the same one."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from dfm_core.autoencoders.identity import CONFIG, WEIGHTS
from dfm_core.autoencoders.registry import load_autoencoder
from orchestration.config.datasets import AutoencoderConfig
from orchestration.data.autoencoder_recipe import recipe_digest
from orchestration.data.user_files import autoencoder_folder
from orchestration.storage.store import Store
from tests.support.s3 import environment, make_bucket, variables
from tests.support.tiny_autoencoders import save_flux


def test_an_autoencoder_from_a_bucket_is_the_one_in_the_folder(tmp_path: Path, s3_endpoint: str) -> None:
    local = Store(str(save_flux(tmp_path / "vae")))
    with environment(variables(s3_endpoint)):
        remote = Store(f"s3://{make_bucket(s3_endpoint)}/vae")
        for name in (CONFIG, WEIGHTS):
            remote.put(tmp_path / "vae" / name, name)
        with autoencoder_folder(remote) as there, autoencoder_folder(local) as here:
            assert here == tmp_path / "vae"
            assert load_autoencoder("flux", there).identity == load_autoencoder("flux", here).identity
        assert not there.exists()
        remote.remove(WEIGHTS)
        with (
            pytest.raises(FileNotFoundError, match=f"s3://.*/vae/{WEIGHTS}: is not there"),
            autoencoder_folder(remote),
        ):
            pass


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path: Path, name: str) -> None:
    folder = save_flux(tmp_path / "vae")
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(FileNotFoundError, match="is no regular file"), autoencoder_folder(Store(str(folder))):
        pass
    with pytest.raises(ValueError, match=f"has no {name}"):
        load_autoencoder("flux", folder)


def test_a_gpu_encodes_in_bf16_and_its_latents_are_others() -> None:
    config = AutoencoderConfig("flux", "/vae")
    assert config.identity("flux:1", on_gpu=False) == "flux:1"
    assert config.identity("flux:1", on_gpu=True) == "flux:1:bf16"
    assert replace(config, precision="fp32").identity("flux:1", on_gpu=True) == "flux:1"
    assert replace(config, precision="bf16").identity("kl:made:ab", on_gpu=False) == "kl:made:ab:bf16"
    assert recipe_digest("kl:made:ab:bf16") == recipe_digest("kl:made:ab") == "ab"
