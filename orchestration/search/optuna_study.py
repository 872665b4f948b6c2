"""A search as an Optuna study: it proposes trials and remembers them; it computes nothing.

Every proposal is drawn by a new sampler, seeded with the search's seed and the number of proposals before: so proposals
depend on what the study was told alone, and a search that was killed goes on as if it had not been. (Seeded with the
search's seed alone, a new process would repeat its first draws.)

People may end running trials in Optuna's dashboard, or delete the study: that holds, whatever is measured later.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import FrozenTrial, Trial
from optuna.trial import TrialState as Told

from orchestration.common.errors import Problem, UserError
from orchestration.common.redaction import reason_of, without_credentials
from orchestration.search.draft_storage import DraftStorage
from orchestration.search.optuna_samplers import distribution_of, encode, sampler_of, suggest
from orchestration.search.stored_trial import (
    EXPLOITS,
    KIND,
    LIMITS,
    NUMBER,
    PRUNED_AT,
    REASON,
    SETTINGS,
    stored_trial,
)
from orchestration.search.study_storage import (
    SearcherFailedError,
    StudyDatabase,
    StudyGoneError,
    unavailable,
)
from orchestration.spec.search.population import exploits_as_plain
from orchestration.spec.search.section import SearchSpec
from orchestration.spec.search.space import grid_points
from orchestration.spec.search.trial import Exploit, SearchTrial, TrialState

if TYPE_CHECKING:
    from orchestration.exploration.searchers import TuneSearcher

_NAME = "dfm-{digest}"
_ABOUT, _ASKED = "about", "asked"
_GONE = (
    "study {} is no longer in {}: it was deleted or renamed. What was computed stays; submit the sweep again for a new "
    "study, which finds that by its digests"
)
_MOST_SECONDS_UNCHECKED = 1.0
"""Seconds for which a database that took a write is expected to take the next."""
_MOST_CHARACTERS = 1000
"""Longest reason that is stored: some databases cut, or refuse, longer texts."""


class Study:
    """The trials of one search in its database."""

    def __init__(self, database: StudyDatabase, digest: str, search: SearchSpec, about: Mapping[str, Any]) -> None:
        """Open or create it, and take up what a killed driver left: running trials go on, and those that failed are
        retried, as every submission retries what failed.

        Args: about: the plain data behind `digest`; a study that was made of other data is not touched.
        Raises: UserError if the database holds another search under this name; StudyUnavailableError.
        """
        self._search, self._config, self._uri = search, search.config, database.uri
        self._storage = database.storage
        self._written_at = -math.inf
        self._grid = grid_points(search.parameters) if search.proposer == "grid" else []
        self._name = name = _NAME.format(digest=digest)
        try:
            # An existing study is loaded whatever its directions are: `_check` looks.
            self._study = optuna.create_study(
                study_name=name, storage=self._storage, load_if_exists=True, directions=list(search.directions)
            )
            self._id = self._storage.get_study_id_from_name(name)
        except Exception as error:  # noqa: BLE001  any database, any reason: it cannot be used
            raise unavailable(self._uri, error) from None
        with self._translated_errors():
            self._check(about)
            self._take_up()
            newest = self._newest()
        self._keys = {number: self._key(frozen) for number, (frozen, _) in newest.items()}
        self._before = [(search.on_steps(trial.settings), dict(trial.settings)) for _, trial in newest.values()]
        self._searcher = self._open_searcher() if search.config.searcher is not None else None

    def trials(self) -> list[SearchTrial]:
        """Return all proposals by number; of a retried one the last attempt. Raises: StudyUnavailableError."""
        with self._translated_errors():
            newest = self._newest()
            for number, (frozen, _) in newest.items():  # another driver may have added some since this one opened it
                self._keys.setdefault(number, self._key(frozen))
            return [trial for _, (_, trial) in sorted(newest.items())]

    @property
    def most_trials(self) -> float:
        """Number of possible trials: the points of a grid, else infinity."""
        if self._searcher is not None and self._searcher.is_exhausted:
            return 0
        return len(self._grid) if self._grid else math.inf

    def ask(self) -> SearchTrial | None:
        """Return a new proposal, running; None if the searcher has none now. Raises: StudyUnavailableError."""
        with self._translated_errors():
            number, given = len(self._keys), None
            if self._searcher is not None:
                with self._searcher_errors():
                    given = self._searcher.suggest(number)
                if given is None:
                    return None
            self._check_that_it_can_be_written(number)
            self._keys[number], settings = self._point(number) if self._grid else self._drawn(number, given)
            self._written_at = time.monotonic()
            return SearchTrial(number, settings)

    def _check_that_it_can_be_written(self, number: int) -> None:
        """Fail at once where nothing can be written: Optuna would try five times to add a trial."""
        if time.monotonic() - self._written_at > _MOST_SECONDS_UNCHECKED:
            self._study.set_user_attr(_ASKED, number + 1)

    def _point(self, number: int) -> tuple[int, dict[str, Any]]:
        """Add the point of the grid with a number. Return the storage's number of the trial, and its settings."""
        settings = self._as_before(self._grid[number])
        params = encode(self._search, self._grid[number])
        distributions = {p.key: distribution_of(p) for p in self._search.parameters if p.key in params}
        attributes = {NUMBER: number, SETTINGS: settings}
        trial = optuna.trial.create_trial(
            state=Told.RUNNING, params=params, distributions=distributions, user_attrs=attributes
        )
        return self._storage.create_new_trial(self._id, trial), settings

    def _drawn(self, number: int, given: dict[str, Any] | None) -> tuple[int, dict[str, Any]]:
        """Add a proposal of the sampler, or of a searcher of Ray Tune's. Returns: as `_point`."""
        drafts = DraftStorage(self._storage, self._study.get_trials(deepcopy=False))
        study = optuna.load_study(study_name=self._name, storage=drafts, sampler=sampler_of(self._search, number))
        if given is not None:
            study.enqueue_trial(encode(self._search, given))
        trial = study.ask()
        settings = self._as_before(suggest(self._search, trial))
        trial.set_user_attr(NUMBER, number)
        trial.set_user_attr(SETTINGS, settings)  # last: a proposal without it was cut off, and does not count
        if drafts.draft is None:
            return self._key(trial), settings
        return self._storage.create_new_trial(self._id, drafts.draft), settings

    def _open_searcher(self) -> TuneSearcher:
        from orchestration.exploration.searchers import TuneSearcher  # needs Ray Tune

        with self._searcher_errors():
            return TuneSearcher(self._search, self.trials())

    @contextmanager
    def _searcher_errors(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001  any library, any reason: the search ends, the sweep goes on
            name = self._config.searcher
            raise SearcherFailedError(
                f"the searcher {name} failed ({reason_of(error)}); submit it with another"
            ) from None

    def heard(self, trial: SearchTrial) -> None:
        """Let a searcher of Ray Tune hear what is new of a trial."""
        if self._searcher is not None:
            with self._searcher_errors():
                self._searcher.tell(trial)

    def report(
        self, number: int, step: int, value: float, exploits: Mapping[int, Exploit] | None = None
    ) -> SearchTrial | None:
        """Tell the value of the objective at a rung, and all that was decided on settings so far.

        Returns, Raises: as `_change`.
        """

        def tell(key: int) -> None:
            if exploits:  # first the decision: with the value it is taken
                self._storage.set_trial_user_attr(key, EXPLOITS, exploits_as_plain(exploits))
            self._storage.set_trial_intermediate_value(key, step, value)

        return self._change(number, tell)

    def complete(
        self, number: int, values: Sequence[float], violations: Mapping[str, float] | None = None
    ) -> SearchTrial | None:
        """Tell the values of the objectives, finite, and the excess over each constraint, 0 or less if it holds.

        Returns, Raises: as `_change`.
        """

        def tell(key: int) -> None:
            if violations:
                trial = Trial(self._study, key)
                for name, excess in violations.items():
                    trial.set_constraint(name, excess)
            self._storage.set_trial_user_attr(key, LIMITS, list((violations or {}).values()))
            self._tell(key, Told.COMPLETE, list(values))

        return self._change(number, tell)

    def prune(self, number: int, step: int, value: float) -> SearchTrial | None:
        """Tell that a trial is not trained on after a rung, where it has this value. Returns, Raises: as `_change`."""

        def tell(key: int) -> None:
            # First the decision, which is made once: a driver that is killed before the rest finds it here.
            self._storage.set_trial_user_attr(key, PRUNED_AT, [step, value])
            self._prune(key, step, value)

        return self._change(number, tell)

    def fail(self, number: int, reason: str, state: TrialState = "failed") -> SearchTrial | None:
        """Tell why a trial has no value: it "failed", is "valueless" or "refused". Returns, Raises: as `_change`."""

        def tell(key: int) -> None:
            self._storage.set_trial_user_attr(key, REASON, reason[:_MOST_CHARACTERS])
            self._storage.set_trial_user_attr(key, KIND, state)
            self._tell(key, Told.FAIL)

        return self._change(number, tell)

    def _change(self, number: int, tell: Callable[[int], None]) -> SearchTrial | None:
        """Tell Optuna of a running trial. Return the trial if somebody has ended it, None if nobody has.

        Args: tell: is given the storage's number of the trial. Raises: StudyUnavailableError.
        """
        with self._translated_errors():
            key = self._keys[number]
            try:
                tell(key)
                self._written_at = time.monotonic()
            except (optuna.exceptions.UpdateFinishedTrialError, ValueError):  # somebody has ended it
                frozen = self._storage.get_trial(key)
                if not frozen.state.is_finished():
                    raise
                return stored_trial(frozen, self._search)
            return None

    def _prune(self, key: int, step: int, value: float) -> None:
        self._storage.set_trial_intermediate_value(key, step, value)
        self._tell(key, Told.PRUNED, [value])  # as Optuna does: the sampler learns it

    def _key(self, frozen: FrozenTrial | Trial) -> int:
        """Return the storage's own number of a trial."""
        return self._storage.get_trial_id_from_study_id_trial_number(self._id, frozen.number)

    def _tell(self, key: int, state: Told, values: Sequence[float] | None = None) -> None:
        """End a trial. (`Study.tell` reads it twice before, and calls the sampler, which does nothing then.)"""
        self._storage.set_trial_state_values(key, state, values)

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        """Translate errors of the storage. Raises: StudyUnavailableError; StudyGoneError if the study is not there."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                if not self._is_there:  # a database may give its number to another study
                    raise StudyGoneError(_GONE.format(self._name, without_credentials(self._uri)))
                yield
        except optuna.exceptions.StorageInternalError as error:
            raise unavailable(self._uri, error) from None

    @property
    def _is_there(self) -> bool:
        try:
            return self._storage.get_study_id_from_name(self._name) == self._id
        except KeyError:
            return False

    def _newest(self) -> dict[int, tuple[FrozenTrial, SearchTrial]]:
        """Return every whole proposal by its number: as Optuna keeps it, and as we do."""
        proposals = {}
        for frozen in self._study.get_trials(deepcopy=False):
            if SETTINGS in frozen.user_attrs:
                trial = stored_trial(frozen, self._search)
                proposals[trial.number] = (frozen, trial)
        return proposals

    def _as_before(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Return a proposal as it was made before: steps of earlier releases were sums of floats, and so are digests of
        what was computed of them."""
        return next((same for on_steps, same in self._before if on_steps == settings), settings)

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
            if SETTINGS not in frozen.user_attrs:
                self._tell(self._key(frozen), Told.FAIL)
            elif PRUNED_AT in frozen.user_attrs:
                self._prune(self._key(frozen), *frozen.user_attrs[PRUNED_AT])
            elif not frozen.params:  # retried, and killed before its values were fixed
                suggest(self._search, Trial(self._study, self._key(frozen)))
        for frozen, trial in self._newest().values():
            if trial.state == "failed" and KIND in frozen.user_attrs:  # what people ended stays so
                attributes = {SETTINGS: dict(trial.settings), NUMBER: trial.number}
                self._study.enqueue_trial(encode(self._search, trial.settings), attributes)
        for _ in self._study.get_trials(states=(Told.WAITING,)):
            suggest(self._search, self._study.ask())
