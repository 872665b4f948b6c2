"""Files that the user provides by path or URL: checked at planning, cached on the machines that use them.

A URL's file is fetched once for each machine, into `<cache>/<sha256>/<name>`, and appears there only once its checksum
is verified. Planning fetches nothing.
"""

from __future__ import annotations

import hashlib
import os
import re
import uuid
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from dfm_core.catalog.feature_networks import FeatureNetworkName
from dfm_core.catalog.weight_files import GivenFile, NeededFile, file_sha256
from orchestration.common.errors import Problem, UserError
from orchestration.common.redaction import without_credentials
from orchestration.common.urls import is_url
from orchestration.config.files import FileConfig, FileTable
from orchestration.config.storage import PLANNING_SECONDS, StorageConfig
from orchestration.startup.home import place_of
from orchestration.storage.url_reader import UrlReader

CACHE_VARIABLE = "DFM_CACHE_DIR"
_CHUNK_BYTES = 8 * 2**20
_MAX_NAME = 128


def default_cache_directory() -> Path:
    """Return DFM_CACHE_DIR, else a folder in the user's cache. Raises: UserError if there is no such home."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return place_of(os.environ, CACHE_VARIABLE, f"{base}/dfm").absolute()


@dataclass(frozen=True)
class FileCache:
    """A machine's copies of the files that URLs name. Each machine has its own: make it where it is used."""

    given: Path | None = None
    """Another place than the default one, which is looked for where it is needed."""
    storage: StorageConfig = field(default_factory=StorageConfig)
    """The sweep's, with its root resolved: URLs of its protocol are read with its options."""

    @property
    def directory(self) -> Path:
        """Place of all files. Raises: UserError if there is none."""
        return self.given or default_cache_directory()

    def local_path(self, file: FileConfig) -> Path:
        """Return a local path as it is; for a URL the cached file, fetched if need be.

        Raises: UserError if the source cannot be read, gives another content, or the cache cannot be written.
        """
        if not is_url(file.path):
            return Path(file.path)
        if not self._holds(file):
            self._fetch(file)
        return self._place(file)

    def problem(self, file: FileConfig, needed: NeededFile) -> str | None:
        """Return the reason why a file cannot be used and the remedy, or None. Fetches nothing.

        Raises: NoAnswerError if its server is silent for `PLANNING_SECONDS`.
        """
        if not is_url(file.path):
            try:
                return GivenFile(Path(file.path), file.sha256).verify(needed)
            except OSError as error:
                return f"{needed.role}: {file.path} cannot be read ({error.strerror})"
        if self._holds(file):
            return None
        try:
            if self._source(file).has_content(PLANNING_SECONDS):
                return None
            why = f"{without_credentials(file.path)}: is empty"
        except UserError as error:
            why = str(error)
        return (
            f"{needed.role}: {why}: get {needed.file_name} from {needed.source}, and put it where every worker can "
            "read it"
        )

    def _place(self, file: FileConfig) -> Path:
        """Return the path of the cached file; no URL leads out of the folder of its checksum."""
        assert re.fullmatch(r"[0-9a-fA-F]{64}", file.sha256), f"{file.sha256!r} was not validated"
        name = re.sub(r"[^A-Za-z0-9._-]", "_", urlsplit(file.path).path.rsplit("/", 1)[-1])[-_MAX_NAME:].lstrip(".")
        return self.directory / file.sha256.lower() / (name or "file")

    def _holds(self, file: FileConfig) -> bool:
        try:
            return file_sha256(self._place(file)) == file.sha256.lower()
        except (OSError, UserError):  # planning needs no cache
            return False

    def _source(self, file: FileConfig) -> UrlReader:
        return UrlReader(file.path, self.storage.options_for(file.path))

    def _fetch(self, file: FileConfig) -> None:
        """Fetch into a partial file of its own, so that two fetches at once disturb nothing, then rename it."""
        directory = self.directory
        partial = directory / f".{uuid.uuid4().hex}.partial"
        digest = hashlib.sha256()
        url, place = without_credentials(file.path), self._place(file)
        try:
            directory.mkdir(parents=True, exist_ok=True)
            with partial.open("xb") as target, closing(self._source(file).chunks(_CHUNK_BYTES)) as chunks:
                for chunk in chunks:
                    digest.update(chunk)
                    target.write(chunk)
                target.flush()
                os.fsync(target.fileno())
            if digest.hexdigest() != file.sha256.lower():
                message = f"is incomplete or another file: expected sha256 {file.sha256.lower()}, found "
                raise UserError.of(url, f"{message}{digest.hexdigest()}; nothing of it was kept")
            place.parent.mkdir(exist_ok=True)
            partial.replace(place)
        except OSError as error:
            hint = f"make room there, or name another folder in {CACHE_VARIABLE}"
            raise UserError.of(url, f"cannot be kept in {directory} ({error.strerror}); {hint}") from None
        finally:
            with suppress(OSError):
                partial.unlink(missing_ok=True)


def given_files(networks: FileTable, name: FeatureNetworkName, cache: FileCache) -> dict[str, GivenFile]:
    """Return the files of a network for `load_feature_network`, local; fetched if a URL names them.

    Raises: UserError with every file that cannot be had.
    """
    given, problems = {}, []
    for role, file in networks.get(name, {}).items():
        try:
            given[role] = GivenFile(cache.local_path(file), file.sha256)
        except UserError as error:
            problems += [Problem(f"networks.{name}.{role}", str(problem)) for problem in error.problems]
    if problems:
        raise UserError(problems)
    return given
