"""Limits of YAML that keep a hostile file from harming its reader, checked before anything is built from it."""

from __future__ import annotations

import yaml
from yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, Event, NodeEvent, ScalarEvent

MAX_YAML_BYTES = 1_000_000
MAX_DEPTH = 32
MAX_NODES = 200_000
"""Values and keys, those that aliases repeat counted each time: a few lines of aliases can stand for billions."""
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def check_yaml(text: str) -> None:
    """Raise ValueError for a tag, an alias in itself, too much depth, too many values, or one text; YAMLError if it is
    no YAML. No message repeats what the text holds: it may be any file that a `base:` names."""
    sizes: dict[str, int] = {}  # anchor -> size of its node, aliases expanded
    open_nodes: list[tuple[str | None, int]] = []  # (anchor, size so far)
    for event in yaml.parse(text, Loader=_LOADER):
        size = _size(event, sizes)
        if isinstance(event, CollectionStartEvent):
            open_nodes.append((event.anchor, size))
            if len(open_nodes) > MAX_DEPTH:
                raise ValueError(f"deeper than {MAX_DEPTH} levels{_line(event)}")
            continue
        anchor = event.anchor if isinstance(event, ScalarEvent) else None
        if isinstance(event, CollectionEndEvent):
            anchor, size = open_nodes.pop()
        if anchor is not None:
            sizes[anchor] = size
        elif isinstance(event, ScalarEvent) and not open_nodes:
            raise ValueError("one text, no mapping of names to values")
        if open_nodes:
            parent, before = open_nodes[-1]
            size += before
            open_nodes[-1] = parent, size
        if size > MAX_NODES:
            raise ValueError(f"more than {MAX_NODES} values, aliases expanded{_line(event)}")


def _size(event: Event, sizes: dict[str, int]) -> int:
    """Return the number of values that a node itself is. Raises: ValueError for a tag or a premature alias."""
    if isinstance(event, AliasEvent):
        if event.anchor not in sizes:
            raise ValueError(f"an alias is not of anything complete before it{_line(event)}")
        return sizes[event.anchor]
    tag = event.tag if isinstance(event, (ScalarEvent, CollectionStartEvent)) else None
    if tag is not None:
        raise ValueError(f"a tag is not allowed: give plain values{_line(event)}")
    return 1 if isinstance(event, NodeEvent) else 0


def _line(event: Event) -> str:
    return "" if event.start_mark is None else f" (line {event.start_mark.line + 1})"
