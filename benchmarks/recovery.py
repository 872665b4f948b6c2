"""Costs of faults for a training: ours and plain Ray Train's, in one run.

    python benchmarks/recovery.py --steps 60 --every 10 --at 37

Each training has a Ray of its own and two workers. A fault happens once, in step `--at`: a worker is killed, hangs, or
gets a NaN loss; the driver is killed with all that it started, and the same command begins again; or that, and
meanwhile a bit of the newest checkpoint flips, or it is cut short. The table shows the steps that were made again, the
longest time without a new step, and the outcome, beside the same training without a fault.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

_DRIVERS = Path(__file__).with_name("recovery_drivers.py")
_WORKER_FAULTS = {"a worker is killed": "kill", "a worker hangs": "hang", "a loss is no number": "nan"}
_FAULTS = ("none", *_WORKER_FAULTS, "the driver is killed", "a bit flips", "a checkpoint is cut short")
_STATE_FILES = {"ours": "store/checkpoints/*/step-*/*.safetensors", "stock": "stock/*/state.pt"}
_ATTEMPTS = 2


@dataclass(frozen=True)
class Options:
    """The command line."""

    steps: int
    every: int
    at: int
    limit: float
    faults: list[str]


@dataclass(frozen=True)
class Ended:
    """Course of a training."""

    redone: int
    """Steps that were made more than once."""
    waited: float
    """Longest time without a new step, in seconds."""
    step_seconds: float
    """Median seconds of a step."""
    digest: str
    """Digest of the weights; "" if there are none."""
    how: str

    def told(self, undisturbed: str) -> str:
        if not self.digest or self.how:
            return self.how
        return "the same weights, to the bit" if self.digest == undisturbed else "other weights"


def trained(whose: str, fault: str, step_seconds: float, options: Options) -> Ended:
    """Run one disturbed training in a folder of its own. Args: step_seconds: seconds of the stock training's step."""
    with tempfile.TemporaryDirectory(prefix="dfm-", ignore_cleanup_errors=True) as made:
        folder = Path(made)
        arguments = [sys.executable, str(_DRIVERS), whose, made, "--steps", str(options.steps)]
        arguments += ["--every", str(options.every), "--step-seconds", str(step_seconds)]
        environment = {name: value for name, value in os.environ.items() if name not in ("DFM_FAULT", "RAY_ADDRESS")}
        if fault in _WORKER_FAULTS:
            environment["DFM_FAULT"] = f"1:{options.at}:{_WORKER_FAULTS[fault]}"
        killed_at = options.at if fault in _FAULTS[-3:] else None
        deadline = time.monotonic() + options.limit
        for attempt in range(_ATTEMPTS):
            is_killed = attempt == 0 and killed_at is not None
            code = _driven(arguments, environment, folder, deadline, killed_at if is_killed else None)
            if not is_killed:
                break
            assert code is None, f"the driver had ended with code {code} before it could be killed"
            newest = max(folder.glob(_STATE_FILES[whose]), key=lambda path: (path.stat().st_mtime, path.stat().st_size))
            if fault == "a bit flips":
                _flip_a_bit(newest)
            elif fault == "a checkpoint is cut short":
                os.truncate(newest, newest.stat().st_size // 2)
        return _ended(folder, code, options)


def _driven(
    arguments: list[str], environment: dict[str, str], folder: Path, deadline: float, killed_at: int | None
) -> int | None:
    """Run a driver to its end. Returns its code; None: it still ran at the deadline. Args: killed_at: a step."""
    with (folder / "log").open("ab") as log:
        driver = subprocess.Popen(arguments, env=environment, stdout=log, stderr=log)
        try:
            while driver.poll() is None and time.monotonic() < deadline:
                if killed_at is not None and any(step >= killed_at for _, step in _steps(folder)):
                    break
                time.sleep(0.02)
            return driver.poll()
        finally:
            if driver.poll() is None:
                _kill_all(driver.pid)
                driver.wait()


def _kill_all(driver: int) -> None:
    """Kill a driver with all that it started, as a machine fails: else its workers would train on for seconds."""
    tree = psutil.Process(driver)
    for process in (tree, *tree.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            process.kill()


def _flip_a_bit(file: Path) -> None:
    """Damage a checkpoint in the middle, where the weights are."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0x40
    file.write_bytes(content)


def _steps(folder: Path) -> list[tuple[float, int]]:
    """Read (time, step) of every step that was made, in order."""
    file = folder / "steps"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return [(float(when), int(step)) for when, step in (line.split() for line in lines if line.count(" ") == 1)]


def _ended(folder: Path, code: int | None, options: Options) -> Ended:
    steps = _steps(folder)
    redone = sum(max(0, before - step + 1) for (_, before), (_, step) in pairwise(steps))
    new: list[float] = []
    reached = 0
    for when, step in steps:
        if step > reached:
            new.append(when)
            reached = step
    gaps = sorted(later - earlier for earlier, later in pairwise(new)) or [0.0]
    digest, how = "", ""
    if code is None:
        how = f"still at it after {options.limit:.0f} s, at step {reached}"
    elif code != 0:
        how = f"failed at step {reached}: {_last_error(folder / 'log')}"
    else:
        weights = json.loads((folder / "weights.json").read_text(encoding="utf-8"))
        digest, how = weights["digest"], "" if weights["finite"] else "weights that are no numbers, code 0"
    return Ended(redone, gaps[-1], gaps[len(gaps) // 2], digest, how)


def _last_error(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    errors = [line for line in lines if "Error" in line.split(":", maxsplit=1)[0]]
    return (errors or lines or ["it said nothing"])[-1][:80]


def measured(options: Options, told: Callable[[str], None]) -> Table:
    table = Table("fault", "whose", "steps made again", "longest wait for a new step (s)", "at the end")
    undisturbed: dict[str, str] = {}
    step_seconds = 0.0
    for fault in dict.fromkeys(["none", *options.faults]):
        for whose in ("ours", "stock"):
            told(f"{fault}: {whose}")
            ended = trained(whose, fault, step_seconds, options)
            if fault == "none" and whose == "ours":
                step_seconds = ended.step_seconds  # so that the steps of both take as long
            undisturbed.setdefault(whose, ended.digest)
            assert undisturbed[whose], f"the undisturbed training of {whose} failed: {ended.how}"
            table.add_row(fault, whose, str(ended.redone), f"{ended.waited:.1f}", ended.told(undisturbed[whose]))
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60, help="of the training")
    parser.add_argument("--every", type=int, default=10, help="steps between checkpoints")
    parser.add_argument("--at", type=int, default=37, help="the step of the fault")
    parser.add_argument("--limit", type=float, default=180.0, help="seconds for one training, then it is ended")
    parser.add_argument("--faults", nargs="+", choices=_FAULTS, default=list(_FAULTS), metavar="FAULT")
    options = Options(**vars(parser.parse_args()))
    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(measured(options, lambda text: print(text, file=sys.stderr, flush=True)))


if __name__ == "__main__":
    main()
