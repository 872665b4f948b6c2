"""The retry policy of calls to a remote storage.

A storage that is overloaded, restarted or cut off comes back; a training that it took down costs work. So each call has
a deadline of its own (clients have been seen to wait for ever, whatever their time-outs say), and is retried with
growing and jittered pauses until it succeeds or `retry_seconds` are over. Errors that waiting cannot fix, such as a
missing file or permission, are raised at once.
"""

from __future__ import annotations

import errno
import itertools
import logging
import random
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from orchestration.common.redaction import reason_of

SLOWEST_BYTES_PER_SECOND = 1_000_000
"""Slowest accepted transfer: the deadline grows by a second for each so many bytes."""
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.2, 30.0
_LASTING: tuple[type[Exception], ...] = (
    FileNotFoundError,
    PermissionError,
    FileExistsError,
    IsADirectoryError,
    NotADirectoryError,
    NotImplementedError,
    ImportError,
    TypeError,
    ValueError,
)
_NO_CREDENTIALS = (
    "NoCredentialsError",
    "PartialCredentialsError",
    "ProfileNotFound",
    "SSOTokenLoadError",
    "UnauthorizedSSOTokenError",
)
"""Errors of botocore by name: they share no base class, and importing it would slow planning down."""
_NOT_ASKED = (
    "ParamValidationError",  # of a call's arguments
    "ConfigParseError",  # of the client's own settings: AWS_CONFIG_FILE, AWS_RETRY_MODE, ...
    "ConfigNotFound",
    "InvalidConfigError",
    "InvalidRetryModeError",
    "InvalidRetryConfigurationError",
    "InvalidMaxRetryAttemptsError",
    "InvalidDefaultsMode",
)
"""Others, with which no server is asked."""
_LASTING_ERRNO = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""Errors of the local disk that a download goes to."""
_PASSING_STATUS = (408, 409, 425, 429)
_PASSING_CODES = (
    "RequestTimeout",
    "IncompleteBody",
    "BadDigest",
    "XAmzContentSHA256Mismatch",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "RequestLimitExceeded",
)
"""Answers below 500 that another try can change: the request came late, cut off or too often."""
_LOG = logging.getLogger(__name__)
_JITTER = random.Random()  # noqa: S311  spreads the tries of many workers; no secret, and no number of a result

Answer = TypeVar("Answer")


class StorageUnavailableError(Exception):
    """A remote storage failed for longer than the retry policy allows."""


class NoAnswerError(Exception):
    """A call was not answered before its deadline."""


def answer_within(answer: Future[Answer], seconds: float) -> Answer:
    """Return the answer of a call that runs elsewhere, and cancel the call if it is late.

    Raises: NoAnswerError if it is late; what the call raises.
    """
    try:
        return answer.result(seconds)
    except TimeoutError:
        if answer.done():
            raise
        answer.cancel()
        raise NoAnswerError(f"no answer within {seconds:.3g} s") from None


@dataclass(frozen=True)
class RetryPolicy:
    """Limits of calls to a remote storage; see `StorageConfig`."""

    call_seconds: float = 60.0
    retry_seconds: float = 600.0

    def longest_seconds(self, num_bytes: int) -> float:
        """Return the longest time that `call` takes for so many bytes."""
        return self.retry_seconds + self._deadline_seconds(num_bytes)

    def _deadline_seconds(self, num_bytes: int) -> float:
        return self.call_seconds + num_bytes / SLOWEST_BYTES_PER_SECOND

    def call(
        self, call: Callable[[float], Answer], place: str, options: Mapping[str, str], num_bytes: int = 0
    ) -> Answer:
        """Return the answer of `call`, which is passed its deadline in seconds, at its first success.

        Args: place: URL of the file, for messages. options: see `reason_of`. num_bytes: size of the transfer.
        Raises: StorageUnavailableError after `retry_seconds`; an error that waiting cannot fix, at once.
        """
        deadline = self._deadline_seconds(num_bytes)
        began = time.monotonic()
        for num_tries in itertools.count(1):
            try:
                return call(deadline)
            except Exception as error:  # any storage library, any reason: told apart by `_is_lasting`
                if _is_lasting(error):
                    raise
                passed = time.monotonic() - began
                reason = reason_of(error, options)
                if passed >= self.retry_seconds:
                    tries = f"{num_tries} {'try' if num_tries == 1 else 'tries'} in {passed:.0f} s"
                    raise StorageUnavailableError(f"{place}: the storage cannot be used ({tries}): {reason}") from None
                # Never beyond the end: the last try finds a storage that came back in time.
                pause = min(_pause_seconds(num_tries), self.retry_seconds - passed)
            _LOG.warning("%s: %s; trying again in %.1f s", place, reason, pause)
            time.sleep(pause)
        raise AssertionError("counting does not end")


def _pause_seconds(num_tries: int) -> float:
    longest = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2.0 ** min(num_tries - 1, 10))
    return longest * _JITTER.uniform(0.5, 1.0)


def _is_lasting(error: Exception) -> bool:
    if isinstance(error, _LASTING) or lacks_credentials(error) or is_refusal(error):
        return True
    if type(error).__name__ in _NOT_ASKED:
        return True
    return isinstance(error, OSError) and error.errno in _LASTING_ERRNO


def lacks_credentials(error: Exception) -> bool:
    """Return whether a storage was not even asked, since no credentials for it were found here."""
    return type(error).__name__ in _NO_CREDENTIALS


def is_refusal(error: Exception) -> bool:
    """Return whether a server will not do what it is asked however often: credentials that expired, no permission."""
    if isinstance(error, _LASTING):
        return isinstance(error, PermissionError)
    answer = answer_of(error)
    if answer is None or answer.status in _PASSING_STATUS or answer.code in _PASSING_CODES:
        return False
    return 400 < answer.status < 500 or (answer.status == 400 and answer.code != "")


class ServerAnswer(NamedTuple):
    """Answer of a server, as an error keeps it."""

    status: int
    code: str
    """Name of the error; "": it gave none, as in the answer to a HEAD, which has no body."""


def answer_of(error: BaseException) -> ServerAnswer | None:
    """Return the answer behind an error of botocore or aiohttp, or of what wraps it; None if there is none.

    They are known by their attributes: importing both would slow planning down.
    """
    for one in filter(None, (error, error.__cause__)):
        response, status = getattr(one, "response", None), getattr(one, "status", None)
        if isinstance(response, Mapping):
            code = str(response.get("Error", {}).get("Code", ""))
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            return ServerAnswer(status, "" if code.isdigit() else code)
        if isinstance(status, int):
            return ServerAnswer(status, str(getattr(one, "message", "")))
    return None
