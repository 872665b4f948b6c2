"""Plain values that YAML 1.1 reads as something else than most people mean: `010`, `1:00`, `1_000`, `no`."""

from __future__ import annotations

import re
from collections.abc import Iterator

import yaml
from yaml.events import ScalarEvent

_WORD = re.compile(r"(?i)yes|no|on|off")
_NUMBER = re.compile(
    r"[-+]?(?:0[0-9_]+"  # octal
    r"|0o[0-7_]+"  # octal in YAML 1.2, text in 1.1
    r"|[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?"  # base 60
    r"|(?=[^_]*_)[0-9][0-9_]*(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]+)?)"  # 1_000
)
_MOST_DIGITS = 40
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def misread_values(text: str) -> Iterator[tuple[int, str]]:
    """Yield line and message of each plain key or value that would be misread. Raises: YAMLError if it is no YAML."""
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, ScalarEvent) and event.implicit[0] and (message := _misreading(event.value)):
            yield (event.start_mark.line if event.start_mark else 0) + 1, message


def _misreading(text: str) -> str:
    """Return what a plain value is read as and what to write instead; "" if it is read as it looks."""
    quoted = f"'{text}' in quotes if it is text"
    if _WORD.fullmatch(text):
        return f"{text} is read as {str(yaml.safe_load(text)).lower()}: write that, or {quoted}"
    if not _NUMBER.fullmatch(text):
        return ""
    if len(text) > _MOST_DIGITS:
        return f"{text[:_MOST_DIGITS]}... would be misread: write it in quotes if it is text"
    read, digits = yaml.safe_load(text), text.replace("_", "")
    meant = [int(digits)] if digits.lstrip("+-").isdecimal() else [int(digits, 8)] if "o" in digits else []
    meant += [] if isinstance(read, str) else [read]
    options = [*dict.fromkeys(map(str, meant)), quoted]
    return f"{text} is read as {'text' if isinstance(read, str) else read}: write {' or '.join(options)}"
