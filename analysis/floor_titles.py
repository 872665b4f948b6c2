"""Names of what real images score, so that no two settings look alike. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from analysis.plan_types import FloorTask
from analysis.protocols import shown_apart

_DIGEST_SHOWN = 8


def floor_titles(floors: Mapping[str, FloorTask]) -> dict[str, str]:
    """Digest -> title; where titles are alike, with what differs in how they are measured, or else the digest."""
    alike: dict[str, list[FloorTask]] = defaultdict(list)
    for task in floors.values():
        alike[task.title].append(task)
    titles = {task.digest: title for tasks in alike.values() for task, title in zip(tasks, _titles(tasks), strict=True)}
    return {digest: titles[digest] for digest in floors}


def _titles(tasks: Sequence[FloorTask]) -> list[str]:
    if len(tasks) == 1:
        return [tasks[0].title]
    marks = [", ".join(texts) for texts in _differences(tasks)]
    if len(set(marks)) < len(marks):
        marks = [
            ", ".join(filter(None, [mark, task.digest[:_DIGEST_SHOWN]]))
            for mark, task in zip(marks, tasks, strict=True)
        ]
    return [f"{task.title}; {mark}" for task, mark in zip(tasks, marks, strict=True)]


def _differences(tasks: Sequence[FloorTask]) -> list[list[str]]:
    """Of each task what it measures and its values of all fields in which the tasks differ."""
    texts: list[list[str]] = [[] for _ in tasks]
    for name, values in _compared(tasks):
        if any(value != values[0] for value in values):
            for own, text in zip(texts, _shown(values), strict=True):
                if f"{name} {text}" not in own:
                    own.append(f"{name} {text}")
    return texts


def _compared(tasks: Sequence[FloorTask]) -> Iterator[tuple[str, list[object]]]:
    """Everything that may differ, with each task's value; fields of metrics that all of them have."""
    yield "metrics", [" ".join(task.protocols) for task in tasks]
    for metric, protocol in tasks[0].protocols.items():
        if all(metric in task.protocols for task in tasks):
            yield from (
                (field, [task.protocols[metric].values.get(field) for task in tasks]) for field in protocol.values
            )


def _shown(values: Sequence[object]) -> list[str]:
    """Values for people, short, but in full where unequal ones would look alike."""
    distinct: list[object] = []
    for value in values:
        if value not in distinct:
            distinct.append(value)
    texts = shown_apart(distinct)
    return [texts[distinct.index(value)] for value in values]
