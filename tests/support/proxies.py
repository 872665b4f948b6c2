"""A proxy that lets nothing through and remembers what it was asked for."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_VARIABLES = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "grpc_proxy")


class DeafProxy:
    """Listens on loopback."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self.asked: list[str] = []
        """The first line of each request, and any token in it."""
        port = listener.getsockname()[1]
        self.variables = dict.fromkeys(_VARIABLES, f"http://127.0.0.1:{port}") | {"no_proxy": "", "NO_PROXY": ""}
        """Environment of a process that is told to use it, for everything."""

    def serve(self) -> None:
        """Answer until the listener is closed."""
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(10)
                lines = connection.recv(65536).decode(errors="replace").splitlines()
                self.asked += [line for line in lines if line == lines[0] or line.lower().startswith("authorization")]
                connection.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


@contextmanager
def deaf_proxy() -> Iterator[DeafProxy]:
    """The proxy, for the length of a `with` block."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = DeafProxy(listener)
        thread = threading.Thread(target=proxy.serve)
        thread.start()
        try:
            yield proxy
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)
