"""The section `backbones:` of a sweep: pretrained networks that a row's `model.start` can name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from dfm_core.catalog.flux import FluxArchitecture
from orchestration.config.datasets import Place


@dataclass(frozen=True)
class BackboneTrainingConfig:
    """A training of the sweep's own that makes a backbone: a row that others start from (paper, appendix E.1)."""

    start: str = ""
    """Name of the backbone that it starts from; empty: random weights."""
    architecture: FluxArchitecture | None = None
    """Network of a backbone that starts from random weights."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Its changes of the sweep's settings, as a row makes them: `training.steps: 4000`."""


@dataclass(frozen=True)
class BackboneConfig:
    """A pretrained network: its folder as diffusers saves it, or the training that makes it."""

    kind: Literal["flux"]
    """`flux`: FluxTransformer2DModel."""
    files: Place | None = None
    """The folder with `config.json` and safetensors, in one file or with an index; `transformer/` of a FLUX."""
    made: BackboneTrainingConfig | None = None
    """A training of this sweep that makes it, in the place of files."""
