"""The token of a Ray cluster, in the file where Ray looks for it, readable to its owner alone. It is never printed."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path

from orchestration.common.cleanup import always
from orchestration.common.errors import UserError
from orchestration.startup.home import place_of

TOKEN_VARIABLE = "RAY_AUTH_TOKEN"  # noqa: S105  a variable's name
PATH_VARIABLE = "RAY_AUTH_TOKEN_PATH"
MODE_VARIABLE = "RAY_AUTH_MODE"
LOOPBACK_VARIABLE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Variable that, at 0 and on any system, makes a Ray that starts listen on loopback alone: no machine can join it."""
_OWNER_ONLY = 0o600
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_NUM_BYTES = 32


def token_file(environment: Mapping[str, str]) -> Path:
    """Return the file from which Ray reads the token, if it is not in the environment itself.

    Raises: UserError if it would lie in a home that is not there.
    """
    return place_of(environment, PATH_VARIABLE, "~/.ray/auth_token")


def read_token(environment: Mapping[str, str]) -> str:
    """Return the token that Ray would send; "" if there is none."""
    given = environment.get(TOKEN_VARIABLE, "")
    if given:
        return given
    try:
        return token_file(environment).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError, UserError):
        return ""


def ensure_token(environment: Mapping[str, str]) -> None:
    """Make a token where there is none, and take from others the right to read one that is there.

    Raises: UserError if the file cannot be made, or stays readable to others.
    """
    if environment.get(TOKEN_VARIABLE):
        return
    path = token_file(environment)
    try:
        if not path.exists():
            write_token(path)
        keep_to_owner(path)
    except OSError as error:
        what = f"cannot keep a token there for its owner alone ({error.strerror}); give another place: {PATH_VARIABLE}"
        raise UserError.of(str(path), what) from None


def write_token(path: Path) -> None:
    """Write a fresh token. Of two processes that start at once one wins, whole, and both use its token.

    Raises: OSError.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, partial = tempfile.mkstemp(prefix=".token-", dir=path.parent)  # mkstemp: 0600 from the start
    with always(Path(partial).unlink):
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(secrets.token_hex(_NUM_BYTES))
        with contextlib.suppress(FileExistsError):
            os.link(partial, path)


def keep_to_owner(path: Path) -> None:
    """Set mode 0600, where Ray itself leaves 0644. Raises: OSError."""
    if stat.S_IMODE(path.stat().st_mode) & _OTHERS:
        path.chmod(_OWNER_ONLY)
