"""Description of data sections: all that a plan has to know of the user's files, asked of them once a sweep."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from dfm_core.catalog.autoencoders import AutoencoderCard
from dfm_core.catalog.datasets import DATASETS
from dfm_core.config.data import DataConfig, DataDescription
from orchestration.common.redaction import reason_of, without_credentials
from orchestration.config.datasets import DatasetConfig
from orchestration.config.runtime import RuntimeConfig
from orchestration.config.storage import PLANNING_SECONDS
from orchestration.data.absence import absence_text, is_absence
from orchestration.data.autoencoder_recipe import AutoencoderRecipe
from orchestration.data.data_mistakes import (
    KeyProblem,
    MistakenKeysError,
    alias_key,
    other_classes,
    unknown_names,
    unusable,
    user_settings_of_embedded,
)
from orchestration.data.dataset_facts import DatasetFacts
from orchestration.data.describe_autoencoders import AutoencoderInspector
from orchestration.data.describe_captions import caption_problems, describe_captions, storage_text
from orchestration.data.identity import absent_identity, fingerprint_of
from orchestration.storage.retry import StorageUnavailableError

AutoencoderDescription = tuple[AutoencoderCard, str]
"""Shapes and identity of an autoencoder."""


class _Described(NamedTuple):
    """The description of a data section, or None and the mistakes in it."""

    description: DataDescription | None
    problems: tuple[KeyProblem, ...] = ()


@dataclass
class DatasetInspector:
    """Describes data sections with the files that a sweep names."""

    runtime: RuntimeConfig | None
    """None: it holds mistakes, and no file is opened."""
    kept_listings: bool = False
    """Listings that earlier commands kept will do, if they are not stale."""
    recipes: dict[str, AutoencoderRecipe] = field(default_factory=dict)
    """Autoencoders that have to be trained, by identity, as far as a data section named them."""
    absent: dict[str, str] = field(default_factory=dict)
    """Key -> why its files cannot be used: they are not there yet, and are planned with all the same."""
    _known: dict[DataConfig, _Described] = field(default_factory=dict)
    _listed: dict[tuple[str, bool, bool], DatasetFacts] = field(default_factory=dict)
    _known_autoencoders: AutoencoderInspector | None = None
    _silence: tuple[KeyProblem, ...] = ()
    """A storage that did not answer. Nobody waits for it twice, and one message is enough."""

    def describe(self, data: DataConfig) -> tuple[DataConfig, tuple[KeyProblem, ...]]:
        """Return the section with its description; unchanged if it needs none."""
        if self.runtime is None:
            return data, ()
        alias = self.runtime.dataset_aliases.get(data.dataset)
        if alias is None:
            return self._describe(self.runtime, data)
        described, problems = self._describe(self.runtime, alias.applied(data), is_alias=True)
        name, given = data.dataset, data
        return described, tuple((alias_key(name, given, key), message) for key, message in problems)

    def _describe(
        self, runtime: RuntimeConfig, data: DataConfig, *, is_alias: bool = False
    ) -> tuple[DataConfig, tuple[KeyProblem, ...]]:
        """Describe a section without aliases. Args: is_alias: one stood for its dataset."""
        if unknown := unknown_names(runtime, data, is_alias=is_alias):
            return data, tuple(unknown)
        if not data.autoencoder and data.dataset not in runtime.datasets:
            return data, tuple(user_settings_of_embedded(data))
        if self._silence:
            return data, self._silence
        key = replace(data, standardize=False, window_shards=1, mirrored=False, described=None)
        if key not in self._known:
            self._known[key] = self._inspect(runtime, data)
        description, problems = self._known[key]
        return replace(data, described=description), problems

    def _inspect(self, runtime: RuntimeConfig, data: DataConfig) -> _Described:
        problems: list[KeyProblem] = []
        if data.dataset in runtime.datasets:
            problems += caption_problems(runtime, data)
        if data.dataset not in runtime.datasets:
            problems += user_settings_of_embedded(data)
        if problems:
            return _Described(None, tuple(problems))
        key = f"autoencoders.{data.autoencoder}"
        try:
            card, identity = self._autoencoders(runtime).encoder(data.autoencoder)
            if data.autoencoder:
                on_gpu = runtime.workers.gpus_per_evaluator > 0
                identity = runtime.autoencoders[data.autoencoder].identity(identity, on_gpu=on_gpu)
            encoder = card, identity
            key = f"datasets.{data.dataset}" if data.dataset in runtime.datasets else "data.autoencoder"
            is_embedded = data.dataset in DATASETS
            return _Described(_embedded(data, encoder) if is_embedded else self._files(runtime, data, encoder))
        except MistakenKeysError as error:
            return _Described(None, error.problems)
        except Exception as error:  # noqa: BLE001  any storage library, any file: the user is told where and why
            # A library's error needs its type to make sense; ours are whole sentences.
            reason = reason_of(error, runtime.storage.options)
            for ours in ("ValueError: ", "FileNotFoundError: "):
                reason = reason.removeprefix(ours)
            problems = [(key, f"cannot be used: {reason}")]
            if isinstance(error, StorageUnavailableError):
                self._silence = tuple(problems)
            return _Described(None, self._silence or tuple(problems))

    def _autoencoders(self, runtime: RuntimeConfig) -> AutoencoderInspector:
        if self._known_autoencoders is None:
            patient = replace(runtime, storage=runtime.storage.at_most(PLANNING_SECONDS))
            self._known_autoencoders = AutoencoderInspector(patient, self.describe, self.recipes, self.absent)
        return self._known_autoencoders

    def _files(self, runtime: RuntimeConfig, data: DataConfig, encoder: AutoencoderDescription) -> DataDescription:
        """Describe the user's files. Raises: ValueError; errors of the storage."""
        card, identity = encoder
        frames = data.frames or None
        latent_frames = card.latent_frames(frames)
        if not card.can_decode(latent_frames):
            raise ValueError(f"{frames} frames become {latent_frames} of the latent; only odd numbers can be decoded")
        config = runtime.datasets[data.dataset]
        training = self._facts(runtime, data, reference=False)
        reference = self._facts(runtime, data, reference=True) if config.reference else training
        if config.layout != "image_shards" or not config.max_bad_share:  # of a shard the listing tells no share
            training.require(config.max_bad_share)
        if config.reference:
            reference.require(0.0)
        if not self.absent and reference.class_names != training.class_names:
            raise unusable(data, "reference", other_classes(config, training.class_names, reference.class_names))
        if config.num_classes not in (None, there := len(training.class_names)):
            found = f"{there:,} class{'' if there == 1 else 'es'} ({training.classes_text})"
            message = f"{config.num_classes}, but {without_credentials(config.files)} has {found}"
            key = f"datasets.{data.dataset}.num_classes"
            raise MistakenKeysError([(key, f"{message}: write {there}, or name other files")])
        num_samples, num_reference = _num_samples(config, training, reference)
        return DataDescription(
            fingerprint=training.fingerprint,
            encoder=identity,
            class_names=training.class_names,
            num_samples=num_samples,
            num_reference=num_reference,
            reference_fingerprint=reference.fingerprint,
            resolution=card.latent_side(max(data.sides, default=data.side)),
            channels=card.channels,
            latent_frames=latent_frames,
            captions=describe_captions(runtime, data, card, num_samples + num_reference, self.absent)
            if config.has_captions
            else None,
        )

    @property
    def about(self) -> tuple[str, ...]:
        """Return what was found at each place of the user's files, and how captions are stored, in words."""
        configs = self.runtime.datasets if self.runtime else {}
        listed = (
            facts.text(
                f"{name}, reference" if reference else name,
                counts_real=configs[name].layout != "image_shards" and bool(configs[name].reference) == reference,
            )
            for (name, reference, _), facts in self._listed.items()
        )
        return (*listed, *dict.fromkeys(self._about_captions()))

    def _about_captions(self) -> Iterator[str]:
        for data, (described, _) in self._known.items():
            if self.runtime is not None and described is not None and described.captions is not None and data.text:
                number = described.num_samples + described.num_reference
                limit = self.runtime.text_encoders[data.text].store_gb
                yield storage_text(data.dataset, replace(data, described=described), number, limit)

    def _facts(self, runtime: RuntimeConfig, data: DataConfig, *, reference: bool) -> DatasetFacts:
        """Return the facts of the files, those that the sweep tells where there are no files yet.

        Raises: MistakenKeysError, also where files are not there and the sweep does not tell enough; errors of the
            storage.
        """
        config, key = runtime.datasets[data.dataset], "reference" if reference else "files"
        try:
            return self._listed_facts(runtime, data, reference=reference)
        except ValueError as error:
            raise unusable(data, key, str(error)) from None
        except Exception as error:
            if not is_absence(error):
                raise
            reason = absence_text(error, config.place(reference=reference), runtime.storage.options)
            num_classes = 1 if config.has_captions else config.num_classes
            if num_classes is None or config.num_samples is None:
                needed = "num_samples" if config.has_captions else "num_classes and num_samples"
                how = f"to plan before they are there give datasets.{data.dataset}.{needed}"
                raise unusable(data, key, f"{reason}; {how}") from None
            self.absent[f"datasets.{data.dataset}{'.reference' if reference else ''}"] = reason
            number = config.num_reference if reference else config.num_samples
            place = absent_identity(config.place(reference=reference))
            return DatasetFacts.planned(place, num_classes, number or config.num_samples)

    def _listed_facts(self, runtime: RuntimeConfig, data: DataConfig, *, reference: bool) -> DatasetFacts:
        key = (data.dataset, reference, bool(data.frames))
        if key not in self._listed:
            from orchestration.data.kept_listings import facts_of
            from orchestration.data.user_files import UserDataset, open_place

            config, storage = runtime.datasets[data.dataset], runtime.storage
            patient = storage.at_most(PLANNING_SECONDS)
            open_place(config.place(reference=reference), patient).exists("")
            # Of a storage that answers, a long listing may take `call_seconds`.
            patient = replace(patient, call_seconds=storage.call_seconds)
            dataset = UserDataset(config, patient, reference, bool(data.frames))
            self._listed[key] = facts_of(dataset, kept=self.kept_listings)
        return self._listed[key]


def _num_samples(config: DatasetConfig, training: DatasetFacts, reference: DatasetFacts) -> tuple[int, int]:
    """Return the numbers of training and reference samples. Raises: ValueError for shards that do not tell them."""
    if config.layout != "image_shards":
        return training.num_units, reference.num_units
    num_reference = config.num_reference if config.reference else config.num_samples
    if config.num_samples is None or num_reference is None:
        missing = "num_samples" if config.num_samples is None else "num_reference, as the reference is apart"
        raise ValueError(f"shards do not tell how many samples they hold: give {missing}")
    return config.num_samples, num_reference


def _embedded(data: DataConfig, encoder: AutoencoderDescription) -> DataDescription:
    """Describe embedded images as latents. Raises: ValueError if no autoencoder can take them."""
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
