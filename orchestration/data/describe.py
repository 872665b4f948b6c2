"""What has to be known of the user's data before a sweep can be planned: asked of files once for each reading of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from dfm_core.catalog.autoencoders import AutoencoderCard
from dfm_core.catalog.datasets import DATASETS
from dfm_core.config.data import DataConfig, DataDescription
from orchestration.common.errors import nearest
from orchestration.common.redaction import reason_of
from orchestration.config.runtime import RuntimeConfig
from orchestration.data.autoencoder_recipe import AutoencoderRecipe
from orchestration.data.describe_autoencoders import AutoencoderInspector, KeyProblem
from orchestration.data.identity import fingerprint_of

if TYPE_CHECKING:
    from dfm_core.data.files.raw_samples import RawDataset

AutoencoderDescription = tuple[AutoencoderCard, str]
"""Shapes and identity of an autoencoder."""


@dataclass(frozen=True)
class _Described:
    """Of a data section, or what is wrong with it."""

    found: DataDescription | None
    problems: tuple[KeyProblem, ...] = ()


@dataclass
class DatasetInspector:
    """Describes data sections with the files that a sweep names."""

    runtime: RuntimeConfig | None
    """None: it holds mistakes; nothing is looked at then."""
    _known: dict[DataConfig, _Described] = field(default_factory=dict)
    _listed: dict[tuple[str, bool, bool], RawDataset] = field(default_factory=dict)
    _known_autoencoders: AutoencoderInspector | None = None
    makings: dict[str, AutoencoderRecipe] = field(default_factory=dict)
    """Autoencoders that have to be made, by identity, as far as a data section named them."""

    def described(self, data: DataConfig) -> tuple[DataConfig, tuple[KeyProblem, ...]]:
        """The section with what was found of it; as it was, where nothing has to be."""
        if self.runtime is None or (not data.autoencoder and data.dataset not in self.runtime.datasets):
            return data, tuple(_of_embedded(data))
        key = replace(data, standardize=False, window_shards=1, mirrored=False, described=None)
        if key not in self._known:
            self._known[key] = self._look(self.runtime, data)
        known = self._known[key]
        return replace(data, described=known.found), known.problems

    def _look(self, runtime: RuntimeConfig, data: DataConfig) -> _Described:
        problems = [*_unknown_names(runtime, data)]
        if data.dataset in runtime.datasets and not data.side:
            problems.append(("data.side", f"is needed: the side in pixels that {data.dataset}'s files are cropped to"))
        if data.dataset not in runtime.datasets:
            problems += _of_embedded(data)
        if problems:
            return _Described(None, tuple(problems))
        try:
            encoder = self._autoencoders(runtime).encoder(data.autoencoder)
        except Exception as error:  # noqa: BLE001  any storage library, any file: the user is told where and why
            key = f"autoencoders.{data.autoencoder}"
            return _Described(None, ((key, f"cannot be used: {_told(error, runtime)}"),))
        try:
            found = _embedded(data, encoder) if data.dataset in DATASETS else self._files(runtime, data, encoder)
            return _Described(found)
        except Exception as error:  # noqa: BLE001  as above
            key = f"datasets.{data.dataset}" if data.dataset in runtime.datasets else "data.autoencoder"
            return _Described(None, ((key, f"cannot be used: {_told(error, runtime)}"),))

    def _autoencoders(self, runtime: RuntimeConfig) -> AutoencoderInspector:
        if self._known_autoencoders is None:
            self._known_autoencoders = AutoencoderInspector(runtime, self.described, self.makings)
        return self._known_autoencoders

    def _files(self, runtime: RuntimeConfig, data: DataConfig, encoder: AutoencoderDescription) -> DataDescription:
        """Raises: ValueError and what the storage does."""
        card, identity = encoder
        frames = data.frames or None
        latent_frames = card.latent_frames(frames)
        if not card.can_decode(latent_frames):
            raise ValueError(f"{frames} frames become {latent_frames} of the latent; only odd numbers can be decoded")
        config = runtime.datasets[data.dataset]
        training = self._raw(runtime, data, reference=False)
        reference = self._raw(runtime, data, reference=True) if config.reference else training
        if reference.class_names != training.class_names:
            raise ValueError(f"its reference has other classes: {', '.join(reference.class_names[:10])}")
        counted = config.layout != "image_shards"
        num_samples = len(training.units) if counted else config.num_samples
        own_reference = config.num_reference if config.reference else config.num_samples
        num_reference = len(reference.units) if counted else own_reference
        if num_samples is None or num_reference is None:
            missing = "num_samples" if num_samples is None else "num_reference, as the reference is apart"
            raise ValueError(f"shards do not tell how many samples they hold: give {missing}")
        return DataDescription(
            fingerprint=training.fingerprint,
            encoder=identity,
            class_names=training.class_names,
            num_samples=num_samples,
            num_reference=num_reference,
            reference_fingerprint=reference.fingerprint,
            resolution=card.latent_side(data.side),
            channels=card.channels,
            latent_frames=latent_frames,
        )

    def _raw(self, runtime: RuntimeConfig, data: DataConfig, *, reference: bool) -> RawDataset:
        key = (data.dataset, reference, bool(data.frames))
        if key not in self._listed:
            from orchestration.data.user_files import open_raw

            self._listed[key] = open_raw(
                runtime.datasets[data.dataset], runtime.storage, reference=reference, clips=bool(data.frames)
            )
        return self._listed[key]


def _embedded(data: DataConfig, encoder: AutoencoderDescription) -> DataDescription:
    """Raises: ValueError if no autoencoder can take it."""
    embedded, (card, identity) = DATASETS[data.dataset], encoder
    if embedded.path is None:
        raise ValueError(f"{embedded.about} is not part of the repository; give its files under datasets:")
    if embedded.frames is not None:
        raise ValueError("embedded clips are trained on as pixels: no autoencoder takes them")
    fingerprint = fingerprint_of(embedded.path)
    return DataDescription(
        fingerprint=fingerprint,
        encoder=identity,
        class_names=embedded.class_names,
        num_samples=embedded.num_train_images,
        num_reference=embedded.num_reference_images,
        reference_fingerprint=fingerprint,
        resolution=card.latent_side(embedded.resolution),
        channels=card.channels,
        latent_frames=card.latent_frames(None),
    )


def _told(error: Exception, runtime: RuntimeConfig) -> str:
    """In one line; the type of an error says something to the user if a library raised it."""
    return reason_of(error, runtime.storage.options).removeprefix("ValueError: ")


def _unknown_names(runtime: RuntimeConfig, data: DataConfig) -> list[KeyProblem]:
    problems = []
    datasets = [*(name for name, card in DATASETS.items() if card.path is not None), *runtime.datasets]
    if data.dataset not in datasets:
        hint = nearest(data.dataset, datasets) or ";"
        problems.append(("data.dataset", f"{data.dataset!r} is not a dataset{hint} known: {', '.join(datasets)}"))
    if data.autoencoder and data.autoencoder not in runtime.autoencoders:
        names = list(runtime.autoencoders)
        hint = nearest(data.autoencoder, names) or ";"
        message = f"{data.autoencoder!r} is no autoencoder of the sweep{hint} known: {', '.join(names) or 'none'}"
        problems.append(("data.autoencoder", message))
    return problems


def _of_embedded(data: DataConfig) -> list[KeyProblem]:
    """Settings that only the files of a dataset of the user's read."""
    default = DataConfig()
    asked = [key for key in ("side", "frames", "stride") if getattr(data, key) != getattr(default, key)]
    if data.mirrored and not data.autoencoder:
        asked.append("mirrored")
    return [(f"data.{key}", f"is for datasets under datasets:, and {data.dataset} is embedded") for key in asked]
