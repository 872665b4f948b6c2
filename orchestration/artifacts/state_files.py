"""State in the store, read in slices: each is verified by whoever reads it, and nothing else is fetched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from dfm_core.training.piece_index import DamagedStateError, index_from_plain, index_whole_tensors
from dfm_core.training.pieces import PieceState, read_local
from orchestration.storage.safe_names import safe_name
from orchestration.storage.store import DamagedArtifactError, Store


@contextmanager
def open_state(store: Store, directory: str) -> Iterator[tuple[PieceState, Mapping[str, Any]]]:
    """Give the state in an artifact, and what its manifest says about it, for a `with` block.

    Whole tensors under "kind/name", as release 0.1.0 wrote them, are fetched and verified at once.

    Raises: FileNotFoundError if it is not published; DamagedArtifactError, from the block too.
    """
    manifest = store.manifest(directory)
    if manifest is None:
        raise FileNotFoundError(f"no artifact at {store.uri(directory)}")
    about: Mapping[str, Any] = manifest["about"]

    def read(name: str, begin: int, end: int) -> bytearray:
        try:
            return store.read_range(f"{directory}/{safe_name(name)}", begin, end)
        except FileNotFoundError:
            raise DamagedStateError(f"{name} is missing") from None
        except ValueError as error:
            raise DamagedStateError(f"its manifest leads elsewhere ({error})") from None

    with ExitStack() as stack:
        try:
            if "pieces" in about:
                yield PieceState(index_from_plain(about["pieces"]), read), about
            else:
                files = stack.enter_context(store.fetched(directory))
                yield PieceState(index_whole_tensors(files), read_local(files[0].parent)), about
        except DamagedStateError as damage:
            raise DamagedArtifactError(f"{store.uri(directory)}: {damage}") from None
