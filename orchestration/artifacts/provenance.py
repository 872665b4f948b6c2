"""The provenance of a number: source tree, commit, uncommitted changes, packages, hardware."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import logging
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from dfm_core.data.files.left_behind import left_behind
from orchestration.common.project import ROOT
from orchestration.common.redaction import one_line, without_secrets
from orchestration.parsing.documents import DamagedDocumentError, parse_document
from orchestration.storage.layout import source_record
from orchestration.storage.store import Store

_SOURCES = ("dfm_core", "orchestration", "analysis", "pyproject.toml")
"""The code; a sweep is none: its plan holds all of it."""
_SUFFIXES = (".py", ".yaml", ".toml", ".j2")
_PACKAGES = ("torch", "numpy", "scipy", "ray", "deepspeed", "optuna", "mlflow", "omegaconf", "fsspec", "s3fs", "pandas")
_MAX_DIFF_CHARACTERS = 2_000_000
_GIT_SECONDS = 30
_MOST_NEW_FILES = 200
_OTHER_REPOSITORY = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_COMMON_DIR",
    "GIT_OBJECT_DIRECTORY",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
    "GIT_SHALLOW_FILE",
)
"""Variables that make git answer for another repository, or a part of one."""
_DIFF = (
    "diff",
    "--no-ext-diff",
    "--no-textconv",
    "--no-color",
    "--src-prefix=a/",
    "--dst-prefix=b/",
    f"-O{os.devnull}",
)
"""A patch that `git apply` takes, whatever its user's configuration makes of diffs for people."""
_NO_COMMIT = "unknown: no git here"
_LOG = logging.getLogger(__name__)


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
        files.extend([place] if place.is_file() else (p for p in place.rglob("*") if _is_source(p, root)))
    return sorted(files)


def _is_source(path: Path, root: Path) -> bool:
    """Return whether a file is code, and none of an editor's: Emacs locks what it edits by a link that leads nowhere,
    Jupyter copies what it opens."""
    return path.suffix in _SUFFIXES and not left_behind(path.relative_to(root).as_posix()) and path.is_file()


def _git(root: Path, *arguments: str, differs: int = 0) -> str:
    """Return the output of git on this checkout, whatever repository a hook or a shell names in the environment. What
    runs this code trusts it, whoever owns the checkout; no program of its is run.

    Args: differs: exit code besides 0 that is no failure.
    Raises: OSError with git's own reason.
    """
    trust = ["-c", f"safe.directory={root}", "-c", "core.fsmonitor=false"]
    try:
        completed = subprocess.run(
            ["git", *trust, "-C", str(root), *arguments],
            env={name: value for name, value in os.environ.items() if name not in _OTHER_REPOSITORY},
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_GIT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise OSError(f"git did not answer within {_GIT_SECONDS} s") from None
    if completed.returncode not in (0, differs):
        raise OSError(completed.stderr.strip() or f"git ended with code {completed.returncode}")
    return completed.stdout


def _uncommitted(root: Path) -> str:
    """Return how the code differs from its commit, files that git does not track yet included."""
    new = _git(root, "ls-files", "--others", "--exclude-standard", "-z", "--", *_SOURCES).split("\0")
    new = [name for name in new if _is_source(root / name, root)][:_MOST_NEW_FILES]
    return _git(root, *_DIFF, "HEAD", "--", *_SOURCES) + "".join(
        _git(root, *_DIFF, "--no-index", "--", os.devnull, name, differs=1) for name in new
    )


def record_source(store: Store, root: Path = ROOT) -> dict[str, Any]:
    """Return the source's identity; the answer of git is recorded in the store under the source's digest.

    A Ray job runs in a copy without .git. Submitting from a checkout that recorded itself before (as `make demo`,
    `--dry-run` and every direct run do) lets the job find commit and diff by the digest of the files it runs.
    """
    digest = source_digest(root)
    try:
        if not (root / ".git").exists():
            return _recorded(store, digest)
        commit, diff = _git(root, "rev-parse", "HEAD").strip(), _uncommitted(root)
    except OSError as error:
        _LOG.warning("the commit of %s is not recorded: %s", root, one_line(str(error)))
        return _recorded(store, digest)
    diff = without_secrets(diff, store.options)[:_MAX_DIFF_CHARACTERS]
    record = {"source_digest": digest, "git_commit": commit, "uncommitted_diff": diff}
    store.write(source_record(digest), json.dumps(record, indent=1).encode())
    return record


def _recorded(store: Store, digest: str) -> dict[str, Any]:
    """Return what a checkout of the same code has recorded of itself."""
    if store.exists(source_record(digest)):
        with contextlib.suppress(DamagedDocumentError):
            return parse_document(store.read_document(source_record(digest)))
    return {"source_digest": digest, "git_commit": _NO_COMMIT, "uncommitted_diff": ""}


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
        **_accelerator(),
    }


def _accelerator() -> dict[str, Any]:
    """Return this process's GPU, its driver and libraries; nothing without one, or where torch is not loaded."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return {}
    driver = Path("/proc/driver/nvidia/version")
    version = re.search(r"\d+\.\d+(\.\d+)?", driver.read_text(encoding="utf-8")) if driver.is_file() else None
    return {
        "gpu": torch.cuda.get_device_name(),
        "gpu_driver": version[0] if version else "unknown",
        "cuda": torch.version.cuda,
        "nccl": ".".join(map(str, torch.cuda.nccl.version())),
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
