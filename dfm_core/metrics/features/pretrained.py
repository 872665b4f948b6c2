"""Weights into a transformers model, offline, and every tensor accounted for."""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

_UNREADABLE = (RuntimeError, ValueError, KeyError, EOFError, pickle.UnpicklingError, safetensors.SafetensorError)
"""Errors that the two readers raise on a file of another format."""


def read_tensors(content: bytes, path: Path) -> dict[str, Tensor]:
    """Tensors of a .safetensors file, or of a torch file (.pth, .bin), which is read without executing any of it.

    Raises: ValueError if it is neither.
    """
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load(content)
        tensors = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ValueError(f"{path}: holds no tensors that can be read safely: {reason}") from error
    if not isinstance(tensors, Mapping) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise ValueError(f"{path}: is no mapping of names to tensors")
    return dict(tensors)


def build_pretrained(model_class: Any, config: Any, tensors: Mapping[str, Tensor], path: Path) -> Any:
    """Return a transformers model in float32 for inference, from tensors under their published names.

    No hub is asked: configuration and weights are given. transformers would draw a missing tensor at random and drop
    one too many with a warning; here both are errors.

    Raises: ValueError with the tensors that are missing, too many, or of another shape.
    """
    from transformers.utils import logging

    logging.disable_progress_bar()
    model, report = model_class.from_pretrained(
        None,
        config=config,
        state_dict=dict(tensors),
        dtype=torch.float32,
        local_files_only=True,
        ignore_mismatched_sizes=True,  # reported here, with the path
        output_loading_info=True,
    )
    problems = [
        f"{len(names)} {what}, such as {min(str(name) for name in names)}"
        for what, names in (
            ("tensors are missing", report["missing_keys"]),
            ("tensors are too many", report["unexpected_keys"]),
            ("tensors have another shape", report["mismatched_keys"]),
        )
        if names
    ]
    if problems:
        raise ValueError(f"{path}: is not this network: {'; '.join(problems)}")
    return model.eval().requires_grad_(False)
