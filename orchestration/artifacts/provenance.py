"""The provenance of a number: source tree, commit, uncommitted changes, packages, hardware."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from orchestration.common.documents import DamagedDocumentError, parse_document
from orchestration.common.project import ROOT
from orchestration.common.redaction import without_secrets
from orchestration.storage.layout import source_record
from orchestration.storage.store import Store

_SOURCES = ("dfm_core", "orchestration", "analysis", "sweeps", "pyproject.toml")
_SUFFIXES = (".py", ".yaml", ".toml", ".j2")
_PACKAGES = ("torch", "numpy", "scipy", "ray", "deepspeed", "optuna", "mlflow", "omegaconf", "fsspec", "s3fs", "pandas")
_MAX_DIFF_CHARACTERS = 2_000_000
_GIT_SECONDS = 30


def source_digest(root: Path = ROOT) -> str:
    """Return the sha256 over the names and contents of the project's source files."""
    digest = hashlib.sha256()
    for path in _source_files(root):
        digest.update(f"{path.relative_to(root).as_posix()}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _source_files(root: Path) -> list[Path]:
    files: list[Path] = []
    for name in _SOURCES:
        place = root / name
        files.extend([place] if place.is_file() else (p for p in place.rglob("*") if p.suffix in _SUFFIXES))
    return sorted(files)


def _git(root: Path, *arguments: str) -> str | None:
    """Return the output of git, or None without a repository or git."""
    try:
        completed = subprocess.run(
            ["git", "-C", str(root), *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_GIT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return completed.stdout if completed.returncode == 0 else None


def record_source(store: Store, root: Path = ROOT) -> dict[str, Any]:
    """Return the source's identity; the answer of git is recorded in the store under the source's digest.

    A Ray job runs in a copy without .git. Submitting from a checkout that recorded itself before (as `make demo` and
    every direct run do) lets the job find commit and diff by the digest of the files it runs.
    """
    digest = source_digest(root)
    commit = _git(root, "rev-parse", "HEAD") if (root / ".git").exists() else None
    if commit is None:
        if store.exists(source_record(digest)):
            with contextlib.suppress(DamagedDocumentError):
                return parse_document(store.read_document(source_record(digest)))
        return {"source_digest": digest, "git_commit": "unknown: no git here", "uncommitted_diff": ""}
    diff = without_secrets(_git(root, "diff", "HEAD") or "", store.options)
    record = {
        "source_digest": digest,
        "git_commit": commit.strip(),
        "uncommitted_diff": diff[:_MAX_DIFF_CHARACTERS],
    }
    store.write(source_record(digest), json.dumps(record, indent=1).encode())
    return record


def environment() -> dict[str, Any]:
    """Return packages and hardware of this host."""
    packages = {}
    for name in _PACKAGES:
        try:
            packages[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            packages[name] = "not installed"
    return {
        "packages": packages,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "num_cpus": os.cpu_count(),
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
