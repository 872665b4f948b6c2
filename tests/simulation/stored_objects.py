"""A storage of objects under keys, like S3, behind fsspec: late, away, forgetful of answers, behind in listings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fsspec import AbstractFileSystem, register_implementation

from tests.simulation.kernel import Process, World, current

ROOT = "sim://bucket/root"
_PREFIX = "bucket/root/"
_LATENCY = (0.002, 0.03)
_SLOW = (1.0, 8.0)
_LATE = (0.5, 20.0)
Trouble = Literal["503", "silent", "lost answer", "late", "slow", "partial", "stale listing"]
TROUBLES: tuple[Trouble, ...] = ("503", "silent", "lost answer", "late", "slow", "partial", "stale listing")


class ServerBusyError(Exception):
    """The answer 503, as clients of S3 raise it."""

    status = 503


class CutOffError(OSError):
    """A connection that was cut."""


@dataclass(frozen=True)
class Spell:
    """A time in which a part of the calls has a trouble."""

    begin: float
    end: float
    trouble: Trouble
    share: float


@dataclass(frozen=True)
class Change:
    """A change of one object."""

    key: str
    before: bytes | None
    after: bytes | None
    process: Process


class StoredObjects:
    """The objects, and what becomes of each call for them."""

    def __init__(self, world: World, *, conditional: bool) -> None:
        """Args: conditional: knows conditional PUTs."""
        self.world, self.conditional = world, conditional
        self.objects: dict[str, bytes] = {}
        self.spells: list[Spell] = []
        self.listeners: list[Callable[[Change], None]] = []
        self.num_by_trouble: dict[str, int] = {}
        self.deadline = 60.0
        """Seconds after which the caller of now gives up."""
        self.is_late = False
        """True while a call takes effect that was given up."""
        self._of_now: Trouble | None = None
        self._born: dict[str, float] = {}
        self._died: dict[str, float] = {}

    def ask(self, call: Callable[[], Any], *, writes: bool = False, lists: bool = False) -> Any:
        """Make a call, which takes effect at one moment, or never. Raises: as the storage does; Killed."""
        world = self.world
        world.enter("store")
        trouble = self._trouble(writes=writes, lists=lists)
        latency = world.random.uniform(*(_SLOW if trouble == "slow" else _LATENCY))
        if latency > self.deadline:
            world.sleep(self.deadline)
            raise TimeoutError
        world.sleep(latency / 2)
        if trouble == "503":
            raise ServerBusyError("SlowDown")
        if trouble in ("silent", "late"):
            if trouble == "late" and writes:
                world.at(world.now + world.random.uniform(*_LATE), lambda: self._too_late(call))
            world.sleep(self.deadline)
            raise TimeoutError
        self._of_now = trouble
        try:
            answer = call()
        finally:
            self._of_now = None
        world.enter("store's answer")
        world.sleep(latency / 2)
        if trouble == "lost answer":
            raise CutOffError("connection reset")
        return answer

    def _too_late(self, call: Callable[[], Any]) -> None:
        """Let a call that was given up take effect; nobody hears its answer."""
        self.is_late = True
        try:
            call()
        except OSError:
            pass
        finally:
            self.is_late = False

    def _trouble(self, *, writes: bool, lists: bool) -> Trouble | None:
        now = self.world.now
        for spell in self.spells:
            if spell.begin <= now < spell.end and self.world.random.random() < spell.share:
                if spell.trouble in ("partial", "late") and not writes:
                    continue
                if spell.trouble == "stale listing" and not lists:
                    continue
                self.num_by_trouble[spell.trouble] = self.num_by_trouble.get(spell.trouble, 0) + 1
                return spell.trouble
        return None

    def is_torn(self) -> bool:
        """Return whether the write of now ends in the middle."""
        return self._of_now == "partial"

    def age_of_listing(self) -> float:
        """Return how many seconds the listing of now is behind."""
        return self.world.random.uniform(1.0, 10.0) if self._of_now == "stale listing" else 0.0

    def set(self, key: str, content: bytes | None, process: Process) -> None:
        """Change an object; None: remove it."""
        before = self.objects.get(key)
        if content is None:
            if before is None:
                return
            del self.objects[key]
            self._died[key] = self.world.now
        else:
            self.objects[key] = content
            if before is None:
                self._born[key] = self.world.now
        for listener in self.listeners:
            listener(Change(key, before, content, process))

    def listed(self, directory: str, age: float) -> dict[str, int | None]:
        """Return names and sizes directly in a directory, None for directories, as they were some seconds ago."""
        prefix, names = f"{directory}/", dict[str, int | None]()
        for key, content in self.objects.items():
            if key.startswith(prefix) and (not age or self._born[key] <= self.world.now - age):
                name, is_below, _ = key[len(prefix) :].partition("/")
                names[name] = None if is_below else len(content)
        for key, died in self._died.items() if age else ():
            if key.startswith(prefix) and key not in self.objects and died > self.world.now - age:
                name, is_below, _ = key[len(prefix) :].partition("/")
                names.setdefault(name, None if is_below else 0)
        return names


class SimulatedFiles(AbstractFileSystem):
    """fsspec's interface to the objects of the current world."""

    protocol = "sim"
    cachable = True

    @property
    def _store(self) -> StoredObjects:
        store: StoredObjects = current().store  # type: ignore[attr-defined]  # set by `run`
        return store

    def info(self, path: str, **_options: Any) -> dict[str, Any]:
        key = self._strip_protocol(path)

        def look() -> dict[str, Any]:
            objects = self._store.objects
            if key in objects:
                return {"name": key, "type": "file", "size": len(objects[key])}
            if any(other.startswith(f"{key}/") for other in objects):
                return {"name": key, "type": "directory", "size": 0}
            raise FileNotFoundError(key)

        answer: dict[str, Any] = self._store.ask(look)
        return answer

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_options: Any) -> bytes:
        key = self._strip_protocol(path)

        def read() -> bytes:
            if key not in self._store.objects:
                raise FileNotFoundError(key)
            return self._store.objects[key][start:end]

        content: bytes = self._store.ask(read)
        return content

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_options: Any) -> None:
        key, store, process = self._strip_protocol(path), self._store, current().thread.process
        if mode == "create" and not store.conditional and self._is_there(key):
            raise FileExistsError(key)

        def write() -> None:
            if mode == "create" and store.conditional and key in store.objects:
                raise FileExistsError(key)
            store.set(key, value, process)

        self._write(key, value, write, process)

    def _is_there(self, key: str) -> bool:
        return bool(self._store.ask(lambda: key in self._store.objects))

    def _write(self, key: str, value: bytes, write: Callable[[], None], process: Process) -> None:
        store = self._store

        def write_part() -> None:
            if store.is_torn():
                store.set(key, value[: len(value) // 2], process)
                raise CutOffError("broken pipe")
            write()

        store.ask(write_part, writes=True)

    def put_file(self, lpath: str, rpath: str, **_options: Any) -> None:
        self.pipe_file(rpath, Path(lpath).read_bytes())

    def get_file(self, rpath: str, lpath: str, **_options: Any) -> None:
        Path(lpath).write_bytes(self.cat_file(rpath))

    def ls(self, path: str, detail: bool = True, **_options: Any) -> list[Any]:
        key, store = self._strip_protocol(path).rstrip("/"), self._store
        names = store.ask(lambda: store.listed(key, store.age_of_listing()), lists=True)
        if not names:
            raise FileNotFoundError(key)
        if not detail:
            return [f"{key}/{name}" for name in names]
        return [
            {"name": f"{key}/{name}", "size": size or 0, "type": "directory" if size is None else "file"}
            for name, size in names.items()
        ]

    def du(self, path: str, **_options: Any) -> int:
        key, objects = self._strip_protocol(path), self._store.objects

        def sizes() -> int:
            return sum(len(objects[one]) for one in objects if one == key or one.startswith(f"{key}/"))

        return int(self._store.ask(sizes))

    def rm(self, path: str, recursive: bool = False, **_options: Any) -> None:  # noqa: ARG002
        key, store, process = self._strip_protocol(path), self._store, current().thread.process
        keys = store.ask(lambda: [one for one in store.objects if one == key or one.startswith(f"{key}/")])
        if not keys:
            raise FileNotFoundError(key)
        for one in keys:
            store.ask(lambda one=one: store.set(one, None, process), writes=True)


register_implementation("sim", SimulatedFiles, clobber=True)


def key_of(relative: str) -> str:
    """Return the key of a path under the storage root."""
    return f"{_PREFIX}{relative}"


def relative_of(key: str) -> str:
    return key.removeprefix(_PREFIX)
