"""An S3 server on loopback whose network is slow: moto's, in a process of its own, behind a proxy."""

from __future__ import annotations

import logging
import multiprocessing
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection

_CHUNK_BYTES = 65536


@contextmanager
def slow_s3(megabytes_per_second: float, latency_milliseconds: float) -> Iterator[str]:
    """Yield the endpoint. Each connection has the bandwidth; the latency is the round trip's, once for each request."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    speed = (megabytes_per_second * 1e6, latency_milliseconds / 1e3)
    server = context.Process(target=_serve_s3, args=(theirs, *speed), daemon=True)
    server.start()
    try:
        yield ours.recv()
    finally:
        server.kill()
        server.join()


def _copy(source: socket.socket, target: socket.socket, bytes_per_second: float, latency_seconds: float) -> None:
    last = 0.0
    with suppress(OSError):
        while content := source.recv(_CHUNK_BYTES):
            if time.monotonic() - last > latency_seconds:  # a new message, not the next piece of one
                time.sleep(latency_seconds)
            time.sleep(len(content) / bytes_per_second)
            target.sendall(content)
            last = time.monotonic()
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def _serve_s3(pipe: Connection, bytes_per_second: float, latency_seconds: float) -> None:
    """Run an S3 server and the slow way to it; send both addresses, end with the parent."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    address = server.get_host_and_port()
    listener = socket.create_server(("127.0.0.1", 0))
    pipe.send(f"http://127.0.0.1:{listener.getsockname()[1]}")
    while True:
        client, _ = listener.accept()
        upstream = socket.create_connection(address)
        for source, target in ((client, upstream), (upstream, client)):
            arguments = (source, target, bytes_per_second, latency_seconds / 2)
            threading.Thread(target=_copy, args=arguments, daemon=True).start()
