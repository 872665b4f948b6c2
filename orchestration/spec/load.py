"""Reading of a sweep file into a `SweepSpec`: composed, validated, every mistake reported at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from dfm_core.config import ExperimentConfig
from orchestration.common.errors import Problem, UserError, merge_duplicates, nearest
from orchestration.common.redaction import without_credentials
from orchestration.common.wording import counted
from orchestration.config.files import unknown_file_names
from orchestration.config.primary_metric import PrimaryMetric, unknown_in_primary
from orchestration.config.published_table import PublishedTable, unknown_counterparts
from orchestration.config.runtime import RuntimeConfig
from orchestration.config.workers import WorkersConfig
from orchestration.data.autoencoder_recipe import AutoencoderRecipes
from orchestration.data.backbone_recipe import BackboneRecipes
from orchestration.data.describe import DatasetInspector
from orchestration.parsing.config_types import all_keys
from orchestration.parsing.dotted_keys import flatten
from orchestration.parsing.validation import shown, validate
from orchestration.spec.backbones import BackboneInspector
from orchestration.spec.batches import batch_problems
from orchestration.spec.compose import (
    COMMAND_LINE,
    EXPERIMENT_SECTIONS,
    RUNTIME_SECTIONS,
    TOP_LEVEL_KEYS,
    ComposedFile,
    apply_override,
    merge_base,
    only_known,
)
from orchestration.spec.compute_budget import ComputeConfig
from orchestration.spec.declared_parts import DeclaredPart, declared_parts, unheeded_overrides
from orchestration.spec.equal_compute import find_budget, unequal_compute
from orchestration.spec.layers import NO_LAYERS, Layers, read_overlay, read_site
from orchestration.spec.rows import (
    DESCRIBED_IS_DERIVED,
    PartSpec,
    SweepContext,
    resolve_part,
)
from orchestration.spec.search.corners import never_valid
from orchestration.spec.search.rows import PartSearch, part_searches
from orchestration.spec.search.section import confirmed_name
from orchestration.spec.short_labels import read_labels, with_short_labels
from orchestration.spec.sweep_file import name_mistake, read_sweep_file

_COMMAND_LINE_ONLY = "workers.insecure_no_auth"
_ABOUT_FILES = ("storage", "datasets", "autoencoders", "backbones")
"""Sections that describe the user's data."""
_NAMED_IN_PRIMARY = {"metric": "evaluation.metrics", "parts": "parts", "baseline": "parts"}
"""Key of `primary:` -> the key of the sweep that holds what it names."""
_MOST_SEEDS = 10
"""Seeds of which a message writes the list."""
Value = TypeVar("Value")


@dataclass(frozen=True)
class SweepSpec:
    """A sweep, fully resolved and valid."""

    name: str
    title: str
    path: str
    seeds: tuple[int, ...]
    parts: tuple[PartSpec, ...]
    runtime: RuntimeConfig
    compute: ComputeConfig = field(default_factory=ComputeConfig)
    budget_flops: float | None = None
    """Training FLOPs of every row, if the sweep gives a budget."""
    published: PublishedTable | None = None
    primary: PrimaryMetric | None = None
    """Metric that claims rest on; None: the first that the sweep measures, which is not declared."""
    searches: tuple[PartSearch, ...] = ()
    """Searches; their trials become rows of their parts as they are proposed."""
    recipes: AutoencoderRecipes = field(default_factory=dict)
    """Autoencoders that have to be trained."""
    backbones: BackboneRecipes = field(default_factory=dict)
    """Backbones that have to be trained."""
    about_data: tuple[str, ...] = ()
    """Classes and numbers of the user's files, in words."""
    absent: tuple[Problem, ...] = ()
    """Files that are not there yet: the sweep is planned with what it says of them, and cannot run."""
    overrides: tuple[str, ...] = ()
    """`key=value` strings that won over the file, as they were given."""
    layers: Layers = field(default_factory=Layers)
    """The files that were laid under and over it."""
    dataset: str = ""
    """The dataset of all rows as it was named: a name of files, or an alias."""
    origins: Mapping[str, str] = field(default_factory=dict)
    """Dotted key of all rows -> the file, or the command line, that gave it last."""
    notices: tuple[str, ...] = ()
    """Overrides that some rows do not take."""
    short_names: Mapping[str, str] = field(default_factory=dict)
    """Dotted key -> name in few letters, for labels and titles."""

    @property
    def configs(self) -> Iterator[ExperimentConfig]:
        """Configs of all rows and seeds, in the sweep's order; then those that searches start from."""
        yield from (config for part in self.parts for row in part.rows for config in row.configs)
        yield from (search.base for search in self.searches)


def load_sweep(
    path: Path, overrides: Sequence[str] = (), layers: Layers = NO_LAYERS, *, kept_listings: bool = False
) -> SweepSpec:
    """Read, compose and validate a sweep.

    Args: path: the YAML file. overrides: `key=value` strings that win over the file. layers: files under and over it.
        kept_listings: of the user's files, from earlier commands, will do.
    Raises: UserError with every mistake in the files and the overrides.
    """
    return SpecReader(path, overrides, layers, kept_listings=kept_listings).read()


class SpecReader:
    """One reading of a sweep, a method a section; each collects its mistakes and goes on with what is sound."""

    def __init__(self, path: Path, overrides: Sequence[str], layers: Layers, *, kept_listings: bool) -> None:
        self._path, self._overrides, self._kept_listings = path, tuple(overrides), kept_listings
        self._layers = layers
        self._composed = ComposedFile(str(path), overlay=layers.overlay)
        self._overlaid: tuple[str, ...] = ()
        """Dotted keys of the file of overrides."""
        self._notices: list[str] = []
        self._locate = self._composed.locate
        self._problems: list[Problem] = []

    def read(self) -> SweepSpec:
        """Raises: UserError with every mistake."""
        is_sound = self._compose()
        self._check_top_level()
        self._check_file_names()
        sections = self._experiment_sections()
        runtime = self._keep(validate(RuntimeConfig, self._composed.sections(RUNTIME_SECTIONS), self._locate))
        # A mistake in workers leaves the files what they are; one in these sections says nothing of what they hold.
        readable = runtime or validate(RuntimeConfig, self._composed.sections(_ABOUT_FILES), self._locate).config
        is_sound &= readable is not None
        # On half a config, rules that span fields would accuse the innocent; the rows' own values are checked anyway.
        is_sound &= self._keep(validate(ExperimentConfig, sections, self._locate)) is not None
        seeds = self._seeds()
        inspector = DatasetInspector(readable, self._kept_listings)
        backbones = BackboneInspector(readable, absent=inspector.absent)
        context = SweepContext(self._composed, sections if is_sound else {}, is_sound, seeds, inspector, backbones)
        compute = self._section("compute", ComputeConfig)
        published = None
        if self._composed.data.get("published") is not None:
            published = self._section("published", PublishedTable)
        declared, form_problems = declared_parts(self._composed, len(seeds))
        has_form = not form_problems and not self._is_misspelt("parts")
        names = self._keep(read_labels(self._composed))
        declared = [with_short_labels(part.without(self._overlaid), names) for part in declared]
        self._problems.extend(form_problems)
        self._check_counterparts(published, declared)
        budget, mistaken = find_budget(compute, context, declared) if compute is not None and has_form else (None, [])
        self._problems.extend(mistaken)
        parts = tuple(self._keep(resolve_part(context, part, budget)) for part in declared)
        primary = self._primary(parts, declared, has_form=has_form)
        allow_unequal = compute is not None and compute.allow_unequal
        searches = self._keep(part_searches(context, declared, budget, runtime, allow_unequal=allow_unequal))
        if compute is not None and has_form and not mistaken and not allow_unequal:
            self._problems.extend(unequal_compute(parts, self._composed, budget))
        if runtime is not None:
            self._check_batches(parts, runtime.workers)
        if not self._problems:  # of which it would be a consequence
            self._problems.extend(problem for search in searches for problem in never_valid(search))
        if self._problems or runtime is None or compute is None:
            raise UserError(merge_duplicates(self._problems))
        name = str(self._composed.data["name"])
        return SweepSpec(
            name=name,
            title=str(self._composed.data.get("title", name)),
            path=str(self._path),
            seeds=seeds,
            parts=parts,
            runtime=runtime,
            compute=compute,
            budget_flops=None if budget is None else budget.flops,
            published=published,
            primary=primary,
            searches=tuple(searches),
            recipes=inspector.recipes,
            backbones=backbones.recipes,
            about_data=inspector.about,
            absent=tuple(Problem(self._locate(key), why) for key, why in inspector.absent.items()),
            overrides=self._overrides,
            layers=self._layers,
            dataset=str(self._composed.section("data").get("dataset", "")),
            origins=self._composed.origin,
            short_names=names,
            notices=(*self._notices, *unheeded_overrides(self._overrides, declared)),
        )

    def _keep(self, result: tuple[Value, Iterable[Problem]]) -> Value:
        """Return a value without the mistakes that were found with it, which are collected."""
        value, problems = result
        self._problems.extend(problems)
        return value

    def _compose(self) -> bool:
        """Lay bases, the site's file, the sweep's own and all overrides over each other.

        Return whether those beside the sweep's own are sound.
        """
        own = read_sweep_file(self._path)
        before = [*merge_base(self._composed, own.get("base"), self._path)]
        if self._layers.site:
            before += self._merge(self._layers.site, read_site)
        self._composed.merge(own, str(self._path))
        if self._layers.overlay:
            before += self._merge(self._layers.overlay, read_overlay)
        self._problems.extend(before)
        for override in self._overrides:
            self._problems.extend(apply_override(self._composed, override))
        return not before

    def _merge(self, place: str, read: Callable[[str], tuple[dict[str, Any], list[Problem]]]) -> list[Problem]:
        try:
            data, problems = read(place)
        except UserError as error:
            return list(error.problems)
        self._composed.merge(only_known(data), without_credentials(place))  # others are told
        if place == self._layers.overlay:
            self._overlaid = tuple(key for key, _ in flatten(data))
        return problems

    def _check_top_level(self) -> None:
        data, locate = self._composed.data, self._locate
        for key in data:
            if key not in TOP_LEVEL_KEYS:
                known = [*all_keys(ExperimentConfig), *TOP_LEVEL_KEYS]
                hint = "; give `seeds: [0, 1, ...]`" if key == "seed" else nearest(key, known)
                self._problem(locate(key), f"unknown key{hint}; known here: {', '.join(TOP_LEVEL_KEYS)}")
        if self._composed.origin.get(_COMMAND_LINE_ONLY, COMMAND_LINE) != COMMAND_LINE:
            message = "belongs on the command line: a file would turn authentication off for whoever runs it"
            self._problem(locate(_COMMAND_LINE_ONLY), message)
        for key in ("compute", "primary", "published"):
            if not isinstance(data.get(key, {}), Mapping):
                self._problem(locate(key), f"{data[key]!r} must be a mapping")
        if not self._is_misspelt("name") and (message := name_mistake(data.get("name"))):
            self._problem(f"{self._path}: name", message)
        if not isinstance(data.get("title", ""), str):
            self._problem(locate("title"), "must be text")

    def _is_misspelt(self, key: str) -> bool:
        """Return whether a top-level key is not there, but one that may be meant for it."""
        data = self._composed.data
        known = [name for name in TOP_LEVEL_KEYS if name not in data]
        meant = (nearest(name, known) for name in data if name not in TOP_LEVEL_KEYS)
        return key not in data and any(repr(key) in hint for hint in meant)

    def _problem(self, where: str, message: str) -> None:
        self._problems.append(Problem(where, message))

    def _check_file_names(self) -> None:
        for key, why in unknown_file_names(self._composed.data):
            self._problem(self._locate(key), why)

    def _experiment_sections(self) -> dict[str, Any]:
        sections = self._composed.sections(EXPERIMENT_SECTIONS)
        for name in ("data", "model"):
            if isinstance(sections.get(name), Mapping) and "described" in sections[name]:
                self._problem(self._locate(f"{name}.described"), DESCRIBED_IS_DERIVED)
                sections[name] = {key: value for key, value in sections[name].items() if key != "described"}
        return sections

    def _seeds(self) -> tuple[int, ...]:
        seeds = self._composed.data.get("seeds", [0])
        if (
            not isinstance(seeds, list)
            or not seeds
            or not all(isinstance(seed, int) and not isinstance(seed, bool) and 0 <= seed < 2**63 for seed in seeds)
            or len(set(seeds)) != len(seeds)
        ):
            message = f"{shown(seeds)} must be a list of different integers from 0 to 2**63 - 1"
            if isinstance(seeds, int) and not isinstance(seeds, bool) and 0 < seeds <= _MOST_SEEDS:
                message += f"; for {counted(seeds, 'seed')} write {list(range(seeds))}"
            self._problem(self._locate("seeds"), message)
            return (0,)
        return tuple(seeds)

    def _section(self, name: str, kind: type[Value]) -> Value | None:
        """Return one of the sweep's own sections."""
        return self._keep(validate(kind, self._composed.section(name), lambda key: self._locate(f"{name}.{key}")))

    def _primary(
        self, parts: Sequence[PartSpec], declared: Sequence[DeclaredPart], *, has_form: bool
    ) -> PrimaryMetric | None:
        """Return the sweep's `primary:`, whose metric, parts and baseline it must have.

        It does not stand where an override took away what it names. Args: has_form: all parts could be read.
        """
        if self._composed.data.get("primary") is None:
            return None
        primary = self._section("primary", PrimaryMetric)
        configs = [config for part in parts for row in part.rows for config in row.configs]
        if primary is None or not has_form or (parts and not configs and not any(part.search for part in declared)):
            return primary  # rows are mistaken themselves
        given = self._composed.section("evaluation").get("metrics")
        measured = dict.fromkeys(name for config in configs for name in config.evaluation.metrics)
        if not measured and isinstance(given, list):
            measured = dict.fromkeys(given)
        rows = {part.name: [row.label for row in part.rows] for part in declared if part.search is None}
        searches = {
            part.name: confirmed_name(part.name) if part.search.config.confirm is not None else ""
            for part in declared
            if part.search is not None
        }
        wrong = dict(unknown_in_primary(primary, tuple(measured), rows, searches)) if measured else {}
        layer_of = self._composed.layer_of
        if wrong and all(layer_of(_NAMED_IN_PRIMARY[key]) > layer_of(f"primary.{key}") for key in wrong):
            self._notices += [f"Nothing is declared: primary.{key}: {why}" for key, why in wrong.items()]
            return None
        for key, why in wrong.items():
            self._problem(self._locate(f"primary.{key}"), why)
        return primary

    def _check_counterparts(self, published: PublishedTable | None, declared: Sequence[DeclaredPart]) -> None:
        """Check the names that the sweep's and the parts' `published:` give of the paper's."""
        if published is None and self._composed.data.get("published") is not None:
            return  # it is mistaken itself
        if published is None:
            message = "stands beside no table: give the sweep's own `published:` too"
            self._problems.extend(Problem(f"{part.where}.published", message) for part in declared if part.published)
            return
        for key, why in unknown_counterparts(published, {part.name: part.published for part in declared}):
            self._problem(self._locate(key), why)

    def _check_batches(self, parts: Sequence[PartSpec], workers: WorkersConfig) -> None:
        """Check that every batch divides evenly over workers and micro-batches, and that settings of workers agree."""
        if workers.compile and workers.zero_stage == 3:
            message = "true needs workers.zero_stage 1 or 2: stage 3 gathers weights between what would be compiled"
            self._problem(self._locate("workers.compile"), message)
        precisions = {config.training.precision for part in parts for row in part.rows for config in row.configs}
        if workers.zero_stage == 3 and "bf16" in precisions and not workers.activation_checkpointing:
            message = (
                "false with workers.zero_stage 3 and training.precision bf16 keeps every gathered weight twice: a "
            )
            message += "bf16 copy of each is held for the backward pass. Set it to true, or take zero_stage 1 or 2"
            self._problem(self._locate("workers.activation_checkpointing"), message)
        if workers.max_accelerators is not None and workers.max_accelerators < workers.num_workers:
            message = f"{workers.max_accelerators} is less than one training takes, workers.num_workers = "
            self._problem(self._locate("workers.max_accelerators"), f"{message}{workers.num_workers}")
        batches = {config.training.batch_size for part in parts for row in part.rows for config in row.configs}
        self._problems.extend(batch_problems(self._composed, workers, batches))
