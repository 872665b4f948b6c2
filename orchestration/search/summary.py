"""Searches in words: the space, the progress, the best trials, and an upper bound of the cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from dfm_core.config import ExperimentConfig
from orchestration.common.wording import counted
from orchestration.spec.rows import RowSpec
from orchestration.spec.search.corners import MOST_CORNERS, corners
from orchestration.spec.search.rows import PartSearch, sampling_costs
from orchestration.spec.search.section import confirmed_name
from orchestration.spec.search.trial import SearchTrial, pareto_front
from orchestration.tasks.training_chain import training_chain, whole_flops

ALL_PROPOSED = "  All its trials are proposed."


def search_text(search: PartSearch, trials: Sequence[SearchTrial]) -> Iterator[str]:
    """Yield the state of a search, line by line."""
    config = search.spec.config
    wanted = " and ".join(f"{direction} {name}" for name, direction in config.objectives.items())
    limits = "".join(f", {name} {limit}" for name, limit in config.constraints.items())
    proposals = f"{counted(config.num_trials, 'trial')} by {search.spec.proposer}"
    yield f"Search of {search.part}: {proposals} to {wanted}{limits}."
    for parameter in search.spec.parameters:
        yield f"  {parameter}"
    if search.spec.inner is not None:
        inner = search.spec.inner.config
        samplings = counted(inner.num_trials, "sampling")
        yield f"  For each, {samplings} of its snapshot by {inner.sampler}; the best counts:"
        yield from (f"    {parameter}" for parameter in search.spec.inner.parameters)
    ladder = search.spec.ladder
    if ladder.kind != "none":
        rungs = ", ".join(f"{rung:g}" for rung in ladder.rungs)
        whose = "Ray Tune's " if ladder is config.trial_scheduler and ladder.kind != "pbt" else ""
        what = "copies better trainings" if ladder.kind == "pbt" else "prunes"
        yield f"  {whose}{ladder.kind} {what} at {rungs} {ladder.rungs_in}"
    if counts := Counter(trial.state for trial in trials):
        yield f"  Proposed so far: {', '.join(f'{count} {state}' for state, count in counts.items())}."
    front = pareto_front(list(trials), search.spec.directions)
    for trial in front:  # not called best: it was chosen among many on the same numbers
        named = ", ".join(f"{name} {value:.6g}" for name, value in zip(config.objectives, trial.values, strict=True))
        yield f"  Leading{' so far' if goes_on(search, trials) else ''}: {trial.label}: {named}"
    if front or config.confirm is not None:
        yield f"  {_confirm_text(search)}"


def _confirm_text(search: PartSearch) -> str:
    confirm = search.spec.config.confirm
    if confirm is None:
        return "The best of many trials was lucky, too: `confirm: {seeds: [...]}` measures it again on new seeds."
    seeds, winners = counted(len(confirm.seeds), "new seed"), min(confirm.num_trials, search.spec.num_wanted)
    return f"The best {winners} are measured again on {seeds} once all ended: part {confirmed_name(search.part)}."


def goes_on(search: PartSearch, trials: Sequence[SearchTrial]) -> bool:
    """Return whether trials are still to end."""
    ended = sum(trial.state not in ("refused", "running") for trial in trials)
    return ended < search.spec.num_wanted


class CornerCost(NamedTuple):
    """A row at a corner of the space, and the FLOPs of one seed."""

    row: RowSpec
    training: int
    """FLOPs of a training that is not planned."""
    whole_training: int
    sampling: int


def most_flops_text(search: PartSearch, trials: Sequence[SearchTrial], planned: Collection[str] = ()) -> str:
    """Return an upper bound of the cost of the trials that are still to be proposed.

    Args: planned: digests of tasks that are planned without them; a training among them costs nothing more.
    """
    if not has_more(search, trials):
        return ALL_PROPOSED
    return flops_text(search, trials, *corner_costs(search, planned))


def has_more(search: PartSearch, trials: Sequence[SearchTrial]) -> bool:
    """Return whether trials, or the winners on new seeds, are still to be planned."""
    return num_left(search, trials) > 0 or _is_confirmed_later(search, trials)


def _is_confirmed_later(search: PartSearch, trials: Sequence[SearchTrial]) -> bool:
    return search.spec.config.confirm is not None and goes_on(search, trials)


def flops_text(search: PartSearch, trials: Sequence[SearchTrial], costs: Sequence[CornerCost], are_all: bool) -> str:
    """Return `most_flops_text` of what is still to be planned. Args: costs, are_all: of `corner_costs`."""
    left, again = num_left(search, trials), _is_confirmed_later(search, trials)
    if not costs:
        return "  What its trials cost cannot be said: no corner of the space is a sound row."
    to_come, whole_trainings, samplings = (max(values) for values in zip(*(cost[1:] for cost in costs), strict=True))
    most = "at most" if are_all else f"about, by {MOST_CORNERS} corners of its space,"
    text = f"  Its {counted(left, 'trial')} to come: {most} " if left > 0 else "  All its trials are proposed"
    if left > 0:
        seeds = len(search.context.seeds)
        training, sampling = seeds * left * to_come, seeds * left * samplings
        of_a_training = search.spec.inner.num_wanted if search.spec.inner else 1
        text += _flops_text(
            training * -(-left // of_a_training) // left if search.trains else training // left, sampling
        )
    return f"{text}{_most_to_confirm(search, whole_trainings, samplings, most) if again else ''}."


def num_left(search: PartSearch, trials: Sequence[SearchTrial]) -> int:
    """Return how many trials are still to be proposed."""
    return search.spec.num_wanted - sum(trial.state != "refused" for trial in trials)


def _flops_text(training: int, sampling: int) -> str:
    of_training = f"{training:.3g} FLOPs of training and " if training else ""
    return f"{of_training}{sampling:.3g} {'' if training else 'FLOPs '}of sampling"


def _most_to_confirm(search: PartSearch, training: int, sampling: int, most: str) -> str:
    """Return an upper bound of the cost of the winners on new seeds, whose trainings no plan has yet.

    Args: training, sampling: most FLOPs of one seed.
    """
    confirm = search.spec.config.confirm
    assert confirm is not None, "asked for a search that is confirmed"
    training, sampling = len(confirm.seeds) * training, len(confirm.seeds) * sampling
    winners = min(confirm.num_trials, search.spec.num_wanted)
    trained = training * winners if search.trains else training  # else the winners share a seed's training
    return f"; its best {winners} on new seeds: {most} {_flops_text(trained, sampling * winners)}"


def corner_costs(search: PartSearch, planned: Collection[str]) -> tuple[list[CornerCost], bool]:
    """Return the sound rows at the corners of the space with their FLOPs, and whether these are all corners.

    Args: planned: as of `most_flops_text`.
    """
    settings, are_all = corners(search.spec.all_parameters)
    rows = (search.row(SearchTrial(0, own, "complete"))[0] for own in settings)
    return [_corner_cost(search, row, planned) for row in rows if row is not None], are_all


def _corner_cost(search: PartSearch, row: RowSpec, planned: Collection[str]) -> CornerCost:
    config: ExperimentConfig = row.configs[0]
    is_planned = all(link.digest in planned for config in row.configs for link in training_chain(config))
    goes_apart = search.spec.config.trial_scheduler.kind == "pbt"  # in stretches that are no part of a whole training
    whole = whole_flops(config)
    to_come = 0 if is_planned and not goes_apart else whole
    return CornerCost(row, to_come, whole, len(config.evaluation_steps) * sampling_costs(config)["sampling_flops"])
