"""A published plan as plain values; `read` parses it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from analysis.contract.plan_schema import DEFAULT_MARGIN, Bands, Scale, TaskKind
from analysis.plan.protocol import Protocol


@dataclass(frozen=True)
class Metric:
    """A metric as a reader has to know it."""

    name: str
    title: str
    better: Literal["lower", "higher"]
    about: str
    scale: Scale = "linear"


@dataclass(frozen=True)
class Primary:
    """The metric that the sweep's claims rest on; all else is exploratory, estimates without a claim."""

    metric: str
    parts: tuple[str, ...] = ()
    """Parts that claims are made of; empty: all but searches."""
    baseline: str | None = None
    """Row that others are compared with where a part has it; None: the best."""
    difference: float = DEFAULT_MARGIN
    """Smallest difference that matters, as a share."""
    spread: float | None = None
    """Expected deviation over seeds, as a share."""
    targets: tuple[float, ...] = ()
    """Values of the metric whose training FLOPs are reported, beside the best of the baselines."""
    bands: Bands = "pointwise"
    """95% of the intervals along a convergence line: of each point for itself, or of all points of a line at once."""
    declared: bool = False
    """False: the sweep declares none, and this is its first metric."""


@dataclass(frozen=True)
class TableCounterpart:
    """The published table that a sweep stands beside."""

    table: str
    metrics: Mapping[str, str]
    """Our metric -> the published one to read beside it."""
    same_setting: bool
    """False: data, model or metric are others than the paper's, so that only the order of the rows compares."""
    margin: float = DEFAULT_MARGIN
    """Largest difference from the paper's number that counts as none, as a share of it."""


@dataclass(frozen=True)
class PartCounterpart:
    """The part of that table that one of our parts stands beside."""

    part: str | None
    """None: the one that is called as ours is, if there is one."""
    guidance: float | None
    """None: the only one that is published, or else 1."""


@dataclass(frozen=True)
class Takeover:
    """The step of a trial of a population, after a comparison, to the training of a better one, with other settings."""

    comparison: int
    """From 0."""
    donor: int
    """Number of the better trial."""
    settings: Mapping[str, Any]
    """Settings from there on."""


@dataclass(frozen=True)
class SearchedTrial:
    """One proposal of a search."""

    row: str
    number: int
    settings: Mapping[str, Any]
    state: str
    values: tuple[float, ...]
    """One per objective, in their order; empty while there are none."""
    is_feasible: bool = True
    takeovers: tuple[Takeover, ...] = ()
    """By comparison; of a population's member."""


@dataclass(frozen=True)
class Search:
    """A search whose trials are rows of a part, as far as it is."""

    objectives: Mapping[str, str]
    """Metric or cost -> minimize or maximize."""
    num_trials: int
    """Wanted."""
    states: Mapping[str, int]
    """Number of proposals by what became of them."""
    best: tuple[str, ...]
    """Labels of the best trials; with two objectives of the Pareto front."""
    trials: tuple[SearchedTrial, ...] = ()
    """All proposals, by number."""
    confirmed: str = ""
    """Part in which the best are measured again on new seeds; empty if none is."""
    brackets: tuple[tuple[int, ...], ...] = ()
    """Numbers of the trials that HyperBand compares with each other; empty for other searches."""
    compared_at: tuple[str, ...] = ()
    """Times of a population's comparisons, e.g. "100 steps"; empty for other searches."""


@dataclass(frozen=True)
class Part:
    """One section of the table and the labels of its rows, in order."""

    name: str
    title: str
    rows: tuple[str, ...]
    published: PartCounterpart | None = None
    search: Search | None = None
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Row -> value of each key that any row of the part sets, where the plan says it: its own, or else the default."""
    long_labels: Mapping[str, str] = field(default_factory=dict)
    """Row -> its label in the sweep, where tables show a shorter one."""

    def label_in_sweep(self, row: str) -> str:
        """Return the label by which the sweep and the paper's numbers name a row."""
        return self.long_labels.get(row, row)


@dataclass(frozen=True)
class Trial:
    """One row at one seed: a training and what is measured along it."""

    part: str
    row: str
    seed: int
    train: str
    evaluations: tuple[tuple[int, str], ...]
    """(step, digest of the evaluate task), by step."""


@dataclass(frozen=True)
class TrainTask:
    """One training: what it costs, per step."""

    digest: str
    title: str
    until_step: int
    batch_size: int
    flops_per_step: int
    num_parameters: int
    paradigm: str = ""
    """Empty if the plan does not say."""
    resolution: int | None = None
    """Side of its images in pixels; None if the plan does not say."""

    @property
    def num_images(self) -> int:
        return self.until_step * self.batch_size

    @property
    def flops(self) -> int:
        return self.until_step * self.flops_per_step


@dataclass(frozen=True)
class EvaluateTask:
    """One measurement of one snapshot."""

    digest: str
    title: str
    step: int
    floor: str | None
    """Digest of the floor task to read beside it; None if real images have none."""
    training_flops: int
    training_images: int
    num_evaluations: int
    """Network evaluations per generated image."""
    num_samples: int
    protocols: Mapping[str, Protocol]
    """Metric -> how it is measured."""
    sampling: Mapping[str, Any]
    """Settings of the sampling, for display only."""
    sampling_flops: int = 0
    """FLOPs of generating all samples; 0 if the plan does not say."""
    metrics: frozenset[str] | None = None
    """Names of what it measures; None if the plan does not say."""
    trained: Mapping[str, int] = field(default_factory=dict)
    """Digests of the trainings behind it -> how many of their steps."""
    noise: str = ""
    """Key of the draw of noise and classes; samples of one index are of the same draw where it is equal."""


@dataclass(frozen=True)
class FloorTask:
    """Real images, measured exactly as the samples are."""

    digest: str
    title: str
    protocols: Mapping[str, Protocol]
    """Metric -> how it is measured; metrics that have no floor are absent."""


@dataclass(frozen=True)
class PublishedPlan:
    """Everything the analysis knows of a sweep without asking MLflow."""

    sweep: str
    title: str
    file: str
    seeds: tuple[int, ...]
    tracking_uri: str
    experiment: str
    metrics: tuple[Metric, ...]
    parts: tuple[Part, ...]
    trials: tuple[Trial, ...]
    trainings: Mapping[str, TrainTask]
    evaluations: Mapping[str, EvaluateTask]
    floors: Mapping[str, FloorTask]
    titles: Mapping[TaskKind, Mapping[str, str]]
    """Kind -> digest -> title, of the tasks that the tables only need by name: all other kinds."""
    published: TableCounterpart | None = None
    equal_compute: bool = True
    """False if the sweep allows rows of unequal training compute in one part."""
    command: str = ""
    """Command that submits it again."""
    payloads: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Digest of each task -> exactly what decides its result, as its run's task.json has it."""

    primary: Primary = field(default_factory=lambda: Primary(""))
    currency: str = ""
    prices: Mapping[str, float] = field(default_factory=dict)
    """Node type -> price of an accelerator-hour; empty if the sweep gives none."""

    def claims_in(self, part: Part) -> bool:
        """Return True if the sweep makes claims of a part: a declared one that is no search, with rows to compare.

        The best of a search's trials was chosen among many on the same numbers.
        """
        declared = self.primary.parts
        return part.search is None and len(part.rows) > 1 and (not declared or part.name in declared)

    @cached_property
    def num_families(self) -> int:
        """Families of claims in the report: rows among each other and, of the same setting, beside the paper, by part.

        The chance of any false claim in the whole report is spread over them.
        """
        beside = 2 if self.published is not None and self.published.same_setting else 1
        return max(1, beside * sum(map(self.claims_in, self.parts)))

    @cached_property
    def kinds(self) -> Mapping[str, TaskKind]:
        """Digest of each task -> what it is."""
        return {
            **{digest: kind for kind, tasks in self.titles.items() for digest in tasks},
            **dict.fromkeys(self.trainings, "train"),
            **dict.fromkeys(self.floors, "floor"),
            **dict.fromkeys(self.evaluations, "evaluate"),
        }

    def trials_of(self, part: str, row: str) -> tuple[Trial, ...]:
        """The trials of a row, one per seed."""
        return self._trials_by_row.get((part, row), ())

    @cached_property
    def _trials_by_row(self) -> dict[tuple[str, str], tuple[Trial, ...]]:
        trials_by_row: dict[tuple[str, str], list[Trial]] = defaultdict(list)
        for trial in self.trials:
            trials_by_row[trial.part, trial.row].append(trial)
        return {key: tuple(trials) for key, trials in trials_by_row.items()}

    def training_labels(self) -> dict[str, str]:
        """Digest of each training -> its title, with the first row that needs it where titles are alike."""
        titles = Counter(task.title for task in self.trainings.values())
        users = {trial.train: f"{trial.part} / {trial.row}" for trial in reversed(self.trials)}
        return {
            digest: task.title if titles[task.title] == 1 else f"{task.title} ({users.get(digest, digest)})"
            for digest, task in self.trainings.items()
        }
