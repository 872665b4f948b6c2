"""Resources that an evaluator keeps in memory between tasks: feature networks, references, probes, captions."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from dfm_core.autoencoders.base import Autoencoder
from dfm_core.catalog.feature_networks import FEATURE_NETWORKS, FeatureNetworkName
from dfm_core.config import DataConfig, ExperimentConfig
from dfm_core.config.dataset_card import card_of
from dfm_core.data.captions.caption import caption_number
from dfm_core.data.image_dataset import to_pixels
from dfm_core.fitting_batches import AUTOENCODER_BYTES, FittingBatches
from dfm_core.metrics.features.base import FeatureNetwork
from dfm_core.metrics.features.clip import ClipNetwork
from dfm_core.metrics.features.loaders import load_feature_network
from dfm_core.metrics.reference import Reference
from dfm_core.metrics.scores.probe import LinearProbe
from dfm_core.models.flux.text_encoders import TextEncoders
from orchestration.artifacts.autoencoders import load_of_data
from orchestration.artifacts.samples.captioned_images import open_captioned_images
from orchestration.artifacts.samples.captioned_latents import read_captions
from orchestration.artifacts.samples.latents import latent_cache
from orchestration.artifacts.samples.planned_text_encoders import load_planned_encoders
from orchestration.artifacts.samples.real_images import RealSamples, open_real
from orchestration.artifacts.samples.text_encodings import open_text_table
from orchestration.artifacts.task_record import read_checked
from orchestration.config.files import FileConfig
from orchestration.config.runtime import RuntimeConfig
from orchestration.data.file_cache import FileCache, given_files
from orchestration.data.identity import PIXELS, is_embedded, pixels_digest, stored_texts_digest
from orchestration.evaluation.sample_conditions import CaptionConditions, ClassConditions, SampleConditions
from orchestration.storage.layout import TaskPaths
from orchestration.storage.store import Store

REFERENCE_FILE, PROBE_FILE = "reference.npz", "probe.npz"
Resource = TypeVar("Resource")


class ResourceCache:
    """Loads resources at their first use and keeps them: all tasks of a sweep measure with the same ones."""

    def __init__(self, store: Store, runtime: RuntimeConfig, device: torch.device, cache: FileCache) -> None:
        self._store, self._files, self._device, self._cache = store, runtime.networks, device, cache
        self._runtime = runtime
        self._kept: dict[tuple[str, ...], Any] = {}
        """(kind, names) -> resource."""

    def network(self, name: FeatureNetworkName) -> FeatureNetwork:
        """Return a feature network. Raises: ValueError with everything that is wrong with its files."""

        def load() -> FeatureNetwork:
            return load_feature_network(name, given_files(self._files, name, self._cache)).to(self._device)

        return self._keep(("network", name), load)

    def features(self, name: FeatureNetworkName, pixels: Tensor) -> dict[str, Tensor]:
        """Return a network's outputs of samples, [B, D], or [B, frames, D] of videos under a network that takes images.

        Args: pixels: [B, C, H, W] or [B, C, T, H, W] uint8.
        """
        network = self.network(name)
        fitting = self._keep(("fitting", name), lambda: FittingBatches(name))

        def outputs_of(batch: Tensor) -> dict[str, Tensor]:
            parts = fitting.map(network, batch)
            return {output: torch.cat([part[output] for part in parts]) for output in parts[0]}

        if pixels.ndim == 4 or FEATURE_NETWORKS[name].takes == "clips":
            return outputs_of(pixels)
        frames = pixels.transpose(1, 2)  # [B, T, C, H, W]
        outputs = outputs_of(frames.flatten(0, 1))
        return {output: rows.reshape(*frames.shape[:2], *rows.shape[1:]) for output, rows in outputs.items()}

    def reference(self, digest: str) -> Reference:
        """Return a reference. Raises: DamagedArtifactError, after which the next submission makes it anew."""
        return self._keep(("reference", digest), lambda: Reference.from_arrays(self._arrays(digest, REFERENCE_FILE)))

    def probe(self, digest: str) -> LinearProbe:
        """Return a linear probe. Raises: as `reference`."""
        return self._keep(("probe", digest), lambda: LinearProbe(**self._arrays(digest, PROBE_FILE)))

    def content(self, file: FileConfig) -> bytes:
        """Return the content of a file that the user names. Raises: ValueError if its checksum is another."""
        content = self._cache.local_path(file).read_bytes()
        actual = hashlib.sha256(content).hexdigest()
        if actual != file.sha256.lower():
            raise ValueError(f"{file.path}: expected sha256 {file.sha256.lower()}, found {actual}")
        return content

    def autoencoder(self, data: DataConfig) -> Autoencoder:
        """Return the autoencoder of a data section, on the device; pixels where it names none.

        Raises: ValueError, FileNotFoundError if its files are not what they should be; DamagedArtifactError for one
            that was made here; what the storage does.
        """
        encoder = PIXELS if data.described is None or not data.autoencoder else data.described.encoder
        return self._keep(
            ("autoencoder", encoder), lambda: load_of_data(data, self._runtime, self._store, self._device)
        )

    def text_encoders(self, data: DataConfig) -> TextEncoders:
        """Return the encoders of captions that a data section names, on the device.

        Raises: ValueError if their files are not what they should be, or have changed; what the storage does.
        """
        captions = data.described and data.described.captions
        assert captions, f"{data.dataset} has captions"
        identity = captions.encoders
        return self._keep(
            ("text_encoders", identity, str(data.text_length)),
            lambda: self._planned_encoders(data, identity),
        )

    def _planned_encoders(self, data: DataConfig, identity: str) -> TextEncoders:
        config, storage = self._runtime.text_encoders[data.text], self._runtime.storage
        return load_planned_encoders(data.text, config, storage, identity, data.text_length, self._device)

    def decoder(self, data: DataConfig) -> Callable[[Tensor], Tensor]:
        """Return the function from a model's output to 8-bit pixels, with as many channels as the real images."""
        if not data.autoencoder:
            return to_pixels
        autoencoder, grey = self.autoencoder(data), is_embedded(data)
        fitting = self._keep(
            ("fitting", autoencoder.identity), lambda: FittingBatches(data.autoencoder, AUTOENCODER_BYTES)
        )
        num_pixels = max(data.side, 1, *data.sides) ** 2 * (data.frames or 1)

        def decode(latents: Tensor) -> Tensor:
            return torch.cat(fitting.map(decode_part, latents, num_pixels))

        @torch.no_grad()
        def decode_part(latents: Tensor) -> Tensor:
            pixels = autoencoder.decode(latents).clamp(-1.0, 1.0)  # a decoder may go a little beyond
            return to_pixels(pixels.mean(1, keepdim=True) if grey else pixels)

        return decode

    def real(self, data: DataConfig, split: str) -> RealSamples:
        """Return the real images or videos of a split. Raises: as `open_real`."""
        return self._keep(
            ("real", data.dataset, split, pixels_digest(data)),
            lambda: open_real(data, split, self._store, latent_cache(self._runtime.workers)),
        )

    def conditions(self, config: ExperimentConfig) -> SampleConditions:
        """Return the labels and sizes of generated samples. Raises: as `open_real`."""
        data = config.data
        if not data.sides:
            return ClassConditions(config.evaluation, card_of(data).num_classes)
        assert data.described is not None, "captioned images are described"
        cache = latent_cache(self._runtime.workers)
        images = self._keep(("captioned", pixels_digest(data)), lambda: open_captioned_images(data, self._store, cache))
        place = TaskPaths(texts := stored_texts_digest(data)).latents
        table = self._keep(
            ("texts", texts), lambda: open_text_table(self._store, place, cache, lambda: self.text_encoders(data))
        )
        return CaptionConditions(images, table, max(data.sides) // data.described.resolution)

    def text_targets(self, data: DataConfig, template: str, labels: Tensor) -> Tensor:
        """Return CLIP's features of the captions of samples, [B, D]: a template's with the class, or their own."""
        clip = self._clip()
        if data.sides:
            digest = pixels_digest(data)
            rows = self._keep(("caption features", digest), lambda: _features_by_number(self._captions(digest), clip))
            return torch.stack([rows[number] for number in labels.tolist()])
        names = card_of(data).class_names
        features = self._keep(
            ("captions", data.dataset, template),
            lambda: clip.text([template.replace("{}", name) for name in names]).cpu(),
        )
        return features[labels]

    def num_cut_captions(self, data: DataConfig) -> tuple[int, int]:
        """Return how many captions of the test images CLIP does not see whole, and how many there are."""
        captions = [*self._captions(pixels_digest(data)).values()]
        return self._clip().num_cut(captions), len(captions)

    def _clip(self) -> ClipNetwork:
        clip = self.network("clip")
        assert isinstance(clip, ClipNetwork), "captions are CLIP's"
        return clip

    def label_names(self, data: DataConfig, labels: Tensor) -> list[str]:
        """Return the names of samples' labels, for people: classes, or captions."""
        if data.sides:
            names = self._captions(pixels_digest(data))
            return [names[number] for number in labels.tolist()]
        classes = card_of(data).class_names
        return [classes[number] for number in labels.tolist()]

    def _captions(self, pixels: str) -> dict[int, str]:
        """Return the captions of test images by number. Args: pixels: digest of the task that stores the images."""

        def load() -> dict[int, str]:
            captions = read_captions(self._store, TaskPaths(pixels).latents)
            return {caption_number(caption): caption for caption in captions}

        return self._keep(("captions by number", pixels), load)

    def _keep(self, key: tuple[str, ...], load: Callable[[], Resource]) -> Resource:
        """Return what is under a key, loaded at first use."""
        if key not in self._kept:
            self._kept[key] = load()
        resource: Resource = self._kept[key]
        return resource

    def _arrays(self, digest: str, name: str) -> dict[str, Any]:
        with np.load(io.BytesIO(read_checked(self._store, digest, name))) as archive:
            return {key: archive[key] for key in archive.files}


def _features_by_number(captions: Mapping[int, str], clip: ClipNetwork) -> dict[int, Tensor]:
    """Return CLIP's features of captions, by number; CLIP sees their first 77 tokens."""
    return dict(zip(captions, clip.text([*captions.values()], cut=True).cpu(), strict=True))
