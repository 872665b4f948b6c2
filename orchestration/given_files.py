"""Files that the user provides, by path or URL: found and checked at planning, kept in a cache where they are used.

A URL's file is fetched once for each machine, into `<cache>/<sha256>/<name>`, and appears there only after its checksum
was found right. Planning fetches nothing.
"""

from __future__ import annotations

import hashlib
import os
import re
import uuid
from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from dfm_core.metrics.features.cards import FEATURE_NETWORKS, FeatureNetworkName
from dfm_core.metrics.features.weights import GivenFile, NeededFile, file_sha256
from orchestration.problems import Problem, UserError
from orchestration.redaction import without_credentials
from orchestration.runtime import FileConfig, RuntimeConfig, StorageConfig
from orchestration.storage_root import JOB_VARIABLE
from orchestration.url_source import UrlSource
from orchestration.urls import is_url

CACHE_VARIABLE = "DFM_CACHE_DIR"
_CHUNK_BYTES = 8 * 2**20
_MAX_NAME = 128

Files = Mapping[str, Mapping[str, FileConfig]]
"""Feature network -> role -> file, as in `RuntimeConfig.networks`."""


def default_cache_directory() -> Path:
    """DFM_CACHE_DIR, else a folder in the user's cache."""
    if given := os.environ.get(CACHE_VARIABLE):
        return Path(given).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dfm"


@dataclass(frozen=True)
class FileCache:
    """A machine's copies of the files that URLs name. Each machine has its own: make it where it is used."""

    directory: Path = field(default_factory=default_cache_directory)
    storage: StorageConfig = field(default_factory=StorageConfig)
    """The sweep's, with its root resolved: URLs of its protocol are read with its options."""

    def local_path(self, file: FileConfig) -> Path:
        """A local path as it is; for a URL the cached file, fetched if need be.

        Raises: UserError if the source cannot be read, gives another content, or the cache cannot be written.
        """
        if not is_url(file.path):
            return Path(file.path)
        if not self._holds(file):
            self._fetch(file)
        return self._place(file)

    def problem(self, file: FileConfig, needed: NeededFile) -> str | None:
        """What stands in the way of using a file and what to do about it, or None. Fetches nothing."""
        if not is_url(file.path):
            try:
                return GivenFile(Path(file.path), file.sha256).verify(needed)
            except OSError as error:
                return f"{needed.role}: {file.path} cannot be read ({error.strerror})"
        if self._holds(file):
            return None
        try:
            with closing(self._source(file).chunks(num_bytes=1)) as chunks:
                if next(chunks, b""):
                    return None
            why = f"{without_credentials(file.path)}: is empty"
        except UserError as error:
            why = str(error)
        return (
            f"{needed.role}: {why}: get {needed.file_name} from {needed.source}, and put it where every worker can "
            "read it"
        )

    def _place(self, file: FileConfig) -> Path:
        """Where the cached file lies: no name, whatever the URL holds, leads out of the folder of its checksum."""
        assert re.fullmatch(r"[0-9a-fA-F]{64}", file.sha256), f"{file.sha256!r} was not validated"
        name = re.sub(r"[^A-Za-z0-9._-]", "_", urlsplit(file.path).path.rsplit("/", 1)[-1])[-_MAX_NAME:].lstrip(".")
        return self.directory / file.sha256.lower() / (name or "file")

    def _holds(self, file: FileConfig) -> bool:
        try:
            return file_sha256(self._place(file)) == file.sha256.lower()
        except OSError:
            return False

    def _source(self, file: FileConfig) -> UrlSource:
        return UrlSource(file.path, self.storage.options_for(file.path))

    def _fetch(self, file: FileConfig) -> None:
        """Into a partial file of its own, so that two fetches at once disturb nothing, then renamed."""
        partial = self.directory / f".{uuid.uuid4().hex}.partial"
        digest = hashlib.sha256()
        url, place = without_credentials(file.path), self._place(file)
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
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
            raise UserError.of(url, f"cannot be kept in {self.directory} ({error.strerror}); {hint}") from None
        finally:
            with suppress(OSError):
                partial.unlink(missing_ok=True)


def absolute_files(config: RuntimeConfig, environment: Mapping[str, str], directory: Path) -> RuntimeConfig:
    """The same config with absolute local paths; relative ones are taken from `directory`, `~` is the user's home.

    Inside a Ray job the working directory is a copy that is thrown away, so relative paths are refused there.

    Raises: UserError with every path that cannot be made absolute.
    """
    problems: list[Problem] = []

    def absolute_place(key: str, given: str) -> str:
        if is_url(given):
            return given
        try:
            path = Path(given).expanduser()
        except RuntimeError:
            problems.append(Problem(key, f"{given!r}: there is no such user; give an absolute path or a URL"))
            return given
        if not path.is_absolute() and JOB_VARIABLE in environment:
            why = "is relative, but inside a Ray job the working directory is thrown away; give an absolute path"
            problems.append(Problem(key, f"{given!r} {why} or a URL such as s3://bucket/weights.pt"))
        return str(directory / path)

    def absolute(key: str, file: FileConfig) -> FileConfig:
        return replace(file, path=absolute_place(key, file.path))

    def all_absolute(section: str, groups: Files) -> dict[str, dict[str, FileConfig]]:
        return {
            group: {name: absolute(f"{section}.{group}.{name}.path", file) for name, file in files.items()}
            for group, files in groups.items()
        }

    networks, references = all_absolute("networks", config.networks), all_absolute("references", config.references)
    datasets = {
        name: replace(
            own,
            files=absolute_place(f"datasets.{name}.files", own.files),
            reference=None if own.reference is None else absolute_place(f"datasets.{name}.reference", own.reference),
        )
        for name, own in config.datasets.items()
    }
    autoencoders = {
        name: own if own.files is None else replace(own, files=absolute_place(f"autoencoders.{name}.files", own.files))
        for name, own in config.autoencoders.items()
    }
    if problems:
        raise UserError(problems)
    return replace(config, networks=networks, references=references, datasets=datasets, autoencoders=autoencoders)


def file_problems(networks: Files, names: Iterable[FeatureNetworkName], cache: FileCache) -> list[str]:
    """Everything that stands in the way of loading feature networks, each with what to do about it. Fetches nothing."""
    problems = []
    for name in names:
        card, files = FEATURE_NETWORKS[name], networks.get(name, {})
        not_given = tuple(needed for needed in card.files if needed.role not in files)
        problems += replace(card, files=not_given).problems({})
        for needed in card.files:
            if needed.role in files and (problem := cache.problem(files[needed.role], needed)):
                problems.append(f"{card.name} ({card.title}): {problem}")
    return problems


def given_files(networks: Files, name: FeatureNetworkName, cache: FileCache) -> dict[str, GivenFile]:
    """The files of a network for `load_feature_network`, local; fetched where a URL names them.

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
