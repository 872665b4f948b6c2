"""`--gc`: prints which artifacts no published plan needs, and removes them if that is confirmed."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence

from orchestration.commands.unreferenced import Unreferenced, find_unreferenced, plans_fingerprint, read_roots
from orchestration.common.exit_codes import EXIT_TASKS_FAILED
from orchestration.common.redaction import reason_of
from orchestration.storage.layout import TaskPaths
from orchestration.storage.store import MANIFEST, Store

_MAX_SHOWN = 5
_LOOK_SECONDS = 5.0
"""Interval at which plans are read again while artifacts are removed."""


def collect_garbage(
    store: Store, *, confirmed: bool, say: Callable[[str], None] = print, ask: Callable[[], bool] | None = None
) -> int:
    """Return the exit code. Args: confirmed: remove without asking. ask: asks for confirmation; None: nobody is there.

    Raises: UserError if a plan or a heartbeat cannot be read.
    """
    roots = read_roots(store)
    unreferenced = find_unreferenced(store, roots)
    leftovers = [one for one in unreferenced if not one.stays]
    names = ", ".join(plan.sweep for plan in roots.plans) or "none"
    say(f"Storage: {store.root}; published plans: {names}.")
    for sweep in sorted(roots.live):
        say(f"A driver runs {sweep} now: nothing of it is touched.")
    for reason in sorted({one.stays for one in unreferenced if one.stays}):
        say(f"{reason}.")
    if not leftovers:
        say("Nothing is left over.")
        return 0
    say(_report(leftovers))
    if not confirmed and (ask is None or not ask()):
        say("Nothing was removed; --gc --yes removes it.")
        return 0
    again = read_roots(store)  # confirming takes its time, and a sweep may have been submitted meanwhile
    still = {leftover.path for leftover in find_unreferenced(store, again) if not leftover.stays}
    return _remove_all(store, [leftover for leftover in leftovers if leftover.path in still], again.fingerprint, say)


def ask_on_terminal() -> bool:
    """Return whether the person at the terminal confirms; False without a terminal, or where it closes."""
    try:
        return sys.stdin.isatty() and input("Remove it? [y/N] ").strip().lower() in ("y", "yes")
    except (EOFError, OSError):
        return False


def remove_artifact(store: Store, path: str) -> None:
    """Remove an artifact, its manifests and record first: cut off in the middle, no half of it is ever read.

    A link is removed itself: what is behind it is not ours.
    """
    if store.kind(path) == "directory":
        inner = [f"{path}/{name}" for name in store.names(path) if name.startswith(("step-", "raw-"))]
        marks = [f"{place}/{MANIFEST}" for place in (path, *inner) if store.kind(place) == "directory"]
        record = TaskPaths(path.rsplit("/", 1)[-1]).result
        for mark in [*marks, *([record] if record.startswith(f"{path}/") else [])]:
            store.remove(mark)
    store.remove(path)
    parent = path.rsplit("/", 1)[0]
    if "/" in parent and not store.names(parent):
        store.remove(parent)  # an empty folder of a digest


def _remove_all(store: Store, leftovers: Sequence[Unreferenced], fingerprint: str, say: Callable[[str], None]) -> int:
    looked = time.monotonic()
    num_removed, num_bytes, code = 0, 0, 0
    for leftover in leftovers:
        if time.monotonic() - looked > _LOOK_SECONDS:
            looked = time.monotonic()
            if plans_fingerprint(store) != fingerprint:
                say(f"A plan was published meanwhile: {num_removed} removed, the rest stays. Run --gc again.")
                return EXIT_TASKS_FAILED
        try:
            remove_artifact(store, leftover.path)
        except OSError as error:
            say(f"{leftover.path} cannot be removed ({reason_of(error, store.options)}).")
            code = EXIT_TASKS_FAILED
        else:
            num_removed, num_bytes = num_removed + 1, num_bytes + leftover.num_bytes
    say(f"Removed {_count(num_removed)}, {_size(num_bytes)}.")
    return code


def _report(leftovers: Sequence[Unreferenced]) -> str:
    lines = [f"No published plan needs {_count(len(leftovers))}, {_size(sum(one.num_bytes for one in leftovers))}:"]
    for kind in sorted({one.kind for one in leftovers}):
        own = [one.num_bytes for one in leftovers if one.kind == kind]
        lines.append(f"  {kind}: {len(own)}, {_size(sum(own))}")
    largest = sorted(leftovers, key=lambda one: one.num_bytes, reverse=True)[:_MAX_SHOWN]
    lines += ["Largest:", *(f"  {one.path}: {_size(one.num_bytes)}" for one in largest)]
    return "\n".join(lines)


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:,.1f} MB"


def _count(number: int) -> str:
    return "1 artifact" if number == 1 else f"{number} artifacts"
