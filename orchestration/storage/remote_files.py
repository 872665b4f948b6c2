"""Files behind an fsspec URL: each call has a deadline and is retried while the storage is away."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from orchestration.common.background import in_background
from orchestration.common.redaction import reason_of
from orchestration.storage.local_files import EntrySize
from orchestration.storage.retry import RetryPolicy, answer_of, answer_within, is_refusal

_WRITING = ("pipe_file", "put_file")
"""Calls without a HEAD, whose refusal gives its reason. Reading a file begins with one."""


class NoBucketError(FileNotFoundError):
    """The bucket itself is not there."""


class RemoteFiles:
    """`Files` of an fsspec file system that must not cache listings: files of other processes must be seen at once."""

    def __init__(self, fs: Any, retry_policy: RetryPolicy, options: Mapping[str, str]) -> None:
        self._fs, self._retry_policy, self._options = fs, retry_policy, options

    def exists(self, path: str) -> bool:
        # fsspec's own `exists` takes every failure for a no.
        try:
            self._ask("info", path)
        except FileNotFoundError:
            return False
        return True

    def read(self, path: str) -> bytes:
        content: bytes = self._ask("cat_file", path)
        return content

    def read_range(self, path: str, begin: int, end: int) -> bytearray:
        content: bytes = self._ask("cat_file", path, num_bytes=end - begin, options={"start": begin, "end": end})
        return bytearray(content)

    def check_document(self, path: str) -> None:  # an object is a regular file; its size would cost another call
        pass

    def write(self, path: str, content: bytes) -> None:
        self._ask("pipe_file", path, content, num_bytes=len(content))

    def create(self, path: str, content: bytes) -> bool:
        try:
            self._ask("pipe_file", path, content, num_bytes=len(content), options={"mode": "create"})
        except FileExistsError:
            # After an answer that was lost, the second try finds what the first one wrote.
            return self.read(path) == content
        return True

    def put(self, local: Path, path: str) -> None:
        self._ask("put_file", str(local), path, place=path, num_bytes=local.stat().st_size)

    def fetch(self, path: str, scratch: Path, num_bytes: int) -> Path:
        local = scratch / path.rsplit("/", 1)[-1]
        self._ask("get_file", path, str(local), num_bytes=num_bytes)
        return local

    def names(self, path: str) -> list[str]:
        try:
            paths: list[str] = self._ask("ls", path, False)
        except FileNotFoundError:
            return []
        here = path.strip("/")  # some stores list an empty object that stands for the directory itself
        return sorted(entry.rstrip("/").rsplit("/", 1)[-1] for entry in paths if entry.strip("/") != here)

    def entries(self, path: str) -> list[tuple[str, EntrySize]]:
        try:
            listing: list[dict[str, Any]] = self._ask("ls", path, True)
        except FileNotFoundError:
            return []
        here = path.strip("/")
        entries: list[tuple[str, EntrySize]] = []
        for entry in listing:
            place = entry["name"].rstrip("/")
            if place.strip("/") == here and entry["type"] == "directory":  # of keys such as data//1.png
                entries.append(("", "is a folder without a name"))
            elif place.strip("/") != here:
                entries.append((place.rsplit("/", 1)[-1], None if entry["type"] == "directory" else int(entry["size"])))
        return sorted(entries, key=lambda entry: entry[0])

    def num_bytes(self, path: str) -> int:
        try:
            return int(self._ask("du", path))
        except FileNotFoundError:
            return 0

    def kind(self, path: str) -> Literal["directory"]:  # noqa: ARG002  it has no links, and no call is spent on it
        return "directory"

    def remove(self, path: str) -> None:
        with suppress(FileNotFoundError):
            self._ask("rm", path, True)

    def _ask(
        self,
        method: str,
        *arguments: Any,
        place: str = "",
        num_bytes: int = 0,
        options: Mapping[str, Any] = MappingProxyType({}),
    ) -> Any:
        """Make a call under the retry policy.

        Args: options: of the call, by name.
        Raises: as `RetryPolicy.call`; FileNotFoundError, NoBucketError and PermissionError name the place.
        """
        place = self._fs.unstrip_protocol(place or arguments[0])
        try:
            return self._retry_policy.call(
                lambda seconds: self._once(seconds, method, arguments, options), place, self._options, num_bytes
            )
        except FileNotFoundError as error:
            answer = answer_of(error)
            if answer is not None and answer.code == "NoSuchBucket":
                raise NoBucketError(f"{place}: there is no such bucket") from None
            raise FileNotFoundError(f"{place}: there is no such file") from None
        except Exception as error:
            if not is_refusal(error):
                raise
            raise PermissionError(f"{place}: {reason_of(error, self._options)}") from None

    def _once(self, seconds: float, method: str, arguments: tuple[Any, ...], options: Mapping[str, Any]) -> Any:
        """Make one call. The answer to a HEAD has no body: the reason of a refusal is asked for by a GET."""
        try:
            return self._send(seconds, method, arguments, options)
        except Exception as error:
            answer = answer_of(error)
            if method in _WRITING or answer is None or answer.code or answer.status not in (400, 403):
                raise
            raise self._reason_behind(error, arguments[0], seconds) from None

    def _reason_behind(self, error: Exception, path: str, seconds: float) -> Exception:
        """Return the error of a GET that is refused too, else the error of the HEAD."""
        is_file = "/" in path.strip("/")
        try:
            if is_file:
                self._send(seconds, "cat_file", (path,), {"start": 0, "end": 1})
            else:
                self._send(seconds, "ls", (path, False), {})
        except Exception as reason:  # noqa: BLE001  any storage library
            return reason if is_refusal(reason) else error
        return error

    def _send(self, seconds: float, method: str, arguments: tuple[Any, ...], options: Mapping[str, Any]) -> Any:
        """Make one call; a late one is cancelled if the file system can do that, else left alone."""
        if self._fs.async_impl:
            work = getattr(self._fs, f"_{method}")(*arguments, **options)
            answer: Any = asyncio.run_coroutine_threadsafe(work, self._fs.loop)
        else:
            answer = in_background("storage-call", lambda: getattr(self._fs, method)(*arguments, **options))
        return answer_within(answer, seconds)
