"""The params of MLflow's runs: the settings that vary in a sweep, under short flat names. Pure.

The stock compare view draws the first params and the first metric by the alphabet against each other, and lists all. So
a run's params are few: what varies, if its task reads it; the whole config is its config.json.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any

from dfm_core.config import ExperimentConfig
from dfm_core.config.plain import as_plain
from orchestration.parsing.dotted_keys import flatten
from orchestration.plan.plan import Plan
from orchestration.tasks.task import EvaluateTask, Task, TrainTask
from orchestration.tasks.training import DRAW_SETTINGS, draw_settings

_OWN_NAMES = {"training.first_stage_probability": "p0t", "decomposition.name": "decomposition"}
"""Names of keys whose last word says too little, or for which the paper has a shorter one."""
_AFTER_TRAINING = ("sampling.", "evaluation.")
_READ_AS = {"first_stage_probability": "stage_probabilities"}
"""Settings of training that are read under another name."""
_GROWS = frozenset({"training.steps", "evaluation.at_steps"})
"""Keys whose value may grow: a sweep that asks for more trains a run further, and a param of MLflow can't change."""


def varying_settings(plan: Plan) -> frozenset[str]:
    """Return the keys that differ between a plan's evaluations or that a search proposes; the seed is always one."""
    seen: dict[str, set[str]] = {}
    for task in plan.of_kind(EvaluateTask):
        for key, value in flatten(as_plain(task.config)):
            if not key.startswith("data.described"):  # follows from what is given
                seen.setdefault(key, set()).add(repr(value))
    proposed = {parameter.key for search in plan.spec.searches for parameter in search.spec.all_parameters}
    return frozenset({"seed", *proposed, *(key for key, values in seen.items() if len(values) > 1)} - _GROWS)


def run_params(task: Task, varying: Collection[str]) -> dict[str, str]:
    """Return a run's params: the varying settings that its task reads, by short name, and an evaluation's step."""
    if not isinstance(task, TrainTask | EvaluateTask):
        return {}
    config = dict(flatten(as_plain(task.config)))
    settings = {short_name(key): _text(config[key]) for key in varying if key in config and _reads(task, key)}
    steps = {"step": str(task.at_step)} if isinstance(task, EvaluateTask) else {}
    return {name: text for name, text in {**settings, **steps}.items() if text}


def _reads(task: Task, key: str) -> bool:
    """Return whether a task reads a setting: a baseline has a first-stage probability that it never uses."""
    if key.startswith(_AFTER_TRAINING):
        return isinstance(task, EvaluateTask)
    section, _, name = key.rpartition(".")
    name = _READ_AS.get(name, name)
    return section != "training" or name not in DRAW_SETTINGS or name in draw_settings(task.config)


def short_name(key: str) -> str:
    """Return the last word of a dotted key, with the one before it if several keys end alike."""
    if key in _OWN_NAMES:
        return _OWN_NAMES[key]
    words = key.split(".")
    return words[-1] if _ENDINGS[words[-1]] == 1 or len(words) == 1 else "_".join(words[-2:])


_ENDINGS = Counter(key.rpartition(".")[2] for key, _ in flatten(as_plain(ExperimentConfig())))


def _text(value: Any) -> str:
    """Return a number as a number, which MLflow draws on an axis; several as 9-3; "" for nothing."""
    if isinstance(value, list | tuple):
        return "-".join(map(_text, value))
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else f"{value:.12g}" if isinstance(value, float) else str(value)
