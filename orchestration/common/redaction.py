"""Text without secrets, for messages, records and all that a process prints, tracebacks included."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO
from urllib.parse import parse_qsl, quote, urlsplit

from analysis.contract.output import make_output_unfailing
from orchestration.common.errors import cause_of

_SHOWN_OPTIONS = ("endpoint_url", "region_name")
_SECRET_NAMES = re.compile(r"(?i)(?:^|_)(?:secret|password|passwd|passphrase|token|credentials?|api_?key|access_key)$")
_SECRET_ENDING = re.compile(r"(?i)(?:password|secret|_key)$")
_SHORTEST_SECRET = 4  # characters; a shorter one would blank half of every message
_SHORTEST_GUESSED = 8  # characters of a value that is secret by its variable's name alone: X_KEY=true is none
_MAX_REASON = 300
_BLANK = "***"


def secrets_of(environment: Mapping[str, str]) -> list[str]:
    """Return the values of variables that are secrets by name, such as AWS_SECRET_ACCESS_KEY, PGPASSWORD, HF_TOKEN."""
    return [
        value
        for name, value in environment.items()
        if (_SECRET_NAMES.search(name) or _SECRET_ENDING.search(name)) and len(value) >= _SHORTEST_GUESSED
    ]


def blanked(text: str, secrets: Iterable[str]) -> str:
    """Return the text without these secrets, as they are and as a URL has them."""
    for secret in sorted(secrets, key=len, reverse=True):
        for form in (secret, quote(secret, safe="")):
            text = text.replace(form, _BLANK)
    return text


def without_secrets(text: str, options: Mapping[str, str] | None = None) -> str:
    """Return the text without the secrets of the environment and of a file system's options.

    Args: options: their values are secrets, but for endpoint and region.
    """
    given = [value for name, value in (options or {}).items() if name not in _SHOWN_OPTIONS]
    return blanked(text, [*secrets_of(os.environ), *(value for value in given if len(value) >= _SHORTEST_SECRET)])


def without_credentials(text: str) -> str:
    """Return the text with its URLs stripped of user, password and query, which may hold a signature."""
    text = re.sub(r"://[^/\s'\"]*@", "://***@", text)
    return re.sub(r"(://[^?\s'\"]*)\?[^\s'\"]+", r"\1?***", text)


def shown(text: str, options: Mapping[str, str] | None = None) -> str:
    """Return a message that can be printed and stored: `without_secrets` and `without_credentials`."""
    return without_credentials(without_secrets(text, options))


def reason_of(error: BaseException, options: Mapping[str, str] | None = None) -> str:
    """Return an error as one line that can be shown. Args: options: see `shown`.

    What it was raised from comes first, since a library's own words may mislead, unless they say it as well.
    """
    first, last = _line(cause_of(error)), _line(error)
    said = first.partition(": ")[2] in last[:_MAX_REASON]
    return shown(last if said else f"{first} ({last})", options)[:_MAX_REASON]


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def credentials_in(url: str) -> str:
    """Return the kind of credential that a URL holds, e.g. "a password"; "" if none.

    A user name is none, except in a web server's URL, where tokens stand in its place.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    if parts.password:
        return "a password"
    if parts.username and parts.scheme in ("http", "https"):
        return "a user name or token"
    for key, _ in parse_qsl(parts.query, keep_blank_values=True):
        if _SECRET_NAMES.search(key) or _SECRET_ENDING.search(key) or re.search(r"(?i)(?:signature|^sig)$", key):
            return f"a secret, {key}, in its query"
    return ""


class _Redacting:
    """A text stream that blanks secrets in what is written to it; anything else is as the stream has it."""

    def __init__(self, stream: TextIO, secrets: Sequence[str]) -> None:
        self._stream, self._secrets = stream, secrets

    def write(self, text: str) -> int:
        # Less than `without_credentials`: addresses and commands are printed to be used.
        text = re.sub(r"(://[^/\s:@'\"]*):[^/\s@'\"]+@", rf"\1:{_BLANK}@", text)
        self._stream.write(blanked(text, self._secrets))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def guard_output() -> None:
    """Blank the environment's secrets in all that this process prints from here on, tracebacks included. Nothing of it
    fails, see `make_output_unfailing`.

    Programs call it before anything else is imported: loggers keep the stream that they find.
    """
    make_output_unfailing()
    secrets = secrets_of(os.environ)
    sys.stdout = _Redacting(sys.stdout, secrets)
    sys.stderr = _Redacting(sys.stderr, secrets)
