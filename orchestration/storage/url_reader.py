"""Streaming reads of a URL. Every failure becomes a message without traceback and without credentials."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

import fsspec

from orchestration.common.background import in_background
from orchestration.common.errors import UserError
from orchestration.common.redaction import reason_of, without_credentials
from orchestration.storage.retry import NoAnswerError, answer_within

ANSWER_WITHIN_SECONDS = 60.0
"""Deadline of every single call: a server that takes a request and never answers would hold its caller for ever."""

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class UrlReader:
    """A URL to read from. Any fsspec protocol, with the options that its file system takes."""

    url: str
    options: Mapping[str, str]

    def has_content(self, seconds: float) -> bool:
        """Return whether there is a first byte. Raises: NoAnswerError after so many seconds; UserError."""

        def read_first() -> bool:
            with self._open() as file:
                return bool(file.read(1))

        try:
            return answer_within(in_background("url-call", read_first), seconds)
        except NoAnswerError as error:
            raise NoAnswerError(f"{without_credentials(self.url)}: {error}") from None
        except Exception as error:  # noqa: BLE001  as in `_ask`
            raise self._refusal(error) from None

    def chunks(self, num_bytes: int) -> Generator[bytes, None, None]:
        """Yield the content, a piece at a time. Raises: UserError."""
        file = self._ask(self._open)
        try:
            while chunk := self._ask(lambda: bytes(file.read(num_bytes))):
                yield chunk
        finally:
            with suppress(UserError):
                self._ask(file.close)

    def _open(self) -> Any:
        options: dict[str, Any] = dict(self.options)
        how: dict[str, Any] = {"cache_type": "none"}  # else fsspec reads ahead, which planning must not
        if urlsplit(self.url).scheme in ("http", "https"):
            from aiohttp import ClientTimeout

            options["client_kwargs"] = {"timeout": ClientTimeout(total=None)}  # by default it cuts off after 5 minutes
            how = {"block_size": 0}  # one stream: many servers know no ranges
        system, path = fsspec.core.url_to_fs(self.url, **options)
        system.invalidate_cache()
        if "file" in system.protocol and not system.isfile(path):  # reading a pipe or a device may never end
            raise FileNotFoundError(path)
        return system.open(path, "rb", **how)

    def _ask(self, call: Callable[[], Answer]) -> Answer:
        try:
            return answer_within(in_background("url-call", call), ANSWER_WITHIN_SECONDS)
        except Exception as error:  # noqa: BLE001  any backend, any reason: all mean that it cannot be read
            raise self._refusal(error) from None

    def _refusal(self, error: Exception) -> UserError:
        """Return an error as the user's, by its cause, since fsspec reports every refusal of http as a missing file."""
        cause = error.__cause__ or error
        if isinstance(cause, FileNotFoundError):
            reason = "there is no such file"
        else:
            reason = str(cause) if isinstance(cause, NoAnswerError) else reason_of(cause, self.options)
        return UserError.of(without_credentials(self.url), f"cannot be read ({reason})")
