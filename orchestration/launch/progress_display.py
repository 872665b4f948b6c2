"""The display of a running sweep: a bar a task in a terminal, a plain line now and then in a log."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from orchestration.common.console import clock, make_console
from orchestration.control.heartbeat import TaskProgress, Waiting
from orchestration.launch.task_table import resume_text
from orchestration.tasks.task import Task

_LINE_SECONDS = 15.0


@dataclass
class _Running:
    task: Task
    total: int
    began: float
    started: float
    """Monotonic time at which the first progress of this attempt was seen."""
    first: int | None = None
    done: int = 0
    loss: float | None = None
    last_line: float = 0.0
    bar: TaskID | None = None

    def describe(self) -> str:
        """Return the progress in one line: "train dfm: 340/800 steps, 4.2 steps/s, ETA 1:50, loss 0.31"."""
        unit = self.task.unit
        text = f"{self.task.kind} {self.task.title}: {self.done}/{self.total} {unit}"
        rate = self.rate()
        if rate > 0:
            text += f", {rate:.1f} {unit}/s, ETA {clock((self.total - self.done) / rate)}"
        return text if self.loss is None else f"{text}, loss {self.loss:.4f}"

    def rate(self) -> float:
        """Return units per second since the first progress of this attempt (a resumed task starts in the middle)."""
        return (self.done - (self.first or 0)) / max(time.monotonic() - self.started, 1e-9)


class Display:
    """Prints plan, progress and outcome."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or make_console()
        self._running: dict[str, _Running] = {}
        self.restarts: Counter[str] = Counter()
        """Number of restarts of workers, by digest of their training; "evaluators": of those."""
        self.waiting: tuple[Waiting, ...] = ()
        """Work that has waited for room on the cluster for long; the heartbeat tells it."""
        self._progress: Progress | None = None
        if self.console.is_terminal:
            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TextColumn("{task.completed}/{task.total} {task.fields[rate]}"),
                TimeRemainingColumn(),
            )
            self._progress = Progress(*columns, console=self.console, transient=True)

    def say(self, text: str) -> None:
        self.console.print(text, markup=False)

    def started(self, task: Task, total: int, resume_step: int = 0) -> None:
        """Tell of a task that starts. Args: resume_step: of a training that was cut off before; 0: it is new."""
        how = resume_text(resume_step) if resume_step else "started"
        running = self._running[task.digest] = _Running(task, total, time.monotonic(), time.monotonic())
        if self._progress:
            self._progress.start()  # once; here, since a launch without a task shows no bars
            shown = self.console.render_str(f"{task.kind} {task.title}", markup=False).plain
            running.bar = self._progress.add_task(shown, total=total, rate="")
        else:
            self.say(f"[{_now()}] {task.kind} {task.title}: {how}")

    def reached(self, digest: str, done: int) -> None:
        running = self._running.get(digest)
        if running is None:
            return
        now = time.monotonic()
        if running.first is None or done < running.done:
            running.first, running.started = done, now
        running.done = done
        if self._progress and running.bar is not None:
            rate = f"{running.task.unit}, {running.rate():.1f}/s"
            self._progress.update(running.bar, completed=done, rate=rate)
        elif now - running.last_line > _LINE_SECONDS:
            running.last_line = now
            self.say(f"[{_now()}] {running.describe()}")

    def retried(self, digest: str, line: str) -> None:
        """Tell of an attempt that ended with an error; Ray restarts the workers from the last checkpoint."""
        running = self._running.get(digest)
        name = f"{running.task.kind} {running.task.title}" if running else digest
        self.restarts[digest] += 1
        self.say(f"[{_now()}] {name}: attempt ended ({line.strip().splitlines()[0]}); starting again")

    def evaluator_retried(self, line: str) -> None:
        """Tell of an evaluator that is replaced, or a call that is made again."""
        self.restarts["evaluators"] += 1
        self.say(line)

    def progress(self) -> tuple[TaskProgress, ...]:
        """Return the progress of all running tasks, for the heartbeat; called from another thread."""
        return tuple(
            TaskProgress(digest, running.done, running.total, running.rate() if running.first is not None else 0.0)
            for digest, running in list(self._running.items())
        )

    def rates(self) -> list[tuple[Task, float, float | None]]:
        """Return (task, units a second, newest loss) of all running tasks; None: it has no loss."""
        return [
            (running.task, running.rate() if running.first is not None else 0.0, running.loss)
            for running in self._running.values()
        ]

    def loss(self, digest: str, value: float) -> None:
        if digest in self._running:
            self._running[digest].loss = value

    def ended(self, task: Task, outcome: str) -> None:
        running = self._running.pop(task.digest, None)
        if running and self._progress and running.bar is not None:
            self._progress.remove_task(running.bar)
        seconds = f" in {clock(time.monotonic() - running.began)}" if running else ""
        self.say(f"[{_now()}] {task.kind} {task.title}: {outcome}{seconds if outcome == 'done' else ''}")

    def close(self) -> None:
        if self._progress:
            self._progress.stop()


def _now() -> str:
    return time.strftime("%H:%M:%S")
