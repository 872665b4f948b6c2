"""What only the user can mend: one clear line, exit code 2, no traceback."""

from __future__ import annotations

EXIT_USER_ERROR = 2


class UserError(Exception):
    """What was given, where, and what to do about it."""
