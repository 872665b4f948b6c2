"""The rows of `doctor`: the result of each check of a cluster, and what to do about it. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rich.box import SIMPLE
from rich.table import Table

from orchestration.common.console import make_console
from orchestration.common.redaction import shown
from orchestration.diagnosis.check_collectives import Collective
from orchestration.diagnosis.check_nodes import PROBE_BYTES, NodeReport

State = Literal["ok", "note", "FAILED"]
MAX_CLOCK_SECONDS = 2.0
LEAST_FREE_BYTES = 20_000_000_000
LEAST_BYTES_PER_SECOND: Mapping[str, float] = {"nccl": 1e9, "gloo": 5e7}
"""Below this a training waits for its gradients: a wrong interface, or a network that something else fills."""


@dataclass(frozen=True)
class CheckResult:
    """The result of one check."""

    check: str
    where: str
    state: State
    found: str
    advice: str = ""
    """Instruction for the user; empty where nothing is to be done."""


def node_rows(reports: Sequence[NodeReport]) -> Iterator[CheckResult]:
    """Judge the nodes by themselves and against each other."""
    yield from (
        CheckResult(
            "node", report.name, "FAILED", report.problem, "look at that node's Ray logs, or take it out of the cluster"
        )
        for report in reports
        if report.problem
    )
    answering = [report for report in reports if not report.problem]
    yield from _version_rows(answering)
    yield from _gpu_rows(answering)
    for row_of in (_storage_row, _clock_row, _disk_row):
        yield from map(row_of, answering)


def _version_rows(reports: Sequence[NodeReport]) -> Iterator[CheckResult]:
    keys = sorted({key for report in reports for key in report.versions})
    differing = 0
    for key in keys:
        where: dict[str, list[str]] = defaultdict(list)
        for report in reports:
            where[report.versions.get(key, "unknown")].append(report.name)
        if len(where) > 1:
            differing += 1
            versions_text = "; ".join(f"{value} on {', '.join(names)}" for value, names in sorted(where.items()))
            advice = "install constraints.txt on every node (docs/running.md), then start Ray there anew"
            yield CheckResult("versions", key, "FAILED", versions_text, advice)
    if reports and not differing:
        versions = reports[0].versions
        versions_text = ", ".join(
            f"{key} {versions[key]}" for key in ("python", "ray", "torch", "deepspeed") if key in versions
        )
        yield CheckResult("versions", f"{len(reports)} node(s)", "ok", f"the same everywhere: {versions_text}")


def _gpu_rows(reports: Sequence[NodeReport]) -> Iterator[CheckResult]:
    for report in reports:
        if len(report.gpus) != report.ray_gpus:
            numbers = f"{len(report.gpus)} there, {report.ray_gpus:g} given out by Ray"
            advice = "start Ray there with --num-gpus as many as there are, or fix the driver (nvidia-smi)"
            yield CheckResult("GPUs", report.name, "FAILED", numbers, advice)
    kinds = sorted({gpu for report in reports for gpu in report.gpus})
    total = sum(len(report.gpus) for report in reports)
    if not total:
        yield CheckResult("GPUs", "all nodes", "ok", "none: trainings run on CPUs")
    elif len(kinds) == 1:
        yield CheckResult("GPUs", "all nodes", "ok", f"{total} of {kinds[0]}")
    else:
        advice = "a training runs at the pace of its slowest GPU: keep models and drivers apart by node type"
        yield CheckResult("GPUs", "all nodes", "note", f"{total} of {len(kinds)} kinds: {'; '.join(kinds)}", advice)


def _storage_row(report: NodeReport) -> CheckResult:
    if report.storage_problem:
        advice = "give every node the credentials and the way there, or a root that all share (s3://..., NFS)"
        return CheckResult("storage", report.name, "FAILED", report.storage_problem, advice)
    rate = 2 * PROBE_BYTES / max(report.storage_seconds, 1e-6) / 1e6
    return CheckResult(
        "storage", report.name, "ok", f"wrote, read back and removed {PROBE_BYTES // 10**6} MB, {rate:.0f} MB/s"
    )


def _clock_row(report: NodeReport) -> CheckResult:
    ahead = f"{report.clock_seconds:+.3f} s, within {report.clock_error_seconds:.3f} s"
    if abs(report.clock_seconds) - report.clock_error_seconds > MAX_CLOCK_SECONDS:
        advice = "let chrony or ntpd set its clock: S3 refuses signatures, and TLS certificates, of another time"
        return CheckResult("clock", report.name, "FAILED", ahead, advice)
    return CheckResult("clock", report.name, "ok", ahead)


def _disk_row(report: NodeReport) -> CheckResult:
    space = f"{report.free_bytes / 1e9:.0f} GB free for temporary files"
    if report.free_bytes < LEAST_FREE_BYTES:
        advice = (
            f"free some, or point TMPDIR elsewhere: checkpoints are written there first; {LEAST_FREE_BYTES // 10**9} GB"
        )
        return CheckResult("disk", report.name, "FAILED", space, advice)
    return CheckResult("disk", report.name, "ok", space)


def collective_row(collective: Collective) -> CheckResult:
    """Judge the workers' network."""
    where = f"{collective.num_workers} workers, {collective.backend}"
    if collective.problem:
        advice = "open all ports between the nodes, and name the interface: NCCL_SOCKET_IFNAME, GLOO_SOCKET_IFNAME"
        return CheckResult("collectives", where, "FAILED", collective.problem, advice)
    if collective.num_workers == 1:
        return CheckResult("collectives", where, "ok", "one worker has nobody to wait for")
    rate = f"all-reduce of {collective.num_bytes / 1e6:.0f} MB: {collective.bytes_per_second / 1e9:.2f} GB/s"
    if collective.bytes_per_second < LEAST_BYTES_PER_SECOND[collective.backend]:
        least = LEAST_BYTES_PER_SECOND[collective.backend] / 1e9
        advice = f"less than {least:g} GB/s: trainings will wait for it. Is it the fast interface (NCCL_SOCKET_IFNAME)?"
        return CheckResult("collectives", where, "FAILED", rate, advice)
    return CheckResult("collectives", where, "ok", rate)


@dataclass
class Redaction:
    """Names of this cluster and the words that replace them; equal names get equal words."""

    enabled: bool
    words: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, word: str) -> None:
        if name:
            self.words.setdefault(name, f"<{word}>")

    def of(self, text: str) -> str:
        """Return the text without secrets and, if enabled, without names."""
        if self.enabled:
            for name in sorted(self.words, key=len, reverse=True):
                text = text.replace(name, self.words[name])
        return shown(text)


def print_rows(rows: Sequence[CheckResult], redaction: Redaction) -> None:
    """Print the table and the number of failures."""
    table = Table("check", "where", "", "found", "what to do", box=SIMPLE)
    for row in rows:
        table.add_row(row.check, *map(redaction.of, (row.where, row.state, row.found, row.advice)))
    console = make_console()
    console.print(table)
    counts = Counter(row.state for row in rows)
    failed, notes = counts["FAILED"], counts["note"]
    console.print(f"{len(rows)} checks: {failed} failed, {notes} to be thought about, {counts['ok']} well.")
