"""A backbone's files at a path or URL, read slice by slice."""

from __future__ import annotations

from dfm_core.catalog.flux import FluxArchitecture
from dfm_core.config.model import BackboneDescription
from dfm_core.models.flux.pretrained_files import PretrainedFiles
from orchestration.config.storage import StorageConfig
from orchestration.data.user_files import open_place


def open_backbone(place: str, storage: StorageConfig) -> PretrainedFiles:
    """Return the files of a backbone. Raises: FileNotFoundError, ValueError naming what is wrong; errors of `Store`.

    Args: storage: the sweep's; a place of its protocol is read with its options.
    """
    store = open_place(place, storage)

    def read(name: str, begin: int, end: int) -> bytearray:
        try:
            return store.read_range(name, begin, end)
        except FileNotFoundError:
            raise FileNotFoundError(f"{store.uri(name)}: is not there") from None

    return PretrainedFiles(read)


def describe_backbone(kind: str, files: PretrainedFiles) -> BackboneDescription:
    """Return identity and architecture. Raises: ValueError naming what its settings or tensors lack."""
    architecture = FluxArchitecture.from_settings(files.settings)
    problems = [message for _, message in architecture.problems()]
    if not problems:
        problems = list(files.problems(architecture.shapes()))
    if problems:
        raise ValueError(f"its files are not those of a {kind}: {'; '.join(problems)}")
    return BackboneDescription(f"{kind}:{files.fingerprint()}", architecture)
