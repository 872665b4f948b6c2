"""A search as an Optuna study: it proposes trials and remembers them; it computes nothing.

Every proposal is drawn by a new sampler, seeded with the search's seed and the number of proposals before: so proposals
depend on what the study was told alone, and a search that was killed goes on as if it had not been. (Seeded with the
search's seed alone, a new process would repeat its first draws.)
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial
from optuna.trial import TrialState as Told

from orchestration.common.errors import Problem, UserError
from orchestration.common.redaction import without_credentials
from orchestration.search.sampling import distribution_of, encode, sampler_of, suggest
from orchestration.search.study_storage import StudyDatabase, StudyUnavailableError, reason_text, unusable
from orchestration.spec.search_section import SearchSpec
from orchestration.spec.search_space import grid_points
from orchestration.spec.search_trial import SearchTrial, TrialState

_NAME = "dfm-{digest}"
_ABOUT, _SETTINGS, _NUMBER, _REASON, _KIND, _LIMITS, _PRUNED_AT = (
    "about",
    "settings",
    "number",
    "reason",
    "kind",
    "constraints",
    "pruned_at",
)
_STATES: dict[Told, TrialState] = {Told.RUNNING: "running", Told.COMPLETE: "complete", Told.PRUNED: "pruned"}
_MOST_CHARACTERS = 1000
"""Longest reason that is stored: some databases cut, or refuse, longer texts."""


class Study:
    """The trials of one search in its database."""

    def __init__(self, database: StudyDatabase, digest: str, search: SearchSpec, about: Mapping[str, Any]) -> None:
        """Open or create it, and take up what a killed driver left: running trials go on, and those that failed are
        retried, as every submission retries what failed.

        Args: about: the plain data behind `digest`; a study that was made of other data is not touched.
        Raises: UserError if the database cannot be used, or holds another search under this name.
        """
        self._search, self._config, self._uri = search, search.config, database.uri
        self._storage = database.storage
        self._grid = grid_points(search.parameters) if search.config.sampler == "grid" else []
        name = _NAME.format(digest=digest)
        try:
            # An existing study is loaded whatever its directions are: `_check` looks.
            self._study = optuna.create_study(
                study_name=name, storage=self._storage, load_if_exists=True, directions=list(search.directions)
            )
            self._id = self._storage.get_study_id_from_name(name)
        except Exception as error:  # noqa: BLE001  any database, any reason: it cannot be used
            raise unusable(self._uri, error) from None
        with self._translated_errors():
            self._check(about)
            self._take_up()

    def trials(self) -> list[SearchTrial]:
        """Return all proposals by number; of a retried one the last attempt. Raises: StudyUnavailableError."""
        with self._translated_errors():
            return [trial for _, (_, trial) in sorted(self._newest().items())]

    @property
    def most_trials(self) -> float:
        """Number of possible trials: the points of a grid, else infinity."""
        return len(self._grid) if self._config.sampler == "grid" else math.inf

    def ask(self) -> SearchTrial:
        """Return a new proposal, running. Raises: StudyUnavailableError."""
        with self._translated_errors():
            number = len(self._newest())
            self._study.sampler = sampler_of(self._search, number)
            if self._grid:
                self._study.enqueue_trial(encode(self._search, self._grid[number]))
            trial = self._study.ask()
            settings = suggest(self._search, trial)
            trial.set_user_attr(_NUMBER, number)
            trial.set_user_attr(_SETTINGS, settings)  # last: a proposal without it was cut off, and does not count
            return SearchTrial(number, settings)

    def report(self, number: int, step: int, value: float) -> None:
        """Tell the value of the objective at a rung. Raises: StudyUnavailableError."""
        with self._translated_errors():
            frozen = self._newest()[number][0]
            self._storage.set_trial_intermediate_value(self._key(frozen), step, value)

    def complete(self, number: int, values: Sequence[float], violations: Mapping[str, float] | None = None) -> None:
        """Tell the values of the objectives, finite, and the excess over each constraint, 0 or less if it holds.

        Raises: StudyUnavailableError.
        """
        with self._translated_errors():
            frozen = self._newest()[number][0]
            trial = Trial(self._study, self._key(frozen))
            for name, excess in (violations or {}).items():
                trial.set_constraint(name, excess)
            trial.set_user_attr(_LIMITS, list((violations or {}).values()))
            self._tell(frozen, Told.COMPLETE, list(values))

    def prune(self, number: int, step: int, value: float) -> None:
        """Tell that a trial is not trained on after a rung, where it has this value. Raises: StudyUnavailableError."""
        with self._translated_errors():
            frozen = self._newest()[number][0]
            # First the decision, which is made once: a driver that is killed before the rest finds it here.
            self._storage.set_trial_user_attr(self._key(frozen), _PRUNED_AT, [step, value])
            self._prune(frozen, step, value)

    def fail(self, number: int, reason: str, state: TrialState = "failed") -> None:
        """Tell why a trial has no value; `state`: "failed", "valueless" or "refused". Raises: StudyUnavailableError."""
        with self._translated_errors():
            frozen = self._newest()[number][0]
            self._storage.set_trial_user_attr(self._key(frozen), _REASON, reason[:_MOST_CHARACTERS])
            self._storage.set_trial_user_attr(self._key(frozen), _KIND, state)
            self._tell(frozen, Told.FAIL)

    def _prune(self, frozen: FrozenTrial, step: int, value: float) -> None:
        self._storage.set_trial_intermediate_value(self._key(frozen), step, value)
        self._tell(frozen, Told.PRUNED)

    def _key(self, frozen: FrozenTrial) -> int:
        """Return the storage's own number of a trial."""
        return self._storage.get_trial_id_from_study_id_trial_number(self._id, frozen.number)

    def _tell(self, frozen: FrozenTrial, state: Told, values: Sequence[float] | None = None) -> None:
        # What a sampler keeps of a told trial (a generation, a covariance) is kept by the sampler that is set.
        self._study.sampler = sampler_of(self._search, frozen.number)
        self._study.tell(frozen.number, values, state=state)

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        """Translate errors of the storage. Raises: StudyUnavailableError."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                yield
        except optuna.exceptions.StorageInternalError as error:
            raise StudyUnavailableError(f"{without_credentials(self._uri)}: {reason_text(error)}") from None

    def _newest(self) -> dict[int, tuple[FrozenTrial, SearchTrial]]:
        """Return every whole proposal by its number: as Optuna keeps it, and as we do."""
        proposals = {}
        for frozen in self._study.get_trials(deepcopy=False):
            if _SETTINGS in frozen.user_attrs:
                trial = _trial(frozen, self._search)
                proposals[trial.number] = (frozen, trial)
        return proposals

    def _check(self, about: Mapping[str, Any]) -> None:
        """Check that the study under our name is this search. Raises: UserError."""
        problems = []
        directions = [direction.name.lower() for direction in self._study.directions]
        if directions != list(self._search.directions):
            problems.append(f"its directions are {directions}, not {list(self._search.directions)}")
        stored = self._study.user_attrs.get(_ABOUT)
        if stored is None:
            self._study.set_user_attr(_ABOUT, dict(about))
        else:
            problems.extend(f"its {key} is {stored.get(key)!r}" for key in about if stored.get(key) != about[key])
        wanted = {parameter.key: distribution_of(parameter) for parameter in self._search.parameters}
        for frozen in self._study.get_trials(deepcopy=False):
            for key, distribution in frozen.distributions.items():
                if key not in wanted or distribution != wanted[key]:
                    problems.append(f"{key} of its trial {frozen.number} is {distribution}, not {wanted.get(key)}")
        if problems:
            where = f"study {self._study.study_name} in {without_credentials(self._uri)}"
            raise UserError([Problem("search_storage", f"{where} is another search: {p}") for p in set(problems)])

    def _take_up(self) -> None:
        """Take up a killed driver's trials: end proposals that were cut off, run the others and those that failed."""
        for frozen in self._study.get_trials(states=(Told.RUNNING,)):
            if _SETTINGS not in frozen.user_attrs:
                self._tell(frozen, Told.FAIL)
            elif _PRUNED_AT in frozen.user_attrs:
                self._prune(frozen, *frozen.user_attrs[_PRUNED_AT])
            elif not frozen.params:  # retried, and killed before its values were fixed
                suggest(self._search, Trial(self._study, self._key(frozen)))
        for _, trial in self._newest().values():
            if trial.state == "failed":
                attributes = {_SETTINGS: dict(trial.settings), _NUMBER: trial.number}
                self._study.enqueue_trial(encode(self._search, trial.settings), attributes)
        for _ in self._study.get_trials(states=(Told.WAITING,)):
            suggest(self._search, self._study.ask())


def _trial(frozen: FrozenTrial, search: SearchSpec) -> SearchTrial:
    attributes = frozen.user_attrs
    state = _STATES.get(frozen.state) or attributes.get(_KIND, "failed")
    return SearchTrial(
        number=int(attributes[_NUMBER]),
        settings=search.ordered(attributes[_SETTINGS]),
        state=state if frozen.state != Told.WAITING else "running",
        values=tuple(frozen.values) if frozen.state == Told.COMPLETE else (),
        at_rungs=dict(frozen.intermediate_values),
        violations=tuple(attributes.get(_LIMITS, ())),
        reason=str(attributes.get(_REASON, "")),
    )
