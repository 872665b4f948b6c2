"""The dataset of an `encode` task: its listing, and the settings that the user gave for it."""

from __future__ import annotations

from collections.abc import Sequence

from dfm_core.catalog.datasets import DATASETS
from dfm_core.data.encoding.embedded_samples import EmbeddedSamples
from dfm_core.data.files.folder_report import BadFile
from dfm_core.data.files.raw_samples import RawDataset
from orchestration.config.runtime import RuntimeConfig
from orchestration.data.identity import is_embedded, pixels_digest
from orchestration.data.kept_listings import open_planned
from orchestration.data.user_files import UserDataset
from orchestration.tasks.task import EncodeTask


class EncodingSource:
    """The datasets of encodings; keeps their listings."""

    def __init__(self, runtime: RuntimeConfig) -> None:
        self._runtime = runtime
        self._open: dict[str, RawDataset] = {}
        """Datasets by the fingerprints with which they were planned."""

    def dataset(self, task: EncodeTask) -> RawDataset:
        """Return the dataset of a task. Raises: ValueError if its files are not those that were planned with."""
        planned, data = task.payload["fingerprint"], task.config.data
        if planned not in self._open:
            dataset: RawDataset
            if is_embedded(data):
                dataset = EmbeddedSamples(data.dataset, planned)
            else:
                config = self._runtime.datasets[data.dataset]
                files = UserDataset(config, self._runtime.storage, _is_reference(task), bool(data.frames))
                dataset = open_planned(files, planned)
            if dataset.fingerprint != planned:
                raise ValueError(f"datasets.{data.dataset}: its files have changed since the sweep was planned")
            self._open[planned] = dataset
        return self._open[planned]

    def units_per_part(self, task: EncodeTask) -> int:
        """Return how many of the dataset's units make one shard of latents."""
        return 1 if self.has_image_shards(task) else int(task.payload["samples_per_shard"])

    def has_image_shards(self, task: EncodeTask) -> bool:
        data = task.config.data
        return not is_embedded(data) and self._runtime.datasets[data.dataset].layout == "image_shards"

    def key_of_count(self, task: EncodeTask) -> str:
        """Return the key by which the user says how many samples there are."""
        name = task.config.data.dataset
        is_apart = _is_reference(task) and self._runtime.datasets[name].reference is not None
        return f"datasets.{name}.{'num_reference' if is_apart else 'num_samples'}"

    def num_lost(self, task: EncodeTask, there: int, bad: Sequence[BadFile]) -> int:
        """Return how many samples of image shards the user counts and no shard gives.

        Args: there: samples that the shards gave, flips not counted, whether they could be encoded or not.
        Raises: ValueError if no damaged shard explains them, or there are more than the user counts.
        """
        if not self.has_image_shards(task):
            return 0
        lost = task.num_samples - there
        if lost < 0 or (lost and not any(one.holds_many for one in bad)):
            raise ValueError(
                f"{self.key_of_count(task)} says {task.num_samples} samples, and the shards at {self.place(task)} hold "
                f"{there}: give {there}, or see which shard is not the right one; what is encoded is kept"
            )
        return lost

    def max_bad_share(self, task: EncodeTask) -> float:
        """Return the share of samples that may be left out."""
        data = task.config.data
        if is_embedded(data) or _is_reference(task):
            return 0.0
        return self._runtime.datasets[data.dataset].max_bad_share

    def place(self, task: EncodeTask) -> str:
        """Return the place of the files, or the name of an embedded dataset, for messages."""
        data = task.config.data
        if is_embedded(data):
            return data.dataset
        return self._runtime.datasets[data.dataset].place(reference=_is_reference(task))


def side_of(task: EncodeTask) -> int:
    """Return the side in pixels to which a task's samples are brought."""
    data = task.config.data
    return DATASETS[data.dataset].resolution if is_embedded(data) else data.side


def _is_reference(task: EncodeTask) -> bool:
    return task.digest == pixels_digest(task.config.data)
