"""What the workers of a fine-tuning are told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from dfm_core.autoencoders.finetuning_config import FinetuningConfig
from dfm_core.config import DataConfig, as_plain
from orchestration.finetune_payload import InitialAutoencoder
from orchestration.patience import Patience
from orchestration.runtime import WorkersConfig
from orchestration.storage import Store


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
    workers: dict[str, Any]
    store_root: str
    store_options: dict[str, str] = field(repr=False)
    patience: Patience
    board: str


def finetune_request(
    digest: str,
    config: FinetuningConfig,
    initial: InitialAutoencoder,
    data: DataConfig,
    latents: str,
    *,
    store: Store,
    workers: WorkersConfig,
    board: str,
) -> FinetuneRequest:
    """Args: digest: of `finetune_payload`. latents: digest of the task that keeps the pixels; "": they are embedded."""
    return FinetuneRequest(
        digest=digest,
        config=as_plain(config),
        initial=as_plain(initial),
        data=as_plain(data),
        latents=latents,
        workers=as_plain(workers),
        store_root=store.root,
        store_options=store.options,
        patience=store.patience,
        board=board,
    )
