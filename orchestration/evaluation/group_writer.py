"""Buffer of one sampling setting's samples until a group is complete and goes into the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from dfm_core.catalog.feature_networks import FeatureNetworkName
from orchestration.artifacts.samples.features import Group, GroupFiles
from orchestration.evaluation.messages import MissingFeatures
from orchestration.evaluation.sample_batches import SampleBatch
from orchestration.evaluation.sample_grids import GRID_IMAGES
from orchestration.storage.layout import FeaturePaths
from orchestration.storage.store import Store

_WHITE = 255
Features = Callable[[FeatureNetworkName, Tensor], Mapping[str, Tensor]]
"""Function (network, pixels) -> the network's outputs."""


def on_white(parts: Sequence[Tensor]) -> Tensor:
    """Return batches as one, [n, ..., H, W]; those of several shapes each in the middle of the largest, on white."""
    height, width = (max(part.shape[axis] for part in parts) for axis in (-2, -1))
    whole = []
    for part in parts:
        high, wide = height - part.shape[-2], width - part.shape[-1]
        sides = (wide // 2, wide - wide // 2, high // 2, high - high // 2)
        whole.append(torch.nn.functional.pad(part, sides, value=_WHITE) if any(sides) else part)
    return torch.cat(whole)


class GroupWriter:
    """Collects batches of one point. The grid's pixels are written at once: a family of many points would hold all."""

    def __init__(self, store: Store, missing: MissingFeatures, group: Group, paths: FeaturePaths) -> None:
        self.missing, self.unsound, self.error = missing, list[int](), ""
        self._store, self._group, self._paths = store, group, paths
        self._labels: list[Tensor] = []
        self._pixels: list[Tensor] = []
        self._outputs: dict[FeatureNetworkName, dict[str, list[Tensor]]] = {name: {} for name in missing.networks}
        self._grid = Group(0, min(GRID_IMAGES, group.end)) if missing.grid else None

    def add(self, batch: SampleBatch, features: Features) -> None:
        """Add a batch; after the first fault of a point, only its unsound samples are still counted."""
        self.unsound.extend(batch.unsound)
        if batch.pixels is None or self.unsound or self.error:
            return
        self._labels.append(batch.labels)
        if self._grid is not None or self.missing.samples:
            self._pixels.append(batch.pixels)
        if self._grid is not None and batch.indices.stop >= self._grid.end:
            self._write_pixels(self._paths.grid, self._grid)
            self._grid, self._pixels = None, self._pixels if self.missing.samples else []
        try:
            for network, parts in self._outputs.items():
                for name, rows in features(network, batch.pixels).items():
                    parts.setdefault(name, []).append(rows.cpu())
        except ValueError as error:  # of this point's samples: the others of the family go on
            self.error = f"samples {batch.indices.start} to {batch.indices.stop - 1}: {error}"

    def write(self) -> None:
        """Write the whole group into the store, unless something is wrong with it."""
        if self.unsound or self.error:
            return
        if self.missing.samples:
            self._write_pixels(self._paths.samples, self._group)
        for network, parts in self._outputs.items():  # last: a group that has its features has everything
            outputs = {name: torch.cat(rows) for name, rows in parts.items()}
            directory = self._paths.network(network, self.missing.source.networks[network])
            GroupFiles(self._store, directory).write(self._group, {**outputs, "labels": torch.cat(self._labels)})

    def _write_pixels(self, directory: str, group: Group) -> None:
        count = group.num_samples
        tensors = {"pixels": on_white(self._pixels)[:count], "labels": torch.cat(self._labels)[:count]}
        GroupFiles(self._store, directory).write(group, tensors)
