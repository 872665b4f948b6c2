"""Identity of the autoencoder that a folder holds. Needs no torch: planning reads it."""

from __future__ import annotations

import hashlib
from pathlib import Path

CONFIG, WEIGHTS = "config.json", "diffusion_pytorch_model.safetensors"


def identity_of(kind: str, folder: Path) -> str:
    """Return the identity of kind, settings and weights; the folder's name does not enter it."""
    digest = hashlib.sha256()
    for name in (CONFIG, WEIGHTS):
        with (folder / name).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return f"{kind}:{digest.hexdigest()}"
