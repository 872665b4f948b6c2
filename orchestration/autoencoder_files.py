"""An autoencoder's files in a folder of this machine, wherever the user keeps them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dfm_core.autoencoders.identity import CONFIG, WEIGHTS
from orchestration.storage import Store


@contextmanager
def autoencoder_folder(store: Store) -> Iterator[Path]:
    """The folder that `load_autoencoder` reads: the root of the store itself, or a copy for the length of the block.

    Raises: FileNotFoundError naming a file that is not there; what `Store` does.
    """
    with tempfile.TemporaryDirectory(prefix="dfm-autoencoder-") as scratch:
        for name in (CONFIG, WEIGHTS):
            if not store.exists(name):
                raise FileNotFoundError(f"{store.uri(name)}: is not there; needed are {CONFIG} and {WEIGHTS}")
        paths = [store.fetch(name, Path(scratch), store.num_bytes(name)) for name in (CONFIG, WEIGHTS)]
        yield paths[0].parent
