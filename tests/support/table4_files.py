"""Stand-ins for the files that sweeps/table4.yaml names: a few images, and FLUX's autoencoder with random weights."""

from __future__ import annotations

from pathlib import Path

from tests.support.dataset_files import png
from tests.support.tiny_autoencoders import save_flux


def table4_overrides(folder: Path) -> tuple[str, ...]:
    """Writes them. Returns what makes the sweep take them."""
    save_flux(folder / "vae")
    for name in ("ant", "bee"):
        (folder / "train" / name).mkdir(parents=True)
        for at in range(3):
            (folder / "train" / name / f"{at}.png").write_bytes(png(at, side=24))
    few = "evaluation.inception_splits=2"  # of so few real images
    files = f"datasets.imagenet.files={folder}/train", "datasets.imagenet.num_classes=2"
    return *files, f"autoencoders.flux.files={folder}/vae", few
