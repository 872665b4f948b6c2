"""Population based training (Jaderberg et al., 2017), synchronous: decided at each rung for all that have come there.

A decision depends on the values at the rung, the settings of the members and the seed alone, so that a search that was
killed takes the same ones.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from orchestration.spec.search.section import SearchSpec
from orchestration.spec.search.space import Parameter
from orchestration.spec.search.trial import Exploit, SearchTrial

_FACTORS = (0.8, 1.2)


def exploits_at(
    search: SearchSpec, rung: int, members: Mapping[int, SearchTrial], undecided: Collection[int]
) -> dict[int, Exploit]:
    """Return which of the undecided members go on from another one after a rung; the others go on as they are.

    Args: members: all of the population, with the settings that they came to the rung with. undecided: numbers of those
        that wait at the rung.
    """
    sign = 1.0 if search.directions[0] == "minimize" else -1.0
    there = [trial for trial in members.values() if rung in trial.at_rungs]
    ranked = sorted(there, key=lambda trial: (sign * trial.at_rungs[rung], trial.number))
    count = min(len(ranked) // 2, math.ceil(search.config.trial_scheduler.quantile * len(ranked)))
    best, worst = ranked[:count], ranked[len(ranked) - count :]
    return {trial.number: _exploit(search, rung, trial, best) for trial in worst if trial.number in undecided}


def exploits_as_plain(exploits: Mapping[int, Exploit]) -> list[Any]:
    """Return decisions of a population as plain data: [rung, donor, its settings by stretch, settings from here]."""
    return [
        [rung, one.donor, [dict(settings) for settings in one.past], dict(one.settings)]
        for rung, one in sorted(exploits.items())
    ]


def read_exploits(stored: Sequence[Any], search: SearchSpec) -> dict[int, Exploit]:
    """Return decisions from plain data. Raises: TypeError, ValueError, KeyError if it is none."""
    return {
        int(rung): Exploit(int(donor), tuple(map(search.ordered, past)), search.ordered(settings))
        for rung, donor, past, settings in stored
    }


def _exploit(search: SearchSpec, rung: int, trial: SearchTrial, best: list[SearchTrial]) -> Exploit:
    text = f"pbt {search.config.seed} {rung} {trial.number}"
    rng = random.Random(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big"))  # noqa: S311  no secret
    donor = best[int(rng.random() * len(best))]
    past = donor.stretches(rung)
    resample = search.config.trial_scheduler.resample
    settings = {p.key: _explored(p, past[-1][p.key], rng, resample) for p in search.parameters}
    return Exploit(donor.number, past, settings)


def _explored(parameter: Parameter, value: Any, rng: random.Random, resample: float) -> Any:
    """Return a value near another one, or one drawn anew; within the space, on its steps."""
    explored = _near_or_anew(parameter, value, rng, resample)
    return int(explored) if parameter.kind == "int" else explored


def _near_or_anew(parameter: Parameter, value: Any, rng: random.Random, resample: float) -> Any:
    is_anew, factor, share = rng.random() < resample, _FACTORS[int(rng.random() * len(_FACTORS))], rng.random()
    if parameter.kind == "choice":
        choices = list(parameter.ends)
        place = choices.index(value) + (1 if factor > 1 else -1)
        is_anew = is_anew or not 0 <= place < len(choices)
        return choices[int(share * len(choices))] if is_anew else choices[place]
    near = parameter.on_step(min(max(factor * value, parameter.low), parameter.high))
    if not is_anew and near != value:  # 0 and the ends of a range would stay for ever
        return near
    if parameter.kind == "log":
        low, high = math.log(parameter.low), math.log(parameter.high)
        return min(max(math.exp(low + share * (high - low)), parameter.low), parameter.high)
    return parameter.on_step(parameter.low + share * (parameter.high - parameter.low))
