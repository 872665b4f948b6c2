"""A sweep file into a `SweepSpec`: composed, validated, every mistake reported at once. Pure but for reading files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from dfm_core.config import ExperimentConfig
from orchestration.common.dotted_keys import set_dotted
from orchestration.common.errors import Problem, UserError, merge_duplicates, nearest
from orchestration.common.validation import all_keys, field_types, shown, validate
from orchestration.common.yaml_limits import check_yaml
from orchestration.config.runtime import RuntimeConfig, unknown_file_names
from orchestration.data.autoencoder_recipe import AutoencoderRecipes
from orchestration.data.describe import DatasetInspector
from orchestration.spec.compose import ComposedFile, read_yaml
from orchestration.spec.compute_budget import ComputeConfig
from orchestration.spec.equal_compute import find_budget, unequal_compute
from orchestration.spec.published_table import PublishedTable, unknown_counterparts
from orchestration.spec.rows import FOUND_NOT_GIVEN, NAME, PartSpec, SweepContext, declared_parts, resolve_part
from orchestration.spec.search_rows import PartSearch, part_searches

_SWEEP_KEYS = ("name", "title", "base", "seeds", "compute", "published", "parts")
_EXPERIMENT_SECTIONS = tuple(key for key in field_types(ExperimentConfig) if key != "seed")
_RUNTIME_SECTIONS = tuple(field_types(RuntimeConfig))
_FILE_ONLY = {"base": "it is composed before the overrides", "seed": "give `seeds=[0, 1, ...]`"}
_COMMAND_LINE_ONLY = "workers.insecure_no_auth"
_KNOWN_TOP = (*_SWEEP_KEYS, *_EXPERIMENT_SECTIONS, *_RUNTIME_SECTIONS)


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
    searches: tuple[PartSearch, ...] = ()
    """Whose trials become rows of their parts as they are proposed."""
    makings: AutoencoderRecipes = field(default_factory=dict)
    """Autoencoders that have to be made."""
    overrides: tuple[str, ...] = ()
    """`key=value` strings that won over the file, as they were given."""

    @property
    def configs(self) -> Iterator[ExperimentConfig]:
        """Of all rows and seeds, in the sweep's order; then what searches start from."""
        yield from (config for part in self.parts for row in part.rows for config in row.configs)
        yield from (search.base for search in self.searches)


def load_sweep(path: Path, overrides: Sequence[str] = ()) -> SweepSpec:
    """Reads, composes and validates a sweep.

    Args: path: the YAML file. overrides: `key=value` strings that win over the file.
    Raises: UserError with every mistake in the file and the overrides.
    """
    own = read_yaml(path)
    source = ComposedFile()
    problems: list[Problem] = []
    base_problems = _merge_base(source, own.get("base"), path)
    problems.extend(base_problems)
    source.merge(own, str(path))
    for override in overrides:
        problems.extend(_apply_override(source, override))
    problems.extend(_top_level_problems(source, path))
    runtime = validate(RuntimeConfig, _sections(source.data, _RUNTIME_SECTIONS), lambda key: _place(source, key))
    problems.extend(Problem(_place(source, key), why) for key, why in unknown_file_names(source.data))
    common = _sections(source.data, _EXPERIMENT_SECTIONS)
    if isinstance(common.get("data"), Mapping) and "described" in common["data"]:
        problems.append(Problem(_place(source, "data.described"), FOUND_NOT_GIVEN))
        common["data"] = {key: value for key, value in common["data"].items() if key != "described"}
    checked = validate(ExperimentConfig, common, source.locate)
    problems.extend([*runtime.problems, *checked.problems])
    seeds, seed_problems = _seeds(source)
    problems.extend(seed_problems)
    # On half a config the rules that span fields would accuse the innocent; the rows' own values are checked anyway.
    sound = not checked.problems and not base_problems
    shared = SweepContext(source, common if sound else {}, sound, seeds, DatasetInspector(runtime.config))
    compute = validate(ComputeConfig, _mapping(source.data.get("compute")), lambda key: source.locate(f"compute.{key}"))
    published, published_problems = _published(source)
    declared, declared_problems = declared_parts(source, len(seeds))
    problems.extend([*compute.problems, *published_problems, *declared_problems])
    if published is None:
        message = "stands beside no table: give the sweep's own `published:` too"
        problems.extend(Problem(f"{part.where}.published", message) for part in declared if part.published)
    else:
        counterparts = {part.name: part.published for part in declared}
        problems.extend(Problem(source.locate(key), why) for key, why in unknown_counterparts(published, counterparts))
    budget = None
    if compute.config is not None and not declared_problems:
        budget, budget_problems = find_budget(compute.config, shared, declared, path)
        problems.extend(budget_problems)
    parts = []
    for part in declared:
        resolved, found = resolve_part(shared, part, budget)
        parts.append(resolved)
        problems.extend(found)
    allow_unequal = compute.config is not None and compute.config.allow_unequal
    searches, found = part_searches(shared, declared, budget, runtime.config, allow_unequal=allow_unequal)
    problems.extend(found)
    if compute.config is not None and not allow_unequal:
        problems.extend(unequal_compute(parts, source, budget))
    if runtime.config is not None:
        problems.extend(_layout_problems(parts, runtime.config, source))
    if problems:
        raise UserError(merge_duplicates(problems))
    name = str(source.data["name"])
    return SweepSpec(
        name=name,
        title=str(source.data.get("title", name)),
        path=str(path),
        seeds=seeds,
        parts=tuple(parts),
        runtime=runtime.config,
        compute=compute.config,
        budget_flops=None if budget is None else budget.flops,
        published=published,
        searches=tuple(searches),
        makings=shared.describer.makings,
        overrides=tuple(overrides),
    )


def _merge_base(source: ComposedFile, base: Any, path: Path) -> tuple[Problem, ...]:
    """The file that a sweep builds on, if it names one; its path is relative to the sweep's."""
    if base is None:
        return ()
    if not isinstance(base, str):
        return (Problem(f"{path}: base", f"{base!r} must be the name of a YAML file"),)
    try:
        data = read_yaml(path.parent / base)
    except UserError as error:
        return error.problems
    source.merge(data, str(path.parent / base))
    allowed = (*_EXPERIMENT_SECTIONS, *_RUNTIME_SECTIONS)
    return tuple(
        Problem(f"{path.parent / base}: {key}", f"a base file holds only {', '.join(allowed)}{nearest(key, allowed)}")
        for key in data
        if key not in allowed
    )


def _apply_override(source: ComposedFile, override: str) -> list[Problem]:
    key, sign, text = override.partition("=")
    if not sign or not key:
        return [Problem("command line", f"{shown(override)} is not key=value")]
    if key in _FILE_ONLY:
        return [Problem("command line", f"{key!r} cannot be overridden: {_FILE_ONLY[key]}")]
    if key.split(".")[0] not in _KNOWN_TOP:
        known = [*all_keys(ExperimentConfig), *all_keys(RuntimeConfig), *_SWEEP_KEYS]
        hint = nearest(key, known) or nearest(key.split(".")[0], _KNOWN_TOP)
        return [Problem("command line", f"unknown key {shown(key)}{hint}")]
    try:
        check_yaml(f"value: {text}")
        value = OmegaConf.to_container(OmegaConf.create(f"value: {text}"), resolve=False)
    except (OmegaConfBaseException, YAMLError, RecursionError, ValueError) as error:
        return [Problem("command line", f"{shown(override)}: not valid YAML: {' '.join(str(error).split())}")]
    assert isinstance(value, dict)
    if "${" in text:
        return [Problem("command line", f"{shown(override)}: interpolation is not supported")]
    if key.split(".")[0] == "parts":  # a part is replaced, not merged
        set_dotted(source.data, key, value["value"])
        source.origin["parts"] = f"command line: {key}"
        return []
    nested: dict[str, Any] = {}
    set_dotted(nested, key, value["value"])
    source.merge(nested, "command line")
    return []


def _place(source: ComposedFile, key: str) -> str:
    """Where a key was written; a section's place is that of the first key in it."""
    leaf = next((written for written in source.origin if written.startswith(f"{key}.")), key)
    return f"{source.locate(leaf).split(': ')[0]}: {key}"


def _mapping(value: Any) -> Mapping[str, Any]:
    """A section that may be left out; what is no mapping is for the rule of its key to say."""
    return value if isinstance(value, Mapping) else {}


def _published(source: ComposedFile) -> tuple[PublishedTable | None, Sequence[Problem]]:
    given = source.data.get("published")
    if given is None:
        return None, ()
    checked = validate(PublishedTable, _mapping(given), lambda key: source.locate(f"published.{key}"))
    return checked.config, checked.problems


def _sections(data: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: data[name] for name in names if name in data}


def _top_level_problems(source: ComposedFile, path: Path) -> Iterator[Problem]:
    for key in source.data:
        if key not in _KNOWN_TOP:
            hint = "; give `seeds: [0, 1, ...]`" if key == "seed" else nearest(key, _KNOWN_TOP)
            yield Problem(source.locate(key), f"unknown key{hint}; known here: {', '.join(_KNOWN_TOP)}")
    if not source.origin.get(_COMMAND_LINE_ONLY, "command line").startswith("command line"):
        message = "belongs on the command line: a file would turn authentication off for whoever runs it"
        yield Problem(source.origin[_COMMAND_LINE_ONLY], message)
    for key in ("compute", "published"):
        if not isinstance(source.data.get(key, {}), Mapping):
            yield Problem(source.locate(key), f"{source.data[key]!r} must be a mapping")
    name = source.data.get("name")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        yield Problem(f"{path}: name", f"{name!r} must be 1 to 64 letters, digits, '.', '_' or '-'")
    if not isinstance(source.data.get("title", ""), str):
        yield Problem(source.locate("title"), "must be text")


def _seeds(source: ComposedFile) -> tuple[tuple[int, ...], list[Problem]]:
    seeds = source.data.get("seeds", [0])
    if (
        not isinstance(seeds, list)
        or not seeds
        or not all(isinstance(seed, int) and not isinstance(seed, bool) and 0 <= seed < 2**63 for seed in seeds)
        or len(set(seeds)) != len(seeds)
    ):
        return (0,), [
            Problem(source.locate("seeds"), f"{seeds!r} must be a list of different integers from 0 to 2**63 - 1")
        ]
    return tuple(seeds), []


def _layout_problems(parts: Sequence[PartSpec], runtime: RuntimeConfig, source: ComposedFile) -> Iterator[Problem]:
    """The batch must divide evenly over workers and micro-batches."""
    workers = runtime.workers
    if workers.compile and workers.zero_stage == 3:
        message = "true needs workers.zero_stage 1 or 2: stage 3 gathers weights between what would be compiled"
        yield Problem(source.locate("workers.compile"), message)
    for batch in sorted({c.training.batch_size for part in parts for row in part.rows for c in row.configs}):
        if batch % workers.num_workers:
            yield Problem(
                source.locate("training.batch_size"),
                f"{batch} is not divisible by workers.num_workers = {workers.num_workers}",
            )
        elif workers.micro_batch_size and (batch // workers.num_workers) % workers.micro_batch_size:
            yield Problem(
                source.locate("workers.micro_batch_size"),
                f"{workers.micro_batch_size} does not divide {batch // workers.num_workers}, "
                "a worker's share of the batch",
            )
