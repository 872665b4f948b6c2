"""The part that all encodings of a user's files share: units of a part, the planned autoencoder, the share left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from dfm_core.autoencoders.base import Autoencoder
from dfm_core.config import DataConfig
from dfm_core.data.encoding.excluded_samples import ExcludedSamples
from dfm_core.data.files.folder_report import BadFile
from dfm_core.data.files.raw_samples import DataFile
from orchestration.config.runtime import RuntimeConfig
from orchestration.data.identity import PIXELS
from orchestration.encoding.encoding_source import EncodingSource
from orchestration.encoding.excluded_files import in_one_line
from orchestration.storage.store import Store
from orchestration.tasks.task import EncodeTask


class FileEncoder:
    """Base of the `PartEncoder`s of files: a part is some units of the dataset."""

    def __init__(
        self,
        store: Store,
        runtime: RuntimeConfig,
        device: torch.device,
        autoencoder: Callable[[DataConfig], Autoencoder],
    ) -> None:
        """Args: autoencoder: loads that of a data section; pixels where it names none."""
        self._store, self._device, self._load = store, device, autoencoder
        self._source, self._num_threads = EncodingSource(runtime), runtime.workers.cpus_per_worker

    def num_parts(self, task: EncodeTask) -> int:
        """See `PartEncoder`."""
        return -(-len(self._source.dataset(task).units) // self._source.units_per_part(task))

    def _units(self, task: EncodeTask, number: int) -> Sequence[DataFile]:
        """Return the units of a part."""
        size = self._source.units_per_part(task)
        return self._source.dataset(task).units[number * size : (number + 1) * size]

    def _autoencoder(self, task: EncodeTask) -> Autoencoder:
        """Return the autoencoder that a task was planned with. Raises: ValueError if its files have changed since."""
        data = task.config.data
        autoencoder = self._load(replace(data, autoencoder="") if task.payload["encoder"] == PIXELS else data)
        if autoencoder.identity != task.payload["encoder"]:
            raise ValueError(f"autoencoders.{data.autoencoder}: its files have changed since the sweep was planned")
        return autoencoder

    def _check_left_out(self, task: EncodeTask, left_out: Sequence[BadFile]) -> None:
        """Raises: ValueError as soon as one part leaves out more than is allowed of all."""
        with in_one_line():
            share = self._source.max_bad_share(task)
            ExcludedSamples(self._source.place(task), share, task.num_samples).add(left_out)
