"""A site on this machine: a few images and clips, autoencoders and feature networks of the real classes, random."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from safetensors.torch import save_file

from dfm_core.catalog.weight_files import GivenFile
from dfm_core.metrics.features.dinov2 import vit_large
from tests.support.dataset_files import clip, png
from tests.support.feature_standins import I3DStandIn, InceptionStandIn, given, scripted
from tests.support.tiny_autoencoders import save_cogvideox, save_flux

CLASSES = ("ant", "bee")


def write_small_site(folder: Path, *, networks: bool = True) -> Path:
    """Return the site file, and write all that it names. Args: networks: with those of the metrics, 1.2 GB."""
    images = _class_folders(folder / "imagenet", ".png", lambda at: png(at, side=24))
    clips = _class_folders(folder / "kinetics", ".mp4", lambda at: clip([_frame(at + t) for t in range(17)]))
    save_flux(folder / "flux-vae")
    save_cogvideox(folder / "cogvideox-vae")
    flux = {"dataset": "imagenet", "autoencoder": "flux"}
    site = {
        "storage": {"root": str(folder / "store")},
        "datasets": {
            "imagenet": {"files": str(images), "num_classes": len(CLASSES)},
            "kinetics": {"files": str(clips), "num_classes": len(CLASSES)},
        },
        "autoencoders": {
            "flux": {"kind": "flux", "files": str(folder / "flux-vae")},
            "cogvideox": {"kind": "cogvideox", "files": str(folder / "cogvideox-vae")},
        },
        "dataset_aliases": {
            "imagenet512_flux": {**flux, "side": 512},
            "imagenet1024_flux": {**flux, "side": 1024},
            "kinetics512_cogvideox": {"dataset": "kinetics", "side": 512, "frames": 17, "autoencoder": "cogvideox"},
        },
    }
    if networks:
        site["networks"] = {name: {"weights": _entry(file)} for name, file in _networks(folder).items()}
    place = folder / "site.yaml"
    place.write_text(yaml.safe_dump(site), encoding="utf-8")
    return place


def _class_folders(folder: Path, ending: str, content: Callable[[int], bytes]) -> Path:
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
        for at in range(3):
            (folder / name / f"{at}{ending}").write_bytes(content(at))
    return folder


def _frame(at: int) -> np.ndarray[Any, Any]:
    return np.full((24, 32, 3), 9 * at % 256, dtype=np.uint8)


def _networks(folder: Path) -> dict[str, GivenFile]:
    from transformers import Dinov2Model

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        dinov2 = folder / "dinov2.safetensors"
        save_file(Dinov2Model(vit_large()).state_dict(), dinov2)
        return {
            "inception": scripted(InceptionStandIn(), folder / "inception.pt"),
            "i3d": scripted(I3DStandIn(), folder / "i3d.pt"),
            "dinov2": given(dinov2),
        }


def _entry(file: GivenFile) -> dict[str, str]:
    return {"path": str(file.path), "sha256": file.sha256}
