"""Titles of measurements of real images, so that no two settings look alike. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from analysis.plan.model import FloorTask
from analysis.plan.protocol import shown_apart

_DIGEST_SHOWN = 8
_MOST_ROWS = 3


def real_image_titles(
    tasks: Mapping[str, FloorTask], rows: Mapping[str, Sequence[str]] | None = None
) -> dict[str, str]:
    """Return the title of each task by digest; titles that are alike get an addition that tells them apart.

    The addition is the fields in which the protocols differ, else the rows beside the task, else its digest.

    Args: rows: labels of the rows beside each task, by its digest; None to leave them out.
    """
    alike: dict[str, list[FloorTask]] = defaultdict(list)
    for task in tasks.values():
        alike[task.title].append(task)
    marks = {
        task.digest: mark for group in alike.values() for task, mark in zip(group, _marks(group, rows), strict=True)
    }
    return {digest: "; ".join(filter(None, [task.title, marks[digest]])) for digest, task in tasks.items()}


def _marks(tasks: Sequence[FloorTask], rows: Mapping[str, Sequence[str]] | None) -> list[str]:
    """Return the text that tells each task of one title apart; empty for a single task."""
    if len(tasks) == 1:
        return [""]
    marks = [", ".join(texts) for texts in _differences(tasks)]
    if len(set(marks)) == len(marks):
        return marks
    beside = [_beside((rows or {}).get(task.digest, ())) for task in tasks]
    if len(set(beside)) < len(beside):
        beside = [task.digest[:_DIGEST_SHOWN] for task in tasks]
    return [", ".join(filter(None, pair)) for pair in zip(marks, beside, strict=True)]


def _beside(rows: Sequence[str]) -> str:
    more = f" and {len(rows) - _MOST_ROWS} more" if len(rows) > _MOST_ROWS else ""
    return f"beside {', '.join(rows[:_MOST_ROWS])}{more}" if rows else ""


def _differences(tasks: Sequence[FloorTask]) -> list[list[str]]:
    """Return, for each task, its values of all fields in which the tasks differ."""
    texts: list[list[str]] = [[] for _ in tasks]
    for name, values in _compared(tasks):
        if any(value != values[0] for value in values):
            for own, text in zip(texts, shown_apart(values), strict=True):
                if f"{name} {text}" not in own:
                    own.append(f"{name} {text}")
    return texts


def _compared(tasks: Sequence[FloorTask]) -> Iterator[tuple[str, list[object]]]:
    """Yield everything that may differ, with each task's value; fields only of metrics that all of them have."""
    yield "metrics", [" ".join(task.protocols) for task in tasks]
    for metric, protocol in tasks[0].protocols.items():
        if all(metric in task.protocols for task in tasks):
            yield from (
                (field, [task.protocols[metric].values.get(field) for task in tasks]) for field in protocol.values
            )
