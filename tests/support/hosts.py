"""Hosts on this machine, on a switch of their own: Linux namespaces, each with its own network, processes and name.

Files are shared, as over a network file system. Nothing of it has a name outside, and all of it ends with the process
that made it, however that ends: each namespace is held by a process that reads a pipe from here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

_NETWORK = "10.77.0"
_TOOLS = ("unshare", "nsenter", "ip", "mount", "bash")
_SECONDS = 60.0


class NoNamespacesError(Exception):
    """This machine, or this user, cannot make them."""


@dataclass(frozen=True)
class Host:
    """One host, while its switch is there."""

    name: str
    address: str
    """On the switch's network."""
    init: int
    """Its first process, as it is numbered here; all others end with it."""
    _enter: tuple[str, ...]
    """Command prefix: in this host, as its administrator."""
    _port: tuple[str, ...]
    """Command: `ip` that sets the switch's port of this host, less `up` or `down`."""

    def command(self, *arguments: str) -> list[str]:
        """Return the command that runs a program in this host, with the caller's environment and absolute folder."""
        return [*self._enter, "env", "-C", str(Path.cwd()), *arguments]

    def cut_off(self) -> None:
        """Nothing reaches it any more, and it reaches nobody; it goes on by itself."""
        _done([*self._port, "down"])

    def command_lines(self) -> list[str]:
        """Return the command lines of all processes that run in it."""
        own = _network_of(self.init)
        found = []
        for process in psutil.process_iter():
            try:
                if _network_of(process.pid) == own:
                    found.append(" ".join(process.cmdline()))
            except (psutil.Error, OSError):  # it has just ended, or is somebody else's
                continue
        return found


def _network_of(pid: int) -> str:
    return str(Path(f"/proc/{pid}/ns/net").readlink())


@contextmanager
def hosts_on_a_switch(names: Sequence[str], scratch: Path) -> Iterator[list[Host]]:
    """Hosts that reach each other by address and by name, and nobody else, for the length of a `with` block.

    Args: scratch: a folder for their /etc/hosts.
    Raises: NoNamespacesError, with what is missing.
    """
    _check_this_machine()
    user = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    addresses = [f"{_NETWORK}.{number}" for number in range(1, len(names) + 1)]
    table = scratch / "hosts"
    known = "".join(f"{address} {name}\n" for address, name in zip(addresses, names, strict=True))
    table.write_text(f"127.0.0.1 localhost\n{known}")
    with ExitStack() as stack:
        switch = stack.enter_context(_held(["unshare", *user, "--net", "bash", "-c", "read _"]))
        on_switch = ["nsenter", f"--target={switch}", *(("--user", "--preserve-credentials") if user else ()), "--net"]
        _done([*on_switch, "ip", "link", "add", "lan", "type", "bridge"])
        _done([*on_switch, "ip", "link", "set", "lan", "up"])
        hosts = []
        for number, (name, address) in enumerate(zip(names, addresses, strict=True), start=1):
            hold = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "--uts", "--ipc"]
            holder = stack.enter_context(_held([*on_switch, *hold, "bash", "-c", "read _"]))
            init = _child_of(holder)
            parts = ("--user", "--preserve-credentials") if user else ()
            enter = ("nsenter", f"--target={init}", *parts, "--net", "--pid", "--mount", "--uts", "--ipc")
            port = f"port{number}"
            _done([*on_switch, "ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", str(init)])
            _done([*on_switch, "ip", "link", "set", port, "master", "lan", "up"])
            for inside in (
                ["ip", "address", "add", f"{address}/24", "dev", "eth0"],
                ["ip", "link", "set", "eth0", "up"],
                ["ip", "link", "set", "lo", "up"],
                ["hostname", name],
                ["mount", "--bind", str(table), "/etc/hosts"],
            ):
                _done([*enter, *inside])
            hosts.append(Host(name, address, init, enter, (*on_switch, "ip", "link", "set", port)))
        yield hosts


def _check_this_machine() -> None:
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        raise NoNamespacesError(
            f"hosts are made with {', '.join(_TOOLS)}; not on PATH here: {', '.join(missing)}. Install util-linux and "
            "iproute2"
        )


@contextmanager
def _held(command: list[str]) -> Iterator[int]:
    """A process that holds namespaces until its input ends. Gives its number, once it has made them."""
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert holder.stdin is not None
    assert holder.stderr is not None
    try:
        deadline = time.monotonic() + _SECONDS
        while not _has_begun(holder.pid):
            if holder.poll() is not None or time.monotonic() > deadline:
                said = holder.stderr.read().decode().strip() if holder.poll() is not None else "it took too long"
                raise NoNamespacesError(
                    f"no namespaces here: `{' '.join(command)}` said {said!r}. Be root, or a user who may make user "
                    "namespaces (sysctl user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns); in a "
                    "container both need its --privileged"
                )
            time.sleep(0.02)
        yield holder.pid
    finally:
        holder.stdin.close()
        holder.wait(_SECONDS)
        holder.stderr.close()


def _has_begun(holder: int) -> bool:
    """Return True if the shell that follows the namespaces has started: the process itself, or its child."""
    try:
        process = psutil.Process(holder)
        return any(one.name() == "bash" for one in [process, *process.children(recursive=True)])
    except psutil.Error:
        return False


def _child_of(holder: int) -> int:
    """The first process of a host: the only one that its holder has, however many programs that has become."""
    (init,) = [one.pid for one in psutil.Process(holder).children(recursive=True) if one.name() == "bash"]
    return int(init)


def _done(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    if done.returncode:
        raise NoNamespacesError(f"`{' '.join(command)}` failed: {done.stderr.strip()}")
