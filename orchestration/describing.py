"""What has to be known of the user's data before a sweep can be planned: asked of files once for each reading of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dfm_core.autoencoders.cards import ANY_KL, AUTOENCODERS, AutoencoderCard, autoencoder_card, card_from_settings
from dfm_core.autoencoders.finetuning_config import architecture_problems, finetuning_problems
from dfm_core.data.cards import find_card, pixels_card_of
from dfm_core.data.catalog import DATASETS
from dfm_core.data_config import DataConfig, DataDescription
from orchestration.data_identity import PIXELS, fingerprint_of
from orchestration.data_sections import AutoencoderConfig, MakingConfig, is_url
from orchestration.finetune_payload import InitialAutoencoder
from orchestration.makings import Making
from orchestration.problems import nearest
from orchestration.redaction import reason_of
from orchestration.runtime import RuntimeConfig

if TYPE_CHECKING:
    from dfm_core.data.raw_samples import RawDataset

KeyProblem = tuple[str, str]
"""(key, message)."""


@dataclass(frozen=True)
class _Described:
    """Of a data section, or what is wrong with it."""

    found: DataDescription | None
    problems: tuple[KeyProblem, ...] = ()


@dataclass
class Describer:
    """Describes data sections with the files that a sweep names."""

    runtime: RuntimeConfig | None
    """None: it holds mistakes; nothing is looked at then."""
    _known: dict[DataConfig, _Described] = field(default_factory=dict)
    _listed: dict[tuple[str, bool, bool], RawDataset] = field(default_factory=dict)
    _encoders: dict[str, tuple[AutoencoderCard, str]] = field(default_factory=dict)
    makings: dict[str, Making] = field(default_factory=dict)
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
            card, encoder = self._encoder(runtime, data.autoencoder)
        except Exception as error:  # noqa: BLE001  any storage library, any file: the user is told where and why
            key = f"autoencoders.{data.autoencoder}"
            return _Described(None, ((key, f"cannot be used: {_told(error, runtime)}"),))
        try:
            return _Described(self._describe(runtime, data, card, encoder))
        except Exception as error:  # noqa: BLE001  as above
            key = f"datasets.{data.dataset}" if data.dataset in runtime.datasets else "data.autoencoder"
            return _Described(None, ((key, f"cannot be used: {_told(error, runtime)}"),))

    def _encoder(self, runtime: RuntimeConfig, name: str) -> tuple[AutoencoderCard, str]:
        if not name:
            return AUTOENCODERS[PIXELS], PIXELS
        if name not in self._encoders:
            config = runtime.autoencoders[name]
            if (config.files is None) == (config.made is None):
                raise ValueError("needs either files or made")
            self._encoders[name] = self._given(runtime, config) if config.made is None else self._made(runtime, name)
        return self._encoders[name]

    def _given(self, runtime: RuntimeConfig, config: AutoencoderConfig) -> tuple[AutoencoderCard, str]:
        """Raises: ValueError and what the storage does."""
        from dfm_core.autoencoders.identity import CONFIG, identity_of
        from orchestration.autoencoder_files import autoencoder_folder
        from orchestration.raw_data import open_place

        assert config.files is not None, "what is not made has files"
        with autoencoder_folder(open_place(config.files, runtime.storage)) as folder:
            settings = json.loads((folder / CONFIG).read_bytes())
            card, found = autoencoder_card(config.kind, settings), card_from_settings(settings)
            if found != card:
                raise ValueError(f"its config.json makes other latents ({found}) than {config.kind} ({card})")
            return card, identity_of(config.kind, folder)

    def _made(self, runtime: RuntimeConfig, name: str) -> tuple[AutoencoderCard, str]:
        """Raises: ValueError for what does not fit together; as `_given`."""
        config = runtime.autoencoders[name]
        assert config.made is not None, "what has no files is made"
        made = config.made
        if bool(made.start) == (made.architecture is not None):
            raise ValueError("made needs either start, an autoencoder's name, or architecture")
        if made.data.autoencoder:
            raise ValueError("made.data names an autoencoder, but an autoencoder is trained on pixels")
        data, problems = self.described(made.data)
        if problems or find_card(data) is None:
            told = "; ".join(f"made.{key}: {message}" for key, message in problems)
            raise ValueError(told or f"made.data.dataset: {data.dataset!r} is not a dataset")
        card, initial = self._initial(runtime, name, made)
        pixels = pixels_card_of(data)
        found = [*finetuning_problems(made.training, card, pixels.resolution, pixels.frames)]
        found += architecture_problems(made.architecture) if made.architecture is not None else []
        if found:
            raise ValueError(
                "; ".join(f"made: {key} {message}" if key else f"made: {message}" for key, message in found)
            )
        making = Making(name, card, made.training, initial, data)
        self.makings[making.identity] = making
        return card, making.identity

    def _initial(
        self, runtime: RuntimeConfig, name: str, made: MakingConfig
    ) -> tuple[AutoencoderCard, InitialAutoencoder]:
        kind = runtime.autoencoders[name].kind
        if made.architecture is not None:
            if kind != ANY_KL:
                raise ValueError(f"random weights make a {ANY_KL}, no {kind}")
            return made.architecture.card, InitialAutoencoder(kind, architecture=made.architecture)
        if made.start not in runtime.autoencoders or made.start == name:
            hint = nearest(made.start, [other for other in runtime.autoencoders if other != name])
            raise ValueError(f"made.start {made.start!r} is no other autoencoder of the sweep{hint}")
        before = runtime.autoencoders[made.start]
        if before.kind != kind:
            raise ValueError(f"made.start {made.start!r} is a {before.kind}, no {kind}")
        if before.made is not None and before.made.start:
            raise ValueError(f"made.start {made.start!r} is fine-tuned itself: start from what that starts from")
        card, identity = self._encoder(runtime, made.start)
        if before.files is None:
            return card, InitialAutoencoder(kind, identity, made_by=self.makings[identity].digest)
        files = before.files if is_url(before.files) else str(Path(before.files).expanduser().absolute())
        return card, InitialAutoencoder(kind, identity, files=files)

    def _describe(
        self, runtime: RuntimeConfig, data: DataConfig, card: AutoencoderCard, encoder: str
    ) -> DataDescription:
        """Raises: ValueError and what the storage does."""
        frames = data.frames or None
        if frames is not None and not data.autoencoder:
            latent_frames: int | None = frames
        else:
            latent_frames = card.latent_frames(frames)
        if data.dataset in DATASETS:
            embedded = DATASETS[data.dataset]
            if embedded.path is None:
                raise ValueError(f"{embedded.about} is not part of the repository; give its files under datasets:")
            if embedded.frames is not None:
                raise ValueError("embedded clips are trained on as pixels: no autoencoder takes them")
            fingerprint = fingerprint_of(embedded.path)
            return DataDescription(
                fingerprint=fingerprint,
                encoder=encoder,
                class_names=embedded.class_names,
                num_samples=embedded.num_train_images,
                num_reference=embedded.num_reference_images,
                reference_fingerprint=fingerprint,
                resolution=card.latent_side(embedded.resolution),
                channels=card.channels,
                latent_frames=latent_frames,
            )
        config = runtime.datasets[data.dataset]
        training = self._raw(runtime, data, reference=False)
        reference = self._raw(runtime, data, reference=True) if config.reference else training
        if reference.class_names != training.class_names:
            raise ValueError(f"its reference has other classes: {', '.join(reference.class_names[:10])}")
        counted = config.layout != "image_shards"
        num_samples = len(training.units) if counted else config.num_samples
        num_reference = len(reference.units) if counted else config.num_reference or config.num_samples
        if num_samples is None or num_reference is None:
            raise ValueError("shards do not tell how many samples they hold: give num_samples, and num_reference")
        return DataDescription(
            fingerprint=training.fingerprint,
            encoder=encoder,
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
            from orchestration.raw_data import open_raw

            self._listed[key] = open_raw(
                runtime.datasets[data.dataset], runtime.storage, reference=reference, clips=bool(data.frames)
            )
        return self._listed[key]


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
