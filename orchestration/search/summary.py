"""Searches in words: the space, the progress, the best trials, and an upper bound of the cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence

from dfm_core.config import ExperimentConfig
from orchestration.common.wording import counted
from orchestration.spec.search.corners import MOST_CORNERS, corners
from orchestration.spec.search.rows import PartSearch, sampling_costs
from orchestration.spec.search.section import confirmed_name
from orchestration.spec.search.trial import SearchTrial, pareto_front
from orchestration.tasks.training_chain import training_chain, whole_flops


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


def most_flops_text(search: PartSearch, trials: Sequence[SearchTrial], planned: Collection[str] = ()) -> str:
    """Return an upper bound of the cost of the trials that are still to be proposed.

    Args: planned: digests of tasks that are planned without them; a training among them costs nothing more.
    """
    left = num_left(search, trials)
    again = search.spec.config.confirm is not None and goes_on(search, trials)
    if left <= 0 and not again:
        return "  All its trials are proposed."
    ends, whole = corners(search.spec.all_parameters)
    costs = [cost for cost in (corner_flops(search, corner, planned) for corner in ends) if cost is not None]
    if not costs:
        return "  What its trials cost cannot be said: no corner of the space is a sound row."
    to_come, whole_trainings, samplings = map(max, zip(*costs, strict=True))
    most = "at most" if whole else f"about, by {MOST_CORNERS} corners of its space,"
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


def corner_flops(
    search: PartSearch, settings: Mapping[str, object], planned: Collection[str]
) -> tuple[int, int, int] | None:
    """Return FLOPs of (training that is not planned, whole training, sampling) of one seed.

    Returns: None if the settings break a rule.
    """
    row, _ = search.row(SearchTrial(0, settings, "complete"))
    if row is None:
        return None
    config: ExperimentConfig = row.configs[0]
    is_planned = all(link.digest in planned for config in row.configs for link in training_chain(config))
    goes_apart = search.spec.config.trial_scheduler.kind == "pbt"  # in stretches that are no part of a whole training
    whole = whole_flops(config)
    to_come = 0 if is_planned and not goes_apart else whole
    return to_come, whole, len(config.evaluation_steps) * sampling_costs(config)["sampling_flops"]
