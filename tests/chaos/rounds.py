"""One round: lives of a sweep, each with its kills, until it ends by itself."""

from __future__ import annotations

import json
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.chaos.comparison import differences
from tests.chaos.ledger import Kill, Round
from tests.chaos.places import PLACES, Place, open_place
from tests.chaos.victims import DRIVERS, draw_victim, is_rays, kill
from tests.support.sweeps import TWO_EVALUATORS, Where, descendants, started

_PARTS = (
    "parts={paradigm: {rows: {DFM: {}}}, searched: {search: {space: {training.learning_rate: {log: [1.0e-4, 1.0e-2]}}, "
    "num_trials: 2, objectives: {fd_lite0_block10: minimize}, trial_scheduler: {kind: asha, first: 10, eta: 3, "
    "num_rungs: 1}}}}"
)
SWEEP = (
    _PARTS,
    "training.steps=30",
    "evaluation.at_steps=[30]",
    "evaluation.num_samples=20",
    "workers.checkpoint_every=3",
    TWO_EVALUATORS,
)
"""Overrides of the tiny sweep: one training, and two that Ray Tune searches."""
MOST_KILLS_A_LIFE, MOST_KILLS, MOST_SUBMISSIONS = 3, 8, 16
MOST_SECONDS = 900.0
"""Longest life; longer than workers.wait_for_workers_seconds, so that what is stuck is told apart from what waits."""
_BEYOND = 1.1
"""End of the moments that are drawn, in undisturbed lives: a life with a kill is longer."""
_MISTAKE = 2
_OLD = 0.5
"""Life in an old root, where much is done already, as a share of one in a new root."""


@dataclass(frozen=True)
class Soak:
    """The undisturbed sweep that all rounds are held against."""

    undisturbed: Path
    life_seconds: float
    """Length of a life that nobody disturbs."""


def undisturbed_life(place: Place, log: Path) -> tuple[int, str, float]:
    """Submit to the end. Return exit code, what was said, and seconds."""
    began = time.monotonic()
    with _submitted(place, log) as driver:
        code = driver.wait(4 * MOST_SECONDS)
    return code, log.read_text(), time.monotonic() - began


def run_round(soak: Soak, folder: Path, seed: int, killed: Mapping[str, int]) -> Round:
    """Run one. Args: folder: a new one for it. killed: how often each kind was, in earlier rounds."""
    draw, counts = random.Random(seed), Counter(killed)
    found = Round(seed, PLACES[seed % len(PLACES)], is_new=draw.random() < 0.5)
    folder.mkdir()
    began = time.monotonic()
    with open_place(found.place, folder, soak.undisturbed, draw, is_new=found.is_new) as place:
        said = _lives(soak, place, folder, found, counts, draw)
        if said is None:
            code, last, _ = undisturbed_life(place, folder / "last.log")
            if code or "Everything is done already; nothing is computed." not in last:
                found.differences.append(f"a last submission found something to do (code {code}): {last[-3000:]}")
            found.differences += differences(soak.undisturbed, place.copied_to(folder / "copy"), place.tracking)
        else:
            found.differences.append(said)
    found.seconds = time.monotonic() - began
    if not found.differences:
        shutil.rmtree(folder)
    return found


def _lives(
    soak: Soak, place: Place, folder: Path, found: Round, counts: Counter[str], draw: random.Random
) -> str | None:
    """Submit until the sweep ends with code 0. Return what is wrong, None if nothing is."""
    while found.submissions < MOST_SUBMISSIONS:
        found.submissions += 1
        log = folder / f"life-{found.submissions}.log"
        num_kills = min(draw.randint(1, MOST_KILLS_A_LIFE), MOST_KILLS - len(found.kills))
        length = _BEYOND if found.is_new else _BEYOND * _OLD
        moments = sorted(draw.uniform(0, length) for _ in range(num_kills))
        with _all_ended(place, log) as driver:
            code = _live(driver, soak, place, log, moments, found, counts, draw)
        if code == 0:
            return None
        if code == _MISTAKE:
            return f"it was refused: {log.read_text()[-3000:]}"
        if code is None:
            return f"a life took longer than {MOST_SECONDS:.0f} s: {log.read_text()[-3000:]}"
    return f"it did not end with code 0 in {MOST_SUBMISSIONS} submissions: {log.read_text()[-3000:]}"


def _live(
    driver: Any,
    soak: Soak,
    place: Place,
    log: Path,
    moments: list[float],
    found: Round,
    counts: Counter[str],
    draw: random.Random,
) -> int | None:
    """Kill at the moments, and wait for the driver's end. Return its exit code; None: it was stuck."""
    began, seen, waiting = time.monotonic(), place.made(), list[tuple[Kill, float]]()
    looked = began
    while driver.poll() is None:
        time.sleep(0.05)
        age = time.monotonic() - began
        if age > MOST_SECONDS:
            return None
        if time.monotonic() - looked > (0.5 if place.bucket is None else 3):
            looked = time.monotonic()
            if (made := place.made()) != seen:
                seen = made
                for one, at in waiting:
                    one.recovery_seconds = looked - at
                waiting.clear()
        if moments and age > moments[0] * soak.life_seconds:
            moments.pop(0)
            victim = draw_victim(driver.pid, age, log, counts, draw)
            redone = _since_checkpoints(place)
            if victim is not None and kill(victim[1]):
                one = Kill(victim[0], age / soak.life_seconds, redone)
                counts[victim[0]] += 1
                found.kills.append(one)
                if victim[0] not in DRIVERS:
                    waiting.append((one, time.monotonic()))
    code: int = driver.returncode
    return code


def _since_checkpoints(place: Place) -> int | None:
    if place.bucket is not None:
        return None
    root = Path(place.storage)
    try:
        running = json.loads((root / "status" / "quickstart.json").read_text())["running"]
    except (OSError, ValueError):
        return 0
    redone = 0
    for task in running:
        steps = [int(path.parent.name[5:]) for path in root.glob(f"checkpoints/{task['digest']}/step-*/manifest.json")]
        redone += max(0, task["done"] - max(steps, default=0)) if steps or task["total"] == 30 else 0
    return redone


@contextmanager
def _submitted(place: Place, log: Path) -> Iterator[Any]:
    where = Where(environment=place.environment)
    with started(place.storage, log, *SWEEP, *place.overrides, where=where) as driver:
        yield driver


@contextmanager
def _all_ended(place: Place, log: Path) -> Iterator[Any]:
    """Submit; after the block nothing that it started is left, also what outlived its parent."""
    ours = set[int]()
    with _submitted(place, log) as driver:

        class Watched:
            pid = driver.pid

            def poll(self) -> int | None:
                ours.update(descendants(driver.pid))
                code: int | None = driver.poll()
                return code

            @property
            def returncode(self) -> int | None:
                code: int | None = driver.returncode
                return code

        yield Watched()
    _until(lambda: not any(map(is_rays, ours)), 15)
    for pid in filter(is_rays, ours):
        kill(pid)
    _until(lambda: not any(map(is_rays, ours)), 30)


def _until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.2)
