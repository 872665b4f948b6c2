"""Recipes of autoencoders that are trained here, as their digests see them. Needs no torch: planning reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from dfm_core.autoencoder_training.config import FinetuningConfig
from dfm_core.autoencoders.architecture import KlArchitecture
from dfm_core.catalog.autoencoders import ANY_KL, AutoencoderCard
from dfm_core.config import DataConfig
from dfm_core.config.data import IN_BF16, MADE
from dfm_core.config.experiment import NUMERICS_CHANGED_IN
from dfm_core.config.plain import as_plain
from orchestration.common.digests import digest_of, without_neutral
from orchestration.data.identity import real_identity, training_identity

_REGULARIZATION = ("scale_factors", "downscaling", "equivariance_weight")


@dataclass(frozen=True)
class InitialAutoencoder:
    """The start of a training: the user's files, the result of another task, or random weights."""

    kind: str
    """One of `AUTOENCODER_KINDS`; also the kind of the result."""
    identity: str = ""
    """Identity of settings and weights; "": random."""
    files: str = ""
    """Place of the user's files."""
    made_by: str = ""
    """Digest of the task that makes it."""
    architecture: KlArchitecture | None = None
    """Network with random weights."""

    def __post_init__(self) -> None:
        given = [bool(self.files), bool(self.made_by), self.architecture is not None]
        assert sum(given) == 1, "an autoencoder starts from files, from a task's or from random weights"
        assert self.architecture is None or self.kind == ANY_KL, f"random weights make a {ANY_KL}, no {self.kind}"

    @classmethod
    def made(cls, kind: str, digest: str) -> InitialAutoencoder:
        return cls(kind, made_identity(kind, digest), made_by=digest)


def made_identity(kind: str, digest: str) -> str:
    """Return the identity of the autoencoder that a task makes, known before it is made."""
    return f"{kind}{MADE}{digest}"


def recipe_digest(encoder: str) -> str:
    """Return the digest of the task that makes an autoencoder of this identity; "": none does."""
    return encoder.partition(MADE)[2].removesuffix(IN_BF16)


def finetune_payload(config: FinetuningConfig, initial: InitialAutoencoder, data: DataConfig) -> dict[str, Any]:
    """Return all that decides the autoencoder; settings of an unused regularization are left out.

    Args: data: the pixels that it is trained on; names no autoencoder.
    """
    assert not data.autoencoder, "an autoencoder is trained on pixels"
    plain: dict[str, Any] = as_plain(config)
    if not config.scale_equivariance:
        plain = {key: value for key, value in plain.items() if key not in _REGULARIZATION}
    architecture = initial.architecture
    start = {"autoencoder": initial.identity} if architecture is None else {"architecture": architecture.settings}
    return {
        "kind": "finetune_autoencoder",
        "finetuning": without_neutral("finetuning", plain),
        "initial": {"kind": initial.kind, **start},
        "data": training_identity(data),
        "measured_on": real_identity(data),
        "numerics": NUMERICS_CHANGED_IN["finetune_autoencoder"],
    }


@dataclass(frozen=True)
class AutoencoderRecipe:
    """One autoencoder that is trained here."""

    name: str
    """Its name in the sweep."""
    card: AutoencoderCard
    training: FinetuningConfig
    initial: InitialAutoencoder
    data: DataConfig
    """The described data that it is trained on, as pixels."""

    @cached_property
    def payload(self) -> dict[str, Any]:
        return finetune_payload(self.training, self.initial, self.data)

    @property
    def digest(self) -> str:
        return digest_of(self.payload)

    @property
    def identity(self) -> str:
        """Identity of the autoencoder, known before it is made."""
        return made_identity(self.initial.kind, self.digest)


AutoencoderRecipes = Mapping[str, AutoencoderRecipe]
"""Recipes by the identity of their autoencoder."""
