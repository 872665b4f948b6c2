"""Places of a round: a folder, or a bucket of a real S3 server, with MLflow in a file or behind a server."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from s3fs import S3FileSystem

from tests.support import s3
from tests.support.mlflow_server import mlflow_server

PLACES = ("folder", "folder, MLflow server", "S3 (moto), MLflow server", "S3 (rclone)")
_MADE_ONCE = ("reference", "probe", "floor")
_DROPPED_OF_OLD = 0.7
"""Share of an old root's results that are gone."""


@dataclass(frozen=True)
class Place:
    """A root and its MLflow."""

    name: str
    storage: str
    """storage.root of its sweeps."""
    tracking: str
    environment: Mapping[str, str] = field(default_factory=dict)
    bucket: S3FileSystem | None = None
    studies: str = ""
    """Database of searches; "": in the root, which a bucket cannot hold."""

    @property
    def overrides(self) -> tuple[str, ...]:
        studies = (f"search_storage={self.studies}",) if self.studies else ()
        return (f"tracking.uri={self.tracking}", *studies)

    def made(self) -> tuple[int, int]:
        """Return sums that grow with every checkpoint and record."""
        checkpoints = self._find("checkpoints/*/step-*/manifest.json")
        return sum(int(path.split("/")[-2][5:]) for path in checkpoints), len(self._find("results/*/result.json"))

    def _find(self, pattern: str) -> list[str]:
        if self.bucket is None:
            return [str(path) for path in Path(self.storage).glob(pattern)]
        return [str(path) for path in self.bucket.glob(f"{self.storage.removeprefix('s3://')}/{pattern}")]

    def copied_to(self, folder: Path) -> Path:
        """Return a folder with what is stored there."""
        if self.bucket is None:
            return Path(self.storage)
        self.bucket.get(f"{self.storage.removeprefix('s3://')}/", f"{folder}/", recursive=True)
        return folder


@contextmanager
def open_place(name: str, folder: Path, undisturbed: Path, draw: random.Random, *, is_new: bool) -> Iterator[Place]:
    """Make a root. Args: folder: for all that it needs. is_new: else an old one, of which some results are gone."""
    root = folder / "root"
    (fill_new if is_new else _fill_old)(root, undisturbed, draw)
    with ExitStack() as stack:
        tracking = f"sqlite:///{root}/mlflow.db"
        if "server" in name:
            (folder / "tracked").mkdir()
            database = f"sqlite:///{folder}/tracked/mlflow.db"
            tracking = stack.enter_context(mlflow_server(database, folder, folder / "tracked" / "artifacts"))
        if "S3" not in name:
            yield Place(name, str(root), tracking)
            return
        for database in ("mlflow.db", "search.db"):
            if (root / database).exists():
                (root / database).rename(folder / database)
        if "server" not in name:
            tracking = f"sqlite:///{folder}/mlflow.db"
        server = s3.moto_server() if "moto" in name else s3.rclone_server(_made(folder / "objects"))
        endpoint = stack.enter_context(server)
        bucket = f"{s3.make_bucket(endpoint)}/dfm"
        client = S3FileSystem(
            key=s3.KEY, secret=s3.SECRET, endpoint_url=endpoint, use_listings_cache=False, skip_instance_cache=True
        )
        client.put(f"{root}/", f"{bucket}/", recursive=True)
        yield Place(name, f"s3://{bucket}", tracking, s3.variables(endpoint), client, f"sqlite:///{folder}/search.db")


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _record(path: Path) -> Mapping[str, Any]:
    record: Mapping[str, Any] = json.loads(path.read_text())
    return record


def fill_new(root: Path, undisturbed: Path, draw: random.Random, share: float = 0.95) -> None:
    """Copy a share of what real images score, which takes longest; no database and no plan."""
    root.mkdir(parents=True)
    (root / "README").write_text("a root that is there already\n")
    for path in sorted(undisturbed.glob("results/*/result.json")):
        if _record(path)["kind"] in _MADE_ONCE and draw.random() < share:
            shutil.copytree(path.parent, root / "results" / path.parent.name)


def _fill_old(root: Path, undisturbed: Path, draw: random.Random) -> None:
    """Copy all, and remove some results, half of them with their checkpoints."""
    shutil.copytree(undisturbed, root, ignore=shutil.ignore_patterns("reports"))
    for path in sorted(root.glob("results/*/result.json")):
        record = _record(path)
        if record["kind"] in _MADE_ONCE or draw.random() > _DROPPED_OF_OLD:
            continue
        path.unlink()
        if draw.random() < 0.5:
            shutil.rmtree(root / "checkpoints" / record["digest"], ignore_errors=True)
