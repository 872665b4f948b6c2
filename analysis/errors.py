"""Mistakes that only the user can fix: one clear line, exit code 2, no traceback."""

from __future__ import annotations

EXIT_USER_ERROR, EXIT_INTERRUPTED = 2, 130


class UserError(Exception):
    """A user's mistake: the value given, its place, and the remedy."""


class TrackingUnreachableError(UserError):
    """The tracking server or database does not answer."""

    def __init__(self, address: str, reason: str) -> None:
        """Args: address: address without a password."""
        super().__init__(
            f"tracking database {address} (named in the plan): {reason}; start the tracking server, or run this where "
            "the sweep was submitted, or submit the sweep again with another tracking.uri"
        )
        self.address, self.reason = address, reason
