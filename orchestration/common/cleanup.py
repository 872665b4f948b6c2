"""Clean-up that never takes the place of the error before it, which says what ended the work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from orchestration.common.redaction import reason_of


@contextmanager
def always(clean_up: Callable[[], object]) -> Iterator[None]:
    """Call `clean_up` when the block ends. Its own error is raised after a block without one, else only noted on it."""
    try:
        yield
    except BaseException as error:
        clean_up_after(error, clean_up)
        raise
    clean_up()


def clean_up_after(error: BaseException, clean_up: Callable[[], object]) -> None:
    """Call `clean_up`; if it fails too, note that on the error."""
    try:
        clean_up()
    except Exception as second:  # noqa: BLE001  whatever it is, the first one counts
        error.add_note(f"Cleaning up failed too: {reason_of(second)}")
