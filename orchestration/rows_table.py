"""The doctor's rows as a table; redacted, it names no host, address or path and can be shown to others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.box import SIMPLE
from rich.table import Table

from orchestration.diagnosis import Row
from orchestration.display import make_console
from orchestration.redaction import shown


@dataclass
class Redaction:
    """Names of this cluster and what stands for them; equal names get equal words."""

    enabled: bool
    words: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, word: str) -> None:
        if name:
            self.words.setdefault(name, f"<{word}>")

    def of(self, text: str) -> str:
        """The text without secrets, and, where it is wanted, without names."""
        if self.enabled:
            for name in sorted(self.words, key=len, reverse=True):
                text = text.replace(name, self.words[name])
        return shown(text)


def print_rows(rows: Sequence[Row], redaction: Redaction) -> None:
    """The table, and what it comes to."""
    table = Table("check", "where", "", "found", "what to do", box=SIMPLE)
    for row in rows:
        table.add_row(row.check, *map(redaction.of, (row.where, row.state, row.found, row.advice)))
    console = make_console()
    console.print(table)
    counts = Counter(row.state for row in rows)
    failed, notes = counts["FAILED"], counts["note"]
    console.print(f"{len(rows)} checks: {failed} failed, {notes} to be thought about, {counts['ok']} well.")
