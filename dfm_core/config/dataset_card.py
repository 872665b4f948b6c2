"""The card of an experiment's dataset, known before anything is loaded. Needs no torch."""

from __future__ import annotations

from dataclasses import replace

from dfm_core.catalog.datasets import DATASETS, DatasetCard
from dfm_core.config.data import DataConfig

_COLOURS = 3


def find_card(data: DataConfig) -> DatasetCard | None:
    """Return the card; None if there is no such dataset, or it was not described."""
    known, own = DATASETS.get(data.dataset), data.described
    if own is None:
        return known
    if known is not None:  # embedded, encoded by an autoencoder
        return replace(known, path=None, resolution=own.resolution, channels=own.channels, frames=own.latent_frames)
    return DatasetCard(
        path=None,
        resolution=own.resolution,
        channels=own.channels,
        class_names=own.class_names,
        num_train_images=own.num_samples,
        num_reference_images=own.num_reference,
        licence="the user's",
        about="files of the user",
        frames=own.latent_frames,
        held_out=False,
    )


def card_of(data: DataConfig) -> DatasetCard:
    """Return the card of data that a sweep was read with."""
    card = find_card(data)
    assert card is not None, f"{data.dataset} was not described; reading the sweep should have said so"
    return card


def pixels_card_of(data: DataConfig) -> DatasetCard:
    """Return the card with the shape of the samples as pixels, which are measured."""
    card = card_of(data)
    if data.described is None:
        return card
    if data.dataset in DATASETS:
        return DATASETS[data.dataset]
    return replace(card, resolution=data.side, channels=_COLOURS, frames=data.frames or None)
