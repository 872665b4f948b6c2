"""The place of the storage, and a check that it can be used, before anything is spent."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import Path

from orchestration.common.errors import UserError
from orchestration.common.redaction import credentials_in, reason_of
from orchestration.config.ray_job import JOB_VARIABLE
from orchestration.config.storage import StorageConfig
from orchestration.storage.store import Store

_WAIT_SECONDS = 15.0
ROOT_VARIABLE = "DFM_STORAGE_ROOT"


def check_usable(config: StorageConfig, *, writable: bool) -> None:
    """Ask for a file or, if the storage is to be written, write one, read it back and remove it.

    The user waits for the answer, so an unreachable storage is reported sooner here than in the middle of a sweep.

    Raises: UserError if the storage cannot be used.
    """
    place, content = f".write-check-{uuid.uuid4().hex}", b"dfm"
    try:
        store = Store(config.root, config.options, config.retry_policy.at_most(_WAIT_SECONDS))
        if not writable:
            store.exists(place)
            return
        store.write(place, content)
        read_back = store.read(place)
        store.remove(place)
    except Exception as error:  # noqa: BLE001  any storage library, any reason: all mean "cannot be used"
        what = "write to" if writable else "read"
        reason = reason_of(error, config.options)
        raise UserError.of("storage.root", f"cannot {what} {config.root} ({reason})") from None
    if read_back != content:
        raise UserError.of("storage.root", f"{config.root} does not give back what was written")


def resolve_root(configured: str, default: str, environment: Mapping[str, str], working_directory: Path) -> str:
    """Return the absolute storage root: the environment's if the config has the default one, else the config's.

    Inside a Ray job the working directory is a copy that is thrown away, so a relative root is refused there.

    Raises: UserError for a relative root inside a Ray job, and for one that holds credentials.
    """
    root = environment.get(ROOT_VARIABLE, configured) if configured == default else configured
    if credentials := credentials_in(root):
        raise UserError.of(
            "storage.root",
            f"holds {credentials}, which would be published with the plan; give it where the storage's client looks, "
            "e.g. AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        )
    protocol, separator, rest = root.partition("://")
    if separator and not (protocol and rest.strip("/")):
        raise UserError.of(
            "storage.root", f"{root!r} names no place; give a directory or a URL such as s3://bucket/dfm"
        )
    if separator:
        return root.rstrip("/")
    root = str(Path(root).expanduser())
    if Path(root).is_absolute():
        return root
    if JOB_VARIABLE in environment:
        raise UserError.of(
            "storage.root",
            f"{root!r} is relative, but inside a Ray job the working directory is thrown away; give an absolute "
            f"directory or a URL (storage.root=s3://bucket/prefix), or start the cluster with {ROOT_VARIABLE} set",
        )
    return str((working_directory / root).resolve())
