"""The classes of a dataset, as found and as asked for."""

from __future__ import annotations

import difflib
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Sequence

_MAX_SHOWN = 10


def spelling_of(known: Collection[str]) -> Callable[[str], str]:
    """Return a function that spells a name as the known one that differs in its Unicode form alone, if there is one.

    Archives made on macOS may hold letter and accent apart (NFD) where a list holds one character (NFC).
    """
    exact, composed = set(known), {unicodedata.normalize("NFC", name): name for name in known}
    return lambda name: name if name in exact else composed.get(unicodedata.normalize("NFC", name), name)


def agreed_classes(found: Collection[str], wanted: Sequence[str] | None, place: str) -> tuple[str, ...]:
    """Class names in the order of their labels: as wanted, or sorted without a wanted order.

    Raises: ValueError naming every class that is on one side only, or wanted twice.
    """
    if wanted is None:
        return tuple(sorted(found))
    problems, there, spelled = [], set(found), spelling_of(found)
    wanted = [spelled(name) for name in wanted]
    if twice := sorted(name for name, count in Counter(wanted).items() if count > 1):
        problems.append(f"the class list names twice: {_shown(twice)}")
    if missing := [name for name in wanted if name not in there]:
        problems.append(f"of the class list there are no samples: {_shown(missing, found)}")
    if more := sorted(there - set(wanted)):
        problems.append(f"the class list does not have: {_shown(more, wanted)}")
    if problems:
        raise ValueError(f"{place}: {len(found)} classes, the class list has {len(wanted)}; {'; '.join(problems)}")
    return tuple(wanted)


def _shown(names: Sequence[str], known: Collection[str] = ()) -> str:
    shown = []
    for name in names[:_MAX_SHOWN]:
        near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.8)
        shown.append(repr(name) + (f" (there is {near[0]!r})" if near else ""))
    return ", ".join(shown) + (f" and {len(names) - _MAX_SHOWN} more" if len(names) > _MAX_SHOWN else "")
