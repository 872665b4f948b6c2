"""The trials of searches in a plan: as rows of a sweep, and as JSON in the published plan."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from orchestration.parsing.documents import parse_document
from orchestration.spec.load import SweepSpec
from orchestration.spec.rows import PartSpec, RowSpec
from orchestration.spec.search.population import exploits_as_plain, read_exploits
from orchestration.spec.search.pruning import bracket_sizes
from orchestration.spec.search.rows import PartSearch
from orchestration.spec.search.section import TrialSchedulerConfig, confirmed_name
from orchestration.spec.search.trial import SearchTrial, pareto_front
from orchestration.storage.layout import plan_file
from orchestration.storage.store import Store


def with_trials(
    spec: SweepSpec, rows: Mapping[str, Sequence[RowSpec]], trials: Mapping[str, Sequence[SearchTrial]]
) -> SweepSpec:
    """Return the sweep with rows of trials after the parts' own rows, then the winners of searches on new seeds.

    Args: rows, trials: by part.
    """
    parts = [replace(part, rows=(*part.rows, *rows.get(part.name, ()))) for part in spec.parts]
    confirmed = (confirmed_part(search, trials.get(search.part, ())) for search in spec.searches)
    return replace(spec, parts=(*parts, *(part for part in confirmed if part is not None)))


def confirmed_part(search: PartSearch, trials: Sequence[SearchTrial]) -> PartSpec | None:
    """Return a part with the best trials of a search on the seeds of `confirm:`.

    Returns: None without `confirm:`, or until all trials ended.
    """
    confirm = search.spec.config.confirm
    num_ended = sum(trial.state not in ("refused", "running") for trial in trials)
    if confirm is None or num_ended < search.spec.num_wanted:
        return None
    again = replace(search, context=replace(search.context, seeds=confirm.seeds))
    best = [trial for trial in search.ranked(list(trials)) if trial.state == "complete" and trial.is_feasible]
    rows = (again.row(trial)[0] for trial in best[: confirm.num_trials])
    found = tuple(row for row in rows if row is not None)
    return (
        PartSpec(confirmed_name(search.part), f"{search.part}: the best trials on new seeds", found) if found else None
    )


def published_search(part: PartSearch, trials: Sequence[SearchTrial]) -> dict[str, Any]:
    """Return the published plan's entry for a search."""
    config = part.spec.config
    front = pareto_front(list(trials), part.spec.directions)
    return {
        "digest": part.digest,
        "sampler": part.spec.proposer,
        "num_trials": config.num_trials,
        "objectives": dict(config.objectives),
        "best": [trial.label for trial in front],
        **({"confirmed": confirmed_name(part.part)} if config.confirm is not None else {}),
        **_brackets(config.trial_scheduler, trials),
        **_population(config.trial_scheduler),
        "trials": [
            {
                "row": trial.label,
                "number": trial.number,
                **({"name": trial.name} if trial.name else {}),
                "settings": dict(trial.settings),
                "state": trial.state,
                "values": list(trial.values),
                **({"exploits": exploits_as_plain(trial.exploits)} if trial.exploits else {}),
                "at_rungs": [[step, value] for step, value in sorted(trial.at_rungs.items())],
                "is_feasible": trial.is_feasible,
                "reason": trial.reason,
            }
            for trial in trials
        ],
    }


def _brackets(config: TrialSchedulerConfig, trials: Sequence[SearchTrial]) -> dict[str, list[list[int]]]:
    """Return the numbers of the trials in each bracket of HyperBand, for the published plan."""
    if config.kind != "hyperband":
        return {}
    numbers = iter(sorted(trial.number for trial in trials if trial.state != "refused"))
    brackets = (list(itertools.islice(numbers, size)) for size in itertools.cycle(bracket_sizes(config)))
    return {"brackets": list(itertools.takewhile(bool, brackets))}


def _population(config: TrialSchedulerConfig) -> dict[str, list[str]]:
    """Return where the members of a population were compared, for people, for the published plan."""
    return {"compared_at": [f"{rung:g} {config.rungs_in}" for rung in config.rungs]} if config.kind == "pbt" else {}


def published_trials(spec: SweepSpec, store: Store) -> dict[str, list[SearchTrial]]:
    """Return the trials of each search, by part, as they were published last; empty if none are of this search.

    For reading alone: needs no Optuna, and creates nothing.
    """
    try:
        document = parse_document(store.read_document(plan_file(spec.name)), finite=False)
        published = {part["name"]: part.get("search") for part in document["parts"]}
        return {
            search.part: [_trial(entry, search) for entry in published[search.part]["trials"]]
            for search in spec.searches
            if (published.get(search.part) or {}).get("digest") == search.digest
        }
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}  # `changes_text` says that the published plan cannot be read


def with_published_trials(spec: SweepSpec, trials: Mapping[str, Sequence[SearchTrial]]) -> SweepSpec:
    """Return the sweep with the rows of published trials, in the order in which a search takes them up."""
    rows = {}
    for search in spec.searches:
        resolved = [search.row(trial)[0] for trial in trials.get(search.part, ())]
        rows[search.part] = [row for row in resolved if row is not None]
    return with_trials(spec, rows, trials)


def _trial(entry: Mapping[str, Any], search: PartSearch) -> SearchTrial:
    """Raises: KeyError, TypeError, ValueError if it is none."""
    return SearchTrial(
        number=int(entry["number"]),
        settings=search.spec.ordered(entry["settings"]),
        state=entry["state"],
        values=tuple(entry["values"]),
        at_rungs={int(step): float(value) for step, value in entry["at_rungs"]},
        violations=() if entry["is_feasible"] else (1.0,),
        reason=str(entry["reason"]),
        exploits=read_exploits(entry.get("exploits", ()), search.spec),
        name=str(entry.get("name", "")),
    )
