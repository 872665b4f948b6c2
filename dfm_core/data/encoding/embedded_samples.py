"""An embedded dataset as one that can be encoded: `RawDataset`."""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import cached_property

from PIL import Image

from dfm_core.catalog.datasets import DATASETS
from dfm_core.data.files.folder_report import BadFile
from dfm_core.data.files.raw_samples import DataFile, RawSample
from dfm_core.data.image_dataset import ImageDataset, load_dataset


class EmbeddedSamples:
    """The training images, grey, each a PNG, in the order of the file."""

    left_out: tuple[BadFile, ...] = ()

    def __init__(self, name: str, fingerprint: str) -> None:
        self._name, self.fingerprint = name, fingerprint
        self.class_names = DATASETS[name].class_names

    @property
    def units(self) -> tuple[DataFile, ...]:
        return tuple(DataFile(f"{at:07d}.png", 0) for at in range(DATASETS[self._name].num_train_images))

    @cached_property
    def _images(self) -> ImageDataset:
        return load_dataset(self._name, "train")

    def samples(self, unit: DataFile) -> Iterator[RawSample | BadFile]:
        at = int(unit.name.removesuffix(".png"))
        content = io.BytesIO()
        Image.fromarray(self._images.pixels[at, 0].numpy()).save(content, "PNG", compress_level=0)
        yield RawSample(unit.name, int(self._images.labels[at]), content.getvalue())
