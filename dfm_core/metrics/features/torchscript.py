"""Networks that are TorchScript files.

A TorchScript file is a program: loading it runs no Python, but calling it runs the operations that it holds. So only a
file whose sha256 the user gave is ever opened, and the bytes that were checked are the bytes that are loaded.
"""

from __future__ import annotations

import io
from typing import Any

import torch
from torch import Tensor

from dfm_core.catalog.weight_files import GivenFile, NeededFile


def load_torchscript(given: GivenFile, needed: NeededFile) -> torch.jit.ScriptModule:
    """Return the module, on the CPU, for inference.

    Raises: FileNotFoundError or ValueError if the file is missing, its checksum another, or it is no TorchScript file;
    a pickle is refused and not executed.
    """
    content = given.read(needed)
    try:
        module: torch.jit.ScriptModule = torch.jit.load(io.BytesIO(content), "cpu")  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ValueError(
            f"{needed.role}: {given.path} has the sha256 given, but is no TorchScript file ({reason}); "
            f"needed is {needed.file_name} from {needed.source}"
        ) from error
    return module.eval()


@torch.no_grad()
def call_torchscript(module: torch.jit.ScriptModule, pixels: Tensor, options: dict[str, bool]) -> Tensor:
    """The module's output. Without TorchScript's profiling: it would compile other, fused code after some calls."""
    with torch.jit.optimized_execution(False):  # type: ignore[attr-defined]
        output: Any = module(pixels, **options)
    assert isinstance(output, Tensor), f"a feature network returns a tensor, got {type(output)}"
    return output
