"""The versions of the code that the numbers come from, if they are more than one. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from analysis.plan.model import PublishedPlan
from analysis.records.record import Record

_SHOWN = 10
_MOST_NAMED = 3


def versions_note(plan: PublishedPlan, records: Mapping[str, Record]) -> str:
    """Return which tasks came from which version; empty if all that say so came from one.

    A digest covers the version of the numerics, so numbers of one plan may stand together whatever commit made them;
    whether they should is the reader's to say, who is told.
    """
    titles = {digest: task.title for digest, task in plan.evaluations.items()} | plan.training_labels()
    users: dict[str, list[str]] = {}
    named: dict[str, str] = {}
    for digest, title in titles.items():
        record = records.get(digest)
        code, version = _version(record.provenance) if record is not None and record.status == "done" else ("", "")
        if code:
            users.setdefault(code, []).append(title)
            named.setdefault(code, version)
    if len(users) < 2:
        return ""
    ordered = sorted(users.items(), key=lambda item: (-len(item[1]), item[0]))
    texts = [f"{named[code]} ({_listed(names)})" for code, names in ordered]
    return f"The numbers come from {len(users)} versions of the code, all of the same numerics: {'; '.join(texts)}."


def _version(provenance: Mapping[str, object]) -> tuple[str, str]:
    """Return the code's identity, and its name: the same code may stand in several commits."""
    source = provenance.get("source")
    if not isinstance(source, Mapping):
        return "", ""
    commit, digest = str(source.get("git_commit") or ""), str(source.get("source_digest") or "")
    named = f"commit {commit[:_SHOWN]}" if commit and " " not in commit else ""
    named += " with uncommitted changes" if named and source.get("uncommitted_diff") else ""
    return digest or named, ", ".join(filter(None, [named, f"source {digest[:_SHOWN]}" if digest else ""]))


def _listed(names: list[str]) -> str:
    rest = len(names) - _MOST_NAMED
    return "; ".join(names) if rest <= 0 else f"{'; '.join(names[:_MOST_NAMED])} and {rest} more"
