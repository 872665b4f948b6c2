"""What the workers of a fine-tuning are told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dfm_core.autoencoders.finetuning_config import FinetuningConfig
from dfm_core.config import DataConfig, as_plain
from orchestration.finetune_payload import InitialAutoencoder
from orchestration.workplace import Workplace


@dataclass(frozen=True)
class FinetuneRequest:
    """All that the workers of one fine-tuning are told; plain data."""

    digest: str
    config: dict[str, Any]
    """`FinetuningConfig`."""
    initial: dict[str, Any]
    """`InitialAutoencoder`."""
    data: dict[str, Any]
    """`DataConfig` of the pixels; names no autoencoder."""
    latents: str
    """Digest of the task that made a store of these pixels; "": they are embedded."""
    at: Workplace


def finetune_request(
    digest: str,
    config: FinetuningConfig,
    initial: InitialAutoencoder,
    data: DataConfig,
    latents: str,
    at: Workplace,
) -> FinetuneRequest:
    """Args: digest: of `finetune_payload`. latents: digest of the task that keeps the pixels; "": they are embedded."""
    return FinetuneRequest(
        digest=digest,
        config=as_plain(config),
        initial=as_plain(initial),
        data=as_plain(data),
        latents=latents,
        at=at,
    )
