"""The datasets that can be named in a config. Needs no torch: planning reads it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_EMBEDDED = Path(__file__).parent / "embedded"


@dataclass(frozen=True)
class DatasetCard:
    """What planning has to know of a dataset before anything is loaded."""

    path: Path
    """The file that holds it; its sha256 is the dataset's fingerprint."""
    resolution: int
    """Side in pixels as the model sees it."""
    channels: int
    class_names: tuple[str, ...]
    num_train_images: int
    num_reference_images: int
    """Held-out real images against which samples are measured."""
    licence: str

    @property
    def num_classes(self) -> int:
        return len(self.class_names)


FASHION_CLASSES = (
    "T-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)  # fmt: skip

DATASETS: dict[str, DatasetCard] = {
    "fashion_mnist": DatasetCard(
        path=_EMBEDDED / "fashion_mnist.npz",
        resolution=32,
        channels=1,
        class_names=FASHION_CLASSES,
        num_train_images=4000,
        num_reference_images=2000,
        licence="MIT, (c) 2017 Zalando SE",
    ),
}
