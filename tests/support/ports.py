"""Ports for servers that tests start."""

from __future__ import annotations

import random
import socket
from contextlib import suppress

_FIRST, _LAST = 20_000, 32_000
"""Ports that Linux gives to nobody who asks for any, so that what is free is free a moment later, when it is used; nor
are they those that Ray gives to its workers."""


def free_port() -> int:
    """One of loopback that nobody listens on now."""
    for port in random.sample(range(_FIRST, _LAST), 50):
        with suppress(OSError), socket.socket() as listener:
            listener.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")
