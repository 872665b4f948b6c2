"""Mistakes of the user: collected, reported all at once, exit code 2, no traceback."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from orchestration.common.exit_codes import EXIT_INTERRUPTED, EXIT_USER_ERROR
from orchestration.common.other_names import meant_by
from orchestration.common.wording import counted

_MOST_MEANT = 3
"""Names of which a message asks whether they are meant."""


@dataclass(frozen=True)
class Problem:
    """One mistake: where it is and what to do about it."""

    where: str
    """file: key, or the name of what was given."""
    message: str
    whose: str = ""
    """Owner of the mistake where several share a place, e.g. a row; see `merge_duplicates`."""

    def __str__(self) -> str:
        return f"{self.where}{f' ({self.whose})' if self.whose else ''}: {self.message}"


def merge_duplicates(problems: Iterable[Problem]) -> list[Problem]:
    """Return the same problems, with one that several rows share reported once for all of them."""
    owners: dict[tuple[str, str], list[str]] = {}
    for problem in problems:
        owners.setdefault((problem.where, problem.message), []).append(problem.whose)
    merged = []
    for (where, message), whose in owners.items():
        distinct = list(dict.fromkeys(whose))
        more = f" and {len(distinct) - 1} more" if len(distinct) > 1 else ""
        merged.append(Problem(where, message, f"{distinct[0]}{more}"))
    return merged


class UserError(Exception):
    """One or more mistakes that only the user can fix."""

    exit_code: ClassVar[int] = EXIT_USER_ERROR

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(dict.fromkeys(problems))
        assert self.problems, "a UserError needs at least one problem"
        super().__init__("\n".join(map(str, self.problems)))

    @classmethod
    def of(cls, where: str, message: str) -> UserError:
        return cls([Problem(where, message)])

    @property
    def headline(self) -> str:
        return f"{counted(len(self.problems), 'mistake')}; nothing was started"


def cause_of(error: BaseException) -> BaseException:
    """Return the first error of those that were raised from each other."""
    seen = {id(error)}
    while error.__cause__ is not None and id(error.__cause__) not in seen:
        error = error.__cause__
        seen.add(id(error))
    return error


def tell_mistakes(error: UserError) -> int:
    """Print the mistakes that the user has to fix. Return the exit code."""
    print(f"{error.headline}:", file=sys.stderr)
    for problem in error.problems:
        print(f"  {problem}", file=sys.stderr)
    return error.exit_code


def tell_interruption(more: str = "") -> int:
    """Print that Ctrl-C ended the program. Return the exit code."""
    print(f"\nInterrupted.{more}", file=sys.stderr)
    return EXIT_INTERRUPTED


def nearest(name: object, known: Sequence[str], cutoff: float = 0.6) -> str:
    """Return "; did you mean 'x'?" if known names are meant or one is close, else nothing.

    Another name for a key that people use (`OTHER_NAMES`), the end of a dotted key, or the same letters in another case
    mean it whatever is close.

    Args: cutoff: similarity that counts as close, in [0, 1]; 1: none but these.
    """
    given = str(name)
    matches = [one for one in known if one != given and one.lower() == given.lower()] or _meant(given, known)
    matches = matches or difflib.get_close_matches(given, known, n=1, cutoff=cutoff)
    return f"; did you mean {' or '.join(map(repr, matches[:_MOST_MEANT]))}?" if matches else ""


def _meant(given: str, known: Sequence[str]) -> list[str]:
    """Return the known keys that a name, or the end of a dotted one, means: of a dotted one the closest alone."""
    meant = meant_by(given)
    ends = [one for one in known if one != given and one.rpartition(".")[2] in meant]
    least = min((one.count(".") for one in ends), default=0)
    ends = [one for one in ends if one.count(".") == least]
    if "." in given:
        return difflib.get_close_matches(given, ends, n=1, cutoff=0.0)
    return sorted(ends, key=lambda one: meant.index(one.rpartition(".")[2]))


def known_names(name: object, known: Collection[str]) -> str:
    """Return the end of a message about an unknown name: the nearest known one, and all of them."""
    return f"{nearest(name, list(known)) or ';'} known: {', '.join(known) or 'none'}"


def unknown_key(key: object, known: Sequence[str], hint: str = "") -> str:
    """Return the message about an unknown key. Args: hint: what is meant instead, if no known key is near."""
    return f"unknown key{nearest(key, known) or hint}; known here: {', '.join(known)}"
