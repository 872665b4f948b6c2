"""The place of the storage, and a check that it can be used, before anything is spent."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from orchestration.common.background import in_background
from orchestration.common.errors import Problem, UserError
from orchestration.common.redaction import credentials_in, reason_of
from orchestration.common.urls import with_lower_scheme
from orchestration.config.ray_job import JOB_VARIABLE
from orchestration.config.storage import PLANNING_SECONDS, StorageConfig
from orchestration.startup.home import expanded
from orchestration.storage.remote_files import NoBucketError
from orchestration.storage.retry import answer_within
from orchestration.storage.store import Store

_ASK_SECONDS = 12.0
"""Less than `PLANNING_SECONDS`, so that the reason of a server that refuses comes in time."""
ROOT_VARIABLE = "DFM_STORAGE_ROOT"
_AUTHORITIES = ("AWS_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_OF_ONE_PROCESS = ("memory",)
_UNFINISHED_URL = re.compile(r"[A-Za-z][\w+.-]*:(?!//|:)")
"""Begins `s3:/bucket`, `file:/data`, `C:\\runs`, `host:/export`: as paths they would be folders of odd names here."""


def check_usable(config: StorageConfig, *, writable: bool) -> None:
    """Ask for a file or, if the storage is to be written, write one, read it back and remove it.

    The user waits for the answer: it has `PLANNING_SECONDS` for all of it, also where a client's start or a mounted
    disk hangs.

    Raises: UserError if the storage cannot be used.
    """
    try:
        asked = in_background("storage-check", lambda: _ask(config.at_most(_ASK_SECONDS), writable=writable))
        is_sound = answer_within(asked, PLANNING_SECONDS)
    except UserError:
        raise
    except NoBucketError:
        bucket = "/".join(config.root.split("/")[:3])
        raise UserError.of("storage.root", f"there is no bucket {bucket}: make it, or correct its name") from None
    except Exception as error:  # noqa: BLE001  any storage library, any reason: all mean "cannot be used"
        what = "write to" if writable else "read"
        reason = "; ".join([reason_of(error, config.options), *_remedies(error), *absent_authorities(os.environ)])
        raise UserError.of("storage.root", f"cannot {what} {config.root} ({reason})") from None
    if not is_sound:
        raise UserError.of("storage.root", f"{config.root} does not give back what was written")


def refuse_closed_folders(store: Store, folders: Iterable[str]) -> None:
    """Check that this user may write to folders of a root, as far as they are there: a root that several share may have
    some that only their owner writes to, which would end a sweep in its middle.

    Raises: UserError naming them.
    """
    places = {folder: root / folder for root in store.local_directories() for folder in folders}
    needed = os.R_OK | os.W_OK | os.X_OK
    there = (folder for folder, place in places.items() if os.path.isdir(place))  # noqa: PTH112  False in a closed one
    closed = [folder for folder in there if not os.access(places[folder], needed)]
    if closed:
        remedy = f"have their owner open them (chmod -R g+rwX {store.root}), or give a root of your own"
        raise UserError.of("storage.root", f"{store.root}: you cannot write to its {', '.join(closed)}: {remedy}")


def unwritable(store: Store) -> Iterator[Problem]:
    """Yield why a local root cannot be written, for a plan that writes nothing itself."""
    for folder in store.local_directories():
        there = _nearest(folder)
        if not os.access(there, os.W_OK | os.X_OK):
            yield Problem("storage.root", f"{store.root}: you cannot write to {there}; give a folder of your own")


def _remedies(error: BaseException) -> Iterator[str]:
    """Yield what to do about an error of botocore, which is known by its name: to import it takes long."""
    if type(error).__name__ == "NoCredentialsError":
        yield "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write a profile to ~/.aws"


def _nearest(folder: Path) -> Path:
    """Return a place, or else the nearest of its parents that is there."""
    return next(place for place in (folder, *folder.parents) if os.path.lexists(place))


def absent_authorities(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield each variable that names certificates which are not there: clients over https then say that some file is
    missing, and not which."""
    for name in _AUTHORITIES:
        if (value := environment.get(name)) and not Path(value).exists():
            yield f"{name}={value} is not there: correct it, or unset it"


def _ask(config: StorageConfig, *, writable: bool) -> bool:
    """Return whether a storage that is to be written gives back what was written."""
    store = Store(config.root, config.options, config.retry_policy)
    for folder in store.local_directories():
        there = _nearest(folder)
        if not there.is_dir():
            raise UserError.of("storage.root", f"{config.root}: {there} is a file; give a folder")
    if not writable:
        try:
            store.read(".read-check")  # S3 tells of a read, and of no search, whether the file or its bucket is missing
        except NoBucketError:
            raise
        except FileNotFoundError:
            pass
        return True
    place, content = f".write-check-{uuid.uuid4().hex}", b"dfm"
    store.write(place, content)
    read_back = store.read(place)
    store.remove(place)
    return read_back == content


def resolve_root(configured: str, default: str, environment: Mapping[str, str], working_directory: Path) -> str:
    """Return the absolute storage root: the environment's, unless empty, if the config has the default one, else the
    config's.

    Inside a Ray job the working directory is a copy that is thrown away, so a relative root is refused there.

    Raises: UserError for a relative root inside a Ray job, for one that holds credentials, for one in a home that is
        not there, and for what is most likely a slip of the pen.
    """
    from_environment = environment.get(ROOT_VARIABLE, "") if configured == default else ""
    root = from_environment or configured
    if problem := _slip_of_the_pen(root):
        raise UserError.of(ROOT_VARIABLE if from_environment else "storage.root", f"{root!r} {problem}")
    if credentials := credentials_in(root):
        raise UserError.of(
            "storage.root",
            f"holds {credentials}, which would be published with the plan; give it where the storage's client looks, "
            "e.g. AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        )
    if "::" in root:
        raise UserError.of(
            "storage.root", f"{root!r} holds '::', by which fsspec chains file systems; give a directory or URL without"
        )
    protocol, separator, rest = root.partition("://")
    is_bare_slash = Path(root).is_absolute() and not Path(root).name  # sweeps' folders would lie among the system's
    if is_bare_slash or (separator and not (protocol and rest.strip("/"))):
        raise UserError.of(
            "storage.root", f"{root!r} names no place; give a directory or a URL such as s3://bucket/dfm"
        )
    if protocol.lower() in _OF_ONE_PROCESS and separator:
        raise UserError.of(
            "storage.root", f"{root!r} is the memory of one process: workers would not find what the driver writes"
        )
    if separator:
        return with_lower_scheme(root).rstrip("/")
    root = str(expanded(root, "storage.root"))
    if Path(root).is_absolute():
        return root
    if JOB_VARIABLE in environment:
        raise UserError.of(
            "storage.root",
            f"{root!r} is relative, but inside a Ray job the working directory is thrown away; give an absolute "
            f"directory or a URL (storage.root=s3://bucket/prefix), or start the cluster with {ROOT_VARIABLE} set",
        )
    return str((working_directory / root).resolve())


def _slip_of_the_pen(root: str) -> str:
    """Return why a root is hardly what was meant, to follow it; "" if it may be. Results would lie somewhere in the
    working directory, and be missed later."""
    if root != root.strip():
        return "begins or ends with a space or line break: give it without"
    if root[:1] in ("'", '"'):
        return "begins with a quote, as env files leave it: give it without"
    if _UNFINISHED_URL.match(root):
        return f"is no URL: those have '://', as s3://bucket/dfm; a folder of this name is {'./' + root!r}"
    return ""
