"""A site on this machine for the paper's fine-tuning of FLUX: captioned images, and a FLUX of two blocks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import yaml
from safetensors.torch import save_file

from dfm_core.catalog.weight_files import GivenFile
from dfm_core.metrics.features.clip import vit_base_32
from tests.support.captioned_files import caption
from tests.support.dataset_files import encoded
from tests.support.feature_standins import MERGES, VOCABULARY, given
from tests.support.flux import TINY_FLUX, pretrained
from tests.support.small_site import write_small_site
from tests.support.tiny_text_encoders import POOLED_WIDTH, TOKEN_WIDTH, make_text_encoders

FLUX = replace(TINY_FLUX, in_channels=64, joint_attention_dim=TOKEN_WIDTH, pooled_projection_dim=POOLED_WIDTH)
SIZES = ((1024, 1024), (720, 1420), (1024, 1024))
"""Height and width; the images of a set take turns. All are used at both sides of Table 3."""


def write_small_flux_site(folder: Path, *, networks: bool = True) -> Path:
    """Return the site file, and write all that it names. Args: networks: with those of the metrics, 1.8 GB."""
    place = write_small_site(folder, networks=networks)
    site = yaml.safe_load(place.read_text(encoding="utf-8"))
    for split, count in (("train", 6), ("test", 4)):
        _write_images(folder / "captioned" / split / "all", count)
    make_text_encoders(folder / "FLUX")
    pretrained(architecture=FLUX).save_pretrained(folder / "FLUX" / "transformer")
    train, test = str(folder / "captioned/train"), str(folder / "captioned/test")
    site["datasets"] = {
        "captioned": {"files": train, "reference": test, "num_samples": 6, "num_reference": 4},
        "captioned_squares": {"files": train, "num_samples": 6},
    }
    site["autoencoders"] = {"flux": site["autoencoders"]["flux"]}
    site["text_encoders"] = {"flux": {"files": str(folder / "FLUX"), "precision": "fp32"}}
    site["backbones"] = {"flux_dev": {"kind": "flux", "files": str(folder / "FLUX" / "transformer")}}
    del site["dataset_aliases"]
    if networks:
        site["networks"]["clip"] = {name: _entry(file) for name, file in _clip(folder / "clip").items()}
    place.write_text(yaml.safe_dump(site), encoding="utf-8")
    return place


def _write_images(folder: Path, count: int) -> None:
    """Write images of a few large squares, each beside its caption."""
    folder.mkdir(parents=True)
    for number in range(count):
        height, width = SIZES[number % len(SIZES)]
        few = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        pixels = few.repeat(-(-height // 8), axis=0)[:height].repeat(-(-width // 8), axis=1)[:, :width]
        (folder / f"{number}.png").write_bytes(encoded(pixels, "PNG"))
        (folder / f"{number}.txt").write_text(caption(number), encoding="utf-8")


def _clip(folder: Path) -> dict[str, GivenFile]:
    from transformers import CLIPModel

    folder.mkdir()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_file({name: own.contiguous() for name, own in CLIPModel(vit_base_32()).state_dict().items()}, folder / "w")
    (folder / "vocabulary").write_bytes(VOCABULARY)
    (folder / "merges").write_bytes(MERGES)
    return {"weights": given(folder / "w"), **{name: given(folder / name) for name in ("vocabulary", "merges")}}


def _entry(file: GivenFile) -> dict[str, str]:
    return {"path": str(file.path), "sha256": file.sha256}
