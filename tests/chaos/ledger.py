"""Rounds that were run, a line of JSON each, and their report."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.chaos.victims import KINDS


@dataclass
class Kill:
    """One process killed."""

    victim: str
    share_of_life: float
    """Moment, as a share of the length of an undisturbed life."""
    redone_steps: int | None
    """Steps that running trainings had made since their newest checkpoints; None: not looked at."""
    recovery_seconds: float | None = None
    """Time until a new checkpoint or record was there; None: never, or nothing was left to do."""


@dataclass
class Round:
    """One sweep."""

    seed: int
    place: str
    is_new: bool
    """True for an empty root, but for what real images score."""
    kills: list[Kill] = field(default_factory=list)
    submissions: int = 0
    seconds: float = 0.0
    differences: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        killed = ", ".join(kill.victim for kill in self.kills) or "nobody"
        found = "; ".join(self.differences) or "equal"
        root = "new" if self.is_new else "old"
        return (
            f"{root} root, {self.place}: killed {killed}; {self.submissions} submissions, {self.seconds:.0f} s; {found}"
        )


def read_ledger(path: Path | None) -> list[Round]:
    """Return the rounds of earlier pieces."""
    if path is None or not path.exists():
        return []
    lines = (json.loads(line) for line in path.read_text().splitlines())
    return [Round(**{**line, "kills": [Kill(**kill) for kill in line["kills"]]}) for line in lines]


def append(path: Path | None, one: Round) -> None:
    if path is not None:
        with path.open("a") as file:
            file.write(json.dumps(asdict(one)) + "\n")


def num_killed(rounds: Iterable[Round]) -> dict[str, int]:
    """Return how often each kind was killed."""
    found = dict.fromkeys(KINDS, 0)
    for one in rounds:
        for kill in one.kills:
            found[kill.victim] += 1
    return found


def report(rounds: Sequence[Round]) -> str:
    """Write tables by victim, by place and by moment, in Markdown."""
    kills = [kill for one in rounds for kill in one.kills]
    wrong = [difference for one in rounds for difference in one.differences]
    new = sum(one.is_new for one in rounds)
    lines = [
        f"{len(rounds)} sweeps ({new} in new roots, {len(rounds) - new} in old ones), {len(kills)} processes killed, "
        f"{sum(one.submissions for one in rounds)} submissions, {sum(one.seconds for one in rounds) / 60:.0f} minutes: "
        + ("0 tasks lost, 0 done twice, all equal to the undisturbed one." if not wrong else "NOT EQUAL."),
        "",
        "| killed | times | steps redone, at most | seconds until something new was done, median and most |",
        "|---|--:|--:|--:|",
    ]
    for victim in KINDS:
        of = [kill for kill in kills if kill.victim == victim]
        seconds = sorted(kill.recovery_seconds for kill in of if kill.recovery_seconds is not None)
        told = f"{seconds[len(seconds) // 2]:.0f}, {seconds[-1]:.0f}" if seconds else ""
        redone = max((kill.redone_steps for kill in of if kill.redone_steps is not None), default=0)
        lines.append(f"| {victim} | {len(of)} | {redone} | {told} |")
    lines += ["", "| place | sweeps | killed |", "|---|--:|--:|"]
    for place in dict.fromkeys(one.place for one in rounds):
        there = [one for one in rounds if one.place == place]
        lines.append(f"| {place} | {len(there)} | {sum(len(one.kills) for one in there)} |")
    fifths = [sum(place <= 5 * kill.share_of_life < place + 1 for kill in kills) for place in range(5)]
    late = len(kills) - sum(fifths)
    lines += ["", f"By fifths of an undisturbed life: {', '.join(map(str, fifths))}; later: {late}."]
    return "\n".join([*lines, *(difference[:500] for difference in wrong), ""])
