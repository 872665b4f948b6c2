"""A library that lets a build of torch for CPUs know CUDA devices, built and loaded before torch is imported."""

from __future__ import annotations

import ctypes
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

_SOURCE = Path(__file__).with_name("fake_cuda.cpp")
_loaded: list[ctypes.CDLL] = []


def load(folder: Path) -> None:
    """Build the library, unless the folder has it, and load it; without a compiler, or after torch, do nothing.

    torch asks for its hooks once, while it is imported, and autograd for its devices at the first backward pass.
    """
    compiler, torch = shutil.which("g++"), find_spec("torch")
    if "torch" in sys.modules or compiler is None or torch is None or torch.origin is None:
        return
    root = Path(torch.origin).parent
    if (root / "lib" / "libtorch_cuda.so").exists():
        return  # it has hooks of its own
    name = hashlib.sha256(_SOURCE.read_bytes() + version("torch").encode()).hexdigest()[:16]
    library = folder / f"fake_cuda_{name}.so"
    if not library.exists():
        folder.mkdir(parents=True, exist_ok=True)
        made = library.with_suffix(".new")
        places = [f"-I{root / 'include'}", f"-L{root / 'lib'}", f"-Wl,-rpath,{root / 'lib'}", "-ltorch_cpu", "-lc10"]
        subprocess.run([compiler, "-std=c++20", "-shared", "-fPIC", str(_SOURCE), "-o", str(made), *places], check=True)
        made.rename(library)
    _loaded.append(ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL))


def is_loaded() -> bool:
    return bool(_loaded)


@contextmanager
def present() -> Iterator[None]:
    """Let torch see a CUDA device in the block."""
    for library in _loaded:
        library.fake_cuda_present(True)
    try:
        yield
    finally:
        for library in _loaded:
            library.fake_cuda_present(False)
