"""The published plan as JSON, `plans/<sweep>.json`: orchestration writes it before anything runs, analysis reads it.

Readers trust no file: they expect KeyError, TypeError, ValueError and AttributeError of a damaged one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal, NotRequired, TypedDict, cast

PLAN_FORMAT = 2
DEFAULT_MARGIN = 0.1
"""Largest difference from the paper's number, as a share of it, that counts as none; and between rows."""
Scale = Literal["log", "share", "linear"]
"""log: a distance, which spreads in proportion to its size. share: of samples, in [0, 1]. linear: any other."""
Bands = Literal["pointwise", "simultaneous"]
"""95% of the intervals along a line: of each point for itself, or of all points at once."""
TaskKind = Literal["finetune_autoencoder", "encode", "reference", "probe", "pyramid", "train", "floor", "evaluate"]


class MetricEntry(TypedDict):
    """A metric that the sweep measures."""

    name: str
    title: str
    better: Literal["lower", "higher"]
    about: NotRequired[str]
    scale: NotRequired[Scale]
    """Absent, and so linear, in plans of the first versions."""


class PrimaryEntry(TypedDict):
    """The metric that the sweep's claims rest on, and the parts that make them."""

    metric: str
    parts: list[str]
    """Empty: all."""
    baseline: str | None
    """Row that others are compared with where a part has it; None: the best."""
    difference: float
    """Smallest difference that matters, as a share."""
    spread: float | None
    """Expected deviation over seeds, as a share."""
    targets: NotRequired[list[float]]
    """Values of the metric whose training FLOPs are reported."""
    bands: NotRequired[Bands]
    """Intervals along convergence lines; pointwise in plans that do not say it."""
    declared: bool
    """False: the sweep declares none, and the metric is its first."""


class PricesEntry(TypedDict):
    """Prices of accelerators."""

    currency: str
    per_accelerator_hour: Mapping[str, float]
    """By node type; empty: none is given."""


class TableEntry(TypedDict):
    """The published table that a sweep stands beside."""

    table: str
    metrics: Mapping[str, str]
    """Our metric -> the published one."""
    same_setting: bool
    margin: NotRequired[float]
    """Largest difference from the paper's numbers that counts as none, as a share; absent: `DEFAULT_MARGIN`."""


class PartTableEntry(TypedDict):
    """The part of that table that a part of the sweep stands beside."""

    part: str | None
    guidance: float | None


class RowEntry(TypedDict):
    """A row of a part."""

    label: str
    settings: Mapping[str, Any]
    """Dotted key -> value."""
    short: NotRequired[str]
    """Label in few letters, which tables and figures show; absent: the label itself."""
    long: NotRequired[str]
    """In no file: the label, once `short` has taken its place (`analysis.plan.labels`)."""


class PartEntry(TypedDict):
    """A part of the sweep, a section of its table."""

    name: str
    title: str
    published: PartTableEntry | None
    rows: list[RowEntry]
    search: NotRequired[Mapping[str, Any]]


class EvaluationEntry(TypedDict):
    """An evaluation of a trial."""

    step: int
    digest: str


class TrialEntry(TypedDict):
    """One row at one seed."""

    part: str
    row: str
    seed: int
    train: str
    """Digest of its last training."""
    evaluations: list[EvaluationEntry]


class SourceEntry(TypedDict):
    """Samples whose features a task reads."""

    digest: str
    networks: Mapping[str, str]
    """Feature network -> digest of its weights and preprocessing."""


class TaskEntry(TypedDict):
    """A task; the kinds that have a key stand beside those that not all have."""

    kind: str
    title: str
    inputs: list[str]
    payload: Mapping[str, Any]
    """All that can change its result."""
    sources: NotRequired[list[SourceEntry]]
    """Absent in plans of the first versions."""
    protocols: NotRequired[Mapping[str, Mapping[str, Any]]]
    """floor, evaluate: metric -> protocol."""
    until_step: NotRequired[int]
    """train, finetune_autoencoder."""
    snapshot_steps: NotRequired[list[int]]
    """train, and so are the next four."""
    batch_size: NotRequired[int]
    flops_per_step: NotRequired[int]
    num_parameters: NotRequired[int]
    paradigm: NotRequired[str]
    step: NotRequired[int]
    """evaluate, and so are the following."""
    train: NotRequired[str]
    trained: NotRequired[Mapping[str, int]]
    """Digest of each training behind it -> steps."""
    floor: NotRequired[str | None]
    """Digest of the task that measures real images the same way."""
    sampling: NotRequired[Mapping[str, Any]]
    training_flops: NotRequired[int]
    training_images: NotRequired[int]
    num_evaluations: NotRequired[int]
    """Network evaluations per sample."""
    num_samples: NotRequired[int]
    sampling_flops: NotRequired[int]


class PlanDocument(TypedDict):
    """The whole plan."""

    format: int
    sweep: str
    title: str
    file: str
    command: NotRequired[str]
    """Command that submits the sweep again."""
    seeds: list[int]
    tracking_uri: str
    experiment: str
    budget_flops: NotRequired[float | None]
    equal_compute: NotRequired[bool]
    published: NotRequired[TableEntry | None]
    primary: NotRequired[PrimaryEntry]
    prices: NotRequired[PricesEntry]
    metrics: list[MetricEntry]
    parts: list[PartEntry]
    trials: list[TrialEntry]
    tasks: Mapping[str, TaskEntry]
    """By digest."""


class PlanFormatError(Exception):
    """The plan has another format than this version reads."""

    def __init__(self, given: object) -> None:
        super().__init__(given)
        self.given = given


def parse_plan_document(text: str | bytes) -> PlanDocument:
    """Return the document of a plan's JSON; its entries are not checked.

    Raises: PlanFormatError; ValueError if it is not JSON; KeyError or TypeError if it is no object with a format.
    """
    try:
        document = json.loads(text)
    except RecursionError:
        raise ValueError("its brackets are nested too deep") from None
    if document["format"] != PLAN_FORMAT:
        raise PlanFormatError(document["format"])
    return cast("PlanDocument", document)
