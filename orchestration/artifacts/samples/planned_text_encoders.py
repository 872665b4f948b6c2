"""Text encoders that a sweep names, loaded where captions are encoded."""

from __future__ import annotations

import torch

from dfm_core.models.flux.text_encoders import TextEncoders, load_text_encoders
from orchestration.config.datasets import TextEncodersConfig
from orchestration.config.storage import StorageConfig
from orchestration.data.describe_text_encoders import describe_text_encoders, encoder_folder
from orchestration.data.user_files import open_place

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def load_planned_encoders(
    name: str,
    config: TextEncodersConfig,
    storage: StorageConfig,
    identity: str,
    length: int,
    device: torch.device,
) -> TextEncoders:
    """Load text encoders, frozen.

    Args: name: under `text_encoders:`. storage: the sweep's, with whose options files are read. identity: with which
        they were planned. length: tokens of T5 that are kept.
    Raises: ValueError if their files are not what they should be, or have changed; errors of the storage.
    """
    if describe_text_encoders(name, config, storage, {}).identity != identity:
        raise ValueError(f"text_encoders.{name}: its files have changed since the sweep was planned")
    with encoder_folder(open_place(config.files, storage), weights=True) as folder:
        return load_text_encoders(folder, length, device, _DTYPES[config.precision])
