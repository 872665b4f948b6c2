"""Identity of pretrained backbones, and recipes of those that are trained here. Needs no torch: planning reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dfm_core.config import ExperimentConfig
from dfm_core.config.data import MADE
from orchestration.storage.layout import SnapshotRef

_RANDOM = ":random"


@dataclass(frozen=True)
class BackboneRecipe:
    """The training that makes a backbone: an ordinary one, whose last snapshot others start from."""

    name: str
    """Its name in the sweep."""
    config: ExperimentConfig

    @property
    def steps(self) -> int:
        return self.config.training.steps


BackboneRecipes = Mapping[str, BackboneRecipe]
"""Recipes by the identity of their backbone."""


def random_identity(kind: str) -> str:
    """Return the identity of a backbone that starts from random weights, which the seed of its training gives."""
    return f"{kind}{_RANDOM}"


def made_backbone(kind: str, snapshot: SnapshotRef) -> str:
    """Return the identity of a backbone that a training makes, known before it is made."""
    digest, step = snapshot
    return f"{kind}{MADE}{digest}:{step}"


def start_snapshot(config: ExperimentConfig) -> SnapshotRef | None:
    """Return the snapshot that a training starts from; None: from given files, or from random weights."""
    if config.model.described is None:
        return None
    _, is_made, made = config.model.described.identity.partition(MADE)
    digest, _, step = made.partition(":")
    return (digest, int(step)) if is_made else None


def starts_from_files(config: ExperimentConfig) -> bool:
    """Return True if a training starts from the files that the user gives for `model.start`."""
    described = config.model.described
    return described is not None and MADE not in described.identity and not described.identity.endswith(_RANDOM)
