"""Autoencoders that a sweep has made before anything is encoded: what each is made of, and its task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from dfm_core.autoencoders.cards import AutoencoderCard
from dfm_core.autoencoders.finetuning_config import FinetuningConfig
from dfm_core.config import DataConfig
from orchestration.digests import digest_of
from orchestration.finetune_payload import InitialAutoencoder, finetune_payload, made_identity


@dataclass(frozen=True)
class Making:
    """One autoencoder that is made here."""

    name: str
    """In the sweep."""
    card: AutoencoderCard
    training: FinetuningConfig
    initial: InitialAutoencoder
    data: DataConfig
    """Whose pixels it is trained on, described."""

    @cached_property
    def payload(self) -> dict[str, Any]:
        return finetune_payload(self.training, self.initial, self.data)

    @property
    def digest(self) -> str:
        return digest_of(self.payload)

    @property
    def identity(self) -> str:
        """Of the autoencoder, known before it is made."""
        return made_identity(self.initial.kind, self.digest)


Makings = Mapping[str, Making]
"""By the identity of what is made."""
