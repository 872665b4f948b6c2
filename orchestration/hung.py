"""The end of a worker whose training hangs: it says where it is, and goes, so that Ray Train ends the others too."""

from __future__ import annotations

import logging
import os
import time
from typing import Any

from orchestration.background import in_background
from orchestration.layout import stacks_file
from orchestration.storage import Store

EXIT_HUNG = 75
_TELL_SECONDS = 10.0
"""For writing down where it is: the storage may be what it hangs for."""
_OTHERS_SECONDS = 2.0
"""For the other workers, which notice at the same time, to do so too: this one's end is theirs."""
_LOG = logging.getLogger(__name__)


def end_hung(store: Store, board: Any, digest: str, attempt: str, rank: int, report: str) -> None:
    """Writes the report of `StepWatch` into the store, tells the driver, and ends this process."""
    place, began = stacks_file(digest, attempt, rank), time.monotonic()
    what = f"worker {rank}: {report.splitlines()[0]}; where: {store.uri(place)}"
    _LOG.error("%s", what)
    try:
        in_background("stacks", lambda: store.write(place, report.encode())).result(_TELL_SECONDS)
        board.stumbled.remote(digest, what)
    except Exception as error:  # noqa: BLE001  whatever it is, this process has to end
        _LOG.error("where it hangs could not be written (%s)", error)
    time.sleep(max(0.0, _OTHERS_SECONDS - (time.monotonic() - began)))
    os._exit(EXIT_HUNG)
