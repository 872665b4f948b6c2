"""`make chaos`: kills random processes of small sweeps at random moments; all must end as an undisturbed one does.

A round is the tiny sweep of tests/e2e with a search, in a root of its own, submitted again until it ends with code 0.
Then every task must have its record, once, every metric must be there, final checkpoints and the table must be equal to
the bit, and a last submission must find nothing to do. The seed draws victims and moments; how far a process has come
by then is the machine's.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from mlflow import MlflowClient

from tests.support.sweeps import TWO_EVALUATORS, descendants, numbers, published_steps, started

VICTIMS: dict[str, tuple[str, ...]] = {
    "driver": (),
    "driver at its start": (),
    "training worker": ("RayTrainWorker",),
    "evaluator": ("Evaluator",),
    "Ray Train controller": ("TrainController",),
    "progress board": ("_ProgressBoard",),
    "work queue": ("_WorkQueue",),
    "trial of Ray Tune": ("ImplicitFunc",),
    "rung desk": ("_RungDesk",),
    "raylet": ("raylet/raylet",),
    "head (gcs_server)": ("gcs_server",),
    "anyone": ("",),
}
"""Who is killed, and what its command line holds."""
SEARCHED = (
    "parts.searched={search: {space: {training.learning_rate: {log: [1.0e-4, 1.0e-2]}}, num_trials: 3, "
    "objectives: {fd_lite0_block10: minimize}, trial_scheduler: {kind: asha, first: 20, eta: 2, num_rungs: 1}}}"
)
"""A part that Ray Tune searches, beside those of the tiny sweep; its trials follow each other."""
AT_ITS_START, START_SECONDS, SHARE_KILLED_AT_START = "driver at its start", (0.5, 12.0), 0.5
"""A driver imports for some seconds, and then makes databases, lease and heartbeat, all of them in steps."""
MOST_KILLS, MOST_SUBMISSIONS = 4, 12
PAUSE_SECONDS = (3.0, 40.0)
STUCK_SECONDS, MOST_SECONDS = 900.0, 3600.0  # more than workers.wait_for_workers_seconds
_FROM_THE_START = ("reference", "probe", "floor")


@dataclass
class Kill:
    """One process killed."""

    victim: str
    redone_steps: int
    """Of the trainings that ran: what they had done since their newest checkpoints."""
    recovery_seconds: float | None = None
    """Until a new checkpoint or record was there; None: never, or nothing was left to do."""


@dataclass
class Round:
    """One sweep."""

    kills: list[Kill] = field(default_factory=list)
    submissions: int = 0
    differences: list[str] = field(default_factory=list)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600.0, help="no round begins later")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--undisturbed", type=Path, help="a root in which the same sweep is done")
    parser.add_argument("--report", type=Path, help="Markdown, also printed")
    options = parser.parse_args(arguments)
    draw, rounds, began = random.Random(options.seed), list[Round](), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="dfm-chaos-") as folder:
        undisturbed = options.undisturbed or Path(folder, "undisturbed")
        code, told = (0, "") if options.undisturbed else _to_its_end(undisturbed)
        if code:
            print(told)
            return 1
        print(f"The undisturbed sweep took {time.monotonic() - began:.0f} s.", flush=True)
        while not rounds or time.monotonic() - began < options.seconds:
            rounds.append(_one_round(Path(folder, f"round-{len(rounds)}"), undisturbed, draw))
            print(f"Round {len(rounds)}: {_told(rounds[-1])}", flush=True)
            if rounds[-1].differences:
                break
    text = report(rounds, options.seed)
    print(text)
    if options.report:
        options.report.write_text(text)
    return int(any(one.differences for one in rounds))


def _one_round(root: Path, undisturbed: Path, draw: random.Random) -> Round:
    found, num_kills = Round(), draw.randint(1, MOST_KILLS)
    for record in undisturbed.glob("results/*/result.json"):
        if json.loads(record.read_text())["kind"] in _FROM_THE_START and draw.random() < 0.8:  # these take longest
            shutil.copytree(record.parent, root / "results" / record.parent.name)
    root.mkdir(exist_ok=True)
    while found.submissions < MOST_SUBMISSIONS:
        found.submissions += 1
        log = root.with_name(f"{root.name}-{found.submissions}.log")
        with _all_ended(root, log) as driver:
            if draw.random() < SHARE_KILLED_AT_START and found.submissions <= MOST_KILLS:
                _kill_at_start(driver, root, found, draw)
            code = _disturb(driver, root, found, num_kills, draw)
        if code == 0:
            break
    else:
        found.differences.append(
            f"it did not end with code 0 in {MOST_SUBMISSIONS} submissions: {log.read_text()[-3000:]}"
        )
        return found
    _, told = _to_its_end(root)
    if "Everything is done already; nothing is computed." not in told:
        found.differences.append(f"a last submission found something to do: {told[-3000:]}")
    found.differences += differences(undisturbed, root)
    shutil.rmtree(root)
    return found


def _to_its_end(root: Path) -> tuple[int, str]:
    """A submission that nobody disturbs. Returns its exit code and what it said."""
    log = root.with_name(f"{root.name}.log")
    with started(root, log, SEARCHED, TWO_EVALUATORS) as driver:
        code = driver.wait(MOST_SECONDS)
    return code, log.read_text()


def _kill_at_start(driver: Any, root: Path, found: Round, draw: random.Random) -> None:
    """Kill the driver while it sets up what the sweep needs; one that has ended by then is left alone."""
    deadline = time.monotonic() + draw.uniform(*START_SECONDS)
    while driver.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    if driver.poll() is None and (kill := _kill(driver.pid, AT_ITS_START, root)) is not None:
        found.kills.append(kill)


def _disturb(driver: Any, root: Path, found: Round, num_kills: int, draw: random.Random) -> int | None:
    """Kills until enough are killed, and waits for the driver's end. Returns its exit code; None: it was stuck."""
    next_kill, seen, moved = time.monotonic() + draw.uniform(*PAUSE_SECONDS), _made(root), time.monotonic()
    waiting: list[tuple[Kill, float]] = []
    while driver.poll() is None:
        time.sleep(0.1)
        now = time.monotonic()
        if (made := _made(root)) != seen:
            seen, moved = made, now
            for kill, at in waiting:
                kill.recovery_seconds = now - at
            waiting.clear()
        if now - moved > STUCK_SECONDS:
            found.differences.append(f"nothing happened for {STUCK_SECONDS:.0f} s")
            return None
        if len(found.kills) < num_kills and now > next_kill:
            next_kill = now + draw.uniform(*PAUSE_SECONDS)
            if (kill := _kill_one(driver.pid, root, draw)) is not None:
                found.kills.append(kill)
                waiting.append((kill, now))
    code: int = driver.returncode
    return code


def _kill_one(driver: int, root: Path, draw: random.Random) -> Kill | None:
    """None if the one that was drawn is not there now."""
    victim = draw.choice([name for name in VICTIMS if name != AT_ITS_START])
    lines = {pid: _command(pid) for pid in descendants(driver)}
    there = [pid for pid, line in lines.items() if any(part in line for part in VICTIMS[victim])]
    pid = driver if victim == "driver" else draw.choice(sorted(there)) if there else None
    return None if pid is None else _kill(pid, victim, root)


def _kill(pid: int, victim: str, root: Path) -> Kill | None:
    kill = Kill(victim, _since_checkpoints(root))
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return None
    return kill


def _command(pid: int) -> str:
    try:
        return " ".join(psutil.Process(pid).cmdline())
    except psutil.Error:
        return ""


def _since_checkpoints(root: Path) -> int:
    try:
        running = json.loads((root / "status" / "quickstart.json").read_text())["running"]
    except (OSError, ValueError):
        return 0
    redone = 0
    for task in running:
        steps = [int(path.parent.name[5:]) for path in root.glob(f"checkpoints/{task['digest']}/step-*/manifest.json")]
        redone += max(0, task["done"] - max(steps, default=0)) if steps or task["total"] == 60 else 0
    return redone


def _made(root: Path) -> tuple[int, int]:
    """Grows with every checkpoint and record."""
    return sum(published_steps(root)), len(list(root.glob("results/*/result.json")))


@contextmanager
def _all_ended(root: Path, log: Path) -> Iterator[Any]:
    """A submission; after the block nothing that it started is left, also what outlived its parent."""
    ours = set[int]()
    with started(root, log, SEARCHED, TWO_EVALUATORS) as driver:

        class Watched:
            pid = driver.pid

            def poll(self) -> int | None:
                ours.update(descendants(driver.pid))
                return driver.poll()

            @property
            def returncode(self) -> int | None:
                return driver.returncode

        yield Watched()
    _until(lambda: not any(map(_is_rays, ours)), 30)
    for pid in filter(_is_rays, ours):
        with _nobody_there():
            os.kill(pid, signal.SIGKILL)
    _until(lambda: not any(map(_is_rays, ours)), 30)


@contextmanager
def _nobody_there() -> Iterator[None]:
    try:
        yield
    except ProcessLookupError:
        return


def _is_rays(pid: int) -> bool:
    """Whether it still runs; a number that came round to somebody else's process is left alone."""
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and "ray" in " ".join(process.cmdline())
    except psutil.Error:
        return False


def _until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.2)


def differences(undisturbed: Path, root: Path) -> list[str]:
    """What a sweep left that the undisturbed one did not, or the other way round; nothing if all is well."""
    found = []
    for what, look in {"records": _records, "checkpoints": _final_checkpoints, "runs": _runs}.items():
        ours, theirs = look(undisturbed), look(root)
        unequal = [key for key in sorted(ours.keys() | theirs.keys()) if ours.get(key) != theirs.get(key)]
        found += [f"{what}: {key}: {theirs.get(key)} instead of {ours.get(key)}" for key in unequal]
    if numbers(undisturbed) != numbers(root):
        found.append(f"the table: {numbers(root)} instead of {numbers(undisturbed)}")
    return found


def _records(root: Path) -> dict[str, Any]:
    """What the tasks found, less what they cost and how fast they were."""
    found = {}
    for path in root.glob("results/*/result.json"):
        record = json.loads(path.read_text())
        metrics = {name: value for name, value in record["metrics"].items() if "second" not in name}
        found[record["digest"]] = (record["kind"], record["step"], metrics, record["curve"])
    return found


def _final_checkpoints(root: Path) -> dict[str, list[str]]:
    """sha256 of the shards of each training's last checkpoint."""
    found = {}
    for training in root.glob("checkpoints/*"):
        last = max(training.glob("step-*/manifest.json"))
        found[f"{training.name}/{last.parent.name}"] = [f["sha256"] for f in json.loads(last.read_text())["files"]]
    return found


def _runs(root: Path) -> dict[str, Any]:
    """MLflow's runs by digest: how many there are, and their metrics, less costs."""
    client = MlflowClient(tracking_uri=f"sqlite:///{root}/mlflow.db")
    experiment = client.get_experiment_by_name("quickstart")
    assert experiment is not None, "nothing was tracked"
    found: dict[str, Any] = {}
    for one in client.search_runs([experiment.experiment_id], max_results=1000):
        tags, metrics = one.data.tags, one.data.metrics
        quality = {name: value for name, value in metrics.items() if not name.startswith("work/")}
        found.setdefault(tags.get("dfm.digest", "no digest"), []).append((tags.get("dfm.status"), quality))
    return found


def report(rounds: list[Round], seed: int) -> str:
    """A table by victim, in Markdown."""
    kills = [kill for one in rounds for kill in one.kills]
    lines = [
        f"{len(rounds)} sweeps, {len(kills)} processes killed, {sum(one.submissions for one in rounds)} submissions, "
        f"seed {seed}: " + ("all equal to the undisturbed one." if not _wrong(rounds) else "NOT EQUAL."),
        "",
        "| killed | times | steps redone, at most | seconds until something new was done, median and most |",
        "|---|--:|--:|--:|",
    ]
    for victim in VICTIMS:
        of = [kill for kill in kills if kill.victim == victim]
        seconds = sorted(kill.recovery_seconds for kill in of if kill.recovery_seconds is not None)
        told = f"{seconds[len(seconds) // 2]:.0f}, {seconds[-1]:.0f}" if seconds else ""
        lines.append(f"| {victim} | {len(of)} | {max((kill.redone_steps for kill in of), default=0)} | {told} |")
    return "\n".join([*lines, *_wrong(rounds), ""])


def _wrong(rounds: list[Round]) -> list[str]:
    return [difference for one in rounds for difference in one.differences]


def _told(one: Round) -> str:
    killed = ", ".join(kill.victim for kill in one.kills) or "nobody"
    return f"killed {killed}; {one.submissions} submissions; {'; '.join(one.differences) or 'equal'}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
