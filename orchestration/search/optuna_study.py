"""Optuna; the only file that imports it. It proposes and remembers; what is computed, and when, is not its business.

Every proposal is drawn by a new sampler, seeded with the search's seed and the number of proposals before: so what is
proposed depends on what was told alone, and a search that was killed goes on as if it had not been. (Seeded with the
search's seed alone, a new process would repeat its first draws.)
"""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, CmaEsSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, Trial
from optuna.trial import TrialState as Told

from orchestration.common.errors import Problem, UserError
from orchestration.common.redaction import without_credentials
from orchestration.config.ray_job import JOB_VARIABLE
from orchestration.spec.search_section import SearchSpec
from orchestration.spec.search_space import Parameter, grid_points
from orchestration.spec.search_trial import SearchTrial, TrialState
from orchestration.storage.layout import SEARCHES
from orchestration.storage.store import Store

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
_SQLITE_WAIT_SECONDS = 60
_MOST_CHARACTERS = 1000
"""Of a reason: some databases cut, or refuse, longer texts."""


class StudyUnavailableError(Exception):
    """The storage of a search cannot be used now."""


class StudyDatabase:
    """Where studies are kept; opened once for all of a sweep, which takes longer than anything that is asked of it."""

    def __init__(self, uri: str) -> None:
        """Raises: UserError if it cannot be used."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.uri = uri
        try:
            self.storage = RDBStorage(uri, engine_kwargs=_engine_options(uri))
        except Exception as error:  # noqa: BLE001  any database, any reason: it cannot be used
            raise unusable(uri, error) from None


class Study:
    """The trials of one search in its database."""

    def __init__(self, database: StudyDatabase, digest: str, search: SearchSpec, about: Mapping[str, Any]) -> None:
        """Opens or creates it, and takes up again what a killed driver left: trials that ran run on, and those that
        failed are tried again, since a submission tries again what failed.

        Args: about: plain data of which `digest` is the digest; a study that says otherwise is not touched.
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
        with self._asking():
            self._check(about)
            self._take_up()

    def trials(self) -> list[SearchTrial]:
        """All proposals, by number; of one that is tried again the last attempt. Raises: StudyUnavailableError."""
        with self._asking():
            return [trial for _, trial in sorted(self._newest().values(), key=lambda found: found[1].number)]

    @property
    def most_trials(self) -> float:
        """How many there can be: the points of a grid, else no end of them."""
        return len(self._grid) if self._config.sampler == "grid" else math.inf

    def ask(self) -> SearchTrial:
        """A new proposal, running. Raises: StudyUnavailableError."""
        with self._asking():
            number = len(self._newest())
            self._study.sampler = self._sampler(seed_of(self._config.seed, number))
            if self._grid:
                self._study.enqueue_trial(self._encoded(self._grid[number]))
            trial = self._study.ask()
            settings = self._suggest(trial)
            trial.set_user_attr(_NUMBER, number)
            trial.set_user_attr(_SETTINGS, settings)  # last: a proposal without it was cut off, and does not count
            return SearchTrial(number, settings)

    def report(self, number: int, step: int, value: float) -> None:
        """A value of the objective at a rung. Raises: StudyUnavailableError."""
        with self._asking():
            frozen = self._newest()[number][0]
            self._storage.set_trial_intermediate_value(self._key(frozen), step, value)

    def complete(self, number: int, values: Sequence[float], violations: Mapping[str, float] | None = None) -> None:
        """The values of the objectives, finite, and by how much constraints are broken, 0 or less if they are not.

        Raises: StudyUnavailableError.
        """
        with self._asking():
            frozen = self._newest()[number][0]
            trial = Trial(self._study, self._key(frozen))
            for name, excess in (violations or {}).items():
                trial.set_constraint(name, excess)
            trial.set_user_attr(_LIMITS, list((violations or {}).values()))
            self._tell(frozen, Told.COMPLETE, list(values))

    def prune(self, number: int, step: int, value: float) -> None:
        """It is not trained on after a rung, where it has this value. Raises: StudyUnavailableError."""
        with self._asking():
            frozen = self._newest()[number][0]
            # First the decision, which is made once: a driver that is killed before the rest finds it here.
            self._storage.set_trial_user_attr(self._key(frozen), _PRUNED_AT, [step, value])
            self._prune(frozen, step, value)

    def fail(self, number: int, reason: str, state: TrialState = "failed") -> None:
        """It has no value, and why; `state`: "failed", "valueless" or "refused". Raises: StudyUnavailableError."""
        with self._asking():
            frozen = self._newest()[number][0]
            self._storage.set_trial_user_attr(self._key(frozen), _REASON, reason[:_MOST_CHARACTERS])
            self._storage.set_trial_user_attr(self._key(frozen), _KIND, state)
            self._tell(frozen, Told.FAIL)

    def _prune(self, frozen: FrozenTrial, step: int, value: float) -> None:
        self._storage.set_trial_intermediate_value(self._key(frozen), step, value)
        self._tell(frozen, Told.PRUNED)

    def _key(self, frozen: FrozenTrial) -> int:
        """What the storage calls a trial."""
        return self._storage.get_trial_id_from_study_id_trial_number(self._id, frozen.number)

    def _tell(self, frozen: FrozenTrial, state: Told, values: Sequence[float] | None = None) -> None:
        # What a sampler keeps of a told trial (a generation, a covariance) is kept by the sampler that is set.
        self._study.sampler = self._sampler(seed_of(self._config.seed, frozen.number))
        self._study.tell(frozen.number, values, state=state)

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Raises: StudyUnavailableError for whatever the storage raises."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                yield
        except optuna.exceptions.StorageInternalError as error:
            raise StudyUnavailableError(f"{without_credentials(self._uri)}: {_reason(error)}") from None

    def _newest(self) -> dict[int, tuple[FrozenTrial, SearchTrial]]:
        """Every whole proposal by its number: as Optuna keeps it, and as we do."""
        found = {}
        for frozen in self._study.get_trials(deepcopy=False):
            if _SETTINGS in frozen.user_attrs:
                trial = _trial(frozen, self._search)
                found[trial.number] = (frozen, trial)
        return found

    def _check(self, about: Mapping[str, Any]) -> None:
        """Raises: UserError if the study under our name is another search."""
        problems = []
        directions = [direction.name.lower() for direction in self._study.directions]
        if directions != list(self._search.directions):
            problems.append(f"its directions are {directions}, not {list(self._search.directions)}")
        known = self._study.user_attrs.get(_ABOUT)
        if known is None:
            self._study.set_user_attr(_ABOUT, dict(about))
        else:
            problems.extend(f"its {key} is {known.get(key)!r}" for key in about if known.get(key) != about[key])
        wanted = {parameter.key: _distribution(parameter) for parameter in self._search.parameters}
        for frozen in self._study.get_trials(deepcopy=False):
            for key, found in frozen.distributions.items():
                if key not in wanted or found != wanted[key]:
                    problems.append(f"{key} of its trial {frozen.number} is {found}, not {wanted.get(key)}")
        if problems:
            where = f"study {self._study.study_name} in {without_credentials(self._uri)}"
            raise UserError([Problem("search_storage", f"{where} is another search: {p}") for p in set(problems)])

    def _take_up(self) -> None:
        """Trials that a killed driver left: proposals that were cut off end, the others, and those that failed, run."""
        for frozen in self._study.get_trials(states=(Told.RUNNING,)):
            if _SETTINGS not in frozen.user_attrs:
                self._tell(frozen, Told.FAIL)
            elif _PRUNED_AT in frozen.user_attrs:
                self._prune(frozen, *frozen.user_attrs[_PRUNED_AT])
            elif not frozen.params:  # tried again, and killed before its values were fixed
                self._suggest(Trial(self._study, self._key(frozen)))
        for _, trial in self._newest().values():
            if trial.state == "failed":
                attributes = {_SETTINGS: dict(trial.settings), _NUMBER: trial.number}
                self._study.enqueue_trial(self._encoded(trial.settings), attributes)
        for _ in self._study.get_trials(states=(Told.WAITING,)):
            self._suggest(self._study.ask())

    def _suggest(self, trial: Trial) -> dict[str, Any]:
        """Values for the keys that are read, in the order of the space."""
        settings: dict[str, Any] = {}
        for parameter in self._search.parameters:
            if parameter.is_read(settings):
                settings[parameter.key] = _suggested(trial, parameter)
        return settings

    def _encoded(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Values as Optuna knows them."""
        choices = {parameter.key for parameter in self._search.parameters if parameter.kind == "choice"}
        return {key: json.dumps(value) if key in choices else value for key, value in settings.items()}

    def _sampler(self, seed: int) -> BaseSampler:
        config = self._config
        if config.sampler == "tpe":
            conditional = any(parameter.when for parameter in self._search.parameters)
            return TPESampler(seed=seed, multivariate=True, group=conditional, constant_liar=True)
        if config.sampler == "nsga2":
            return NSGAIISampler(population_size=config.population, seed=seed)
        if config.sampler == "cmaes":
            return CmaEsSampler(seed=seed, independent_sampler=RandomSampler(seed), warn_independent_sampling=False)
        return RandomSampler(seed)  # random; a grid's points are given


def unusable(uri: str, error: Exception) -> UserError:
    """What to tell of a database that cannot be used."""
    return UserError.of("search_storage", f"cannot use {without_credentials(uri)} ({_reason(error)})")


def seed_of(seed: int, number: int) -> int:
    """A sampler's seed for the proposal of a number."""
    return int.from_bytes(hashlib.sha256(f"search {seed} {number}".encode()).digest()[:4], "big")


def _trial(frozen: FrozenTrial, search: SearchSpec) -> SearchTrial:
    kept = frozen.user_attrs
    state = _STATES.get(frozen.state) or kept.get(_KIND, "failed")
    return SearchTrial(
        number=int(kept[_NUMBER]),
        settings=search.ordered(kept[_SETTINGS]),
        state=state if frozen.state != Told.WAITING else "running",
        values=tuple(frozen.values) if frozen.state == Told.COMPLETE else (),
        at_rungs=dict(frozen.intermediate_values),
        violations=tuple(kept.get(_LIMITS, ())),
        reason=str(kept.get(_REASON, "")),
    )


def _distribution(parameter: Parameter) -> BaseDistribution:
    if parameter.kind == "choice":
        return CategoricalDistribution(parameter.choices)
    if parameter.kind == "int":
        return IntDistribution(int(parameter.low), int(parameter.high), step=int(parameter.step or 1))
    return FloatDistribution(parameter.low, parameter.high, log=parameter.kind == "log", step=parameter.step)


def _suggested(trial: Trial, parameter: Parameter) -> Any:
    key = parameter.key
    if parameter.kind == "choice":
        return json.loads(trial.suggest_categorical(key, parameter.choices))
    low, high, step = parameter.low, parameter.high, parameter.step
    if parameter.kind == "int":
        return trial.suggest_int(key, int(low), int(high), step=int(step or 1))
    return trial.suggest_float(key, low, high, step=step, log=parameter.kind == "log")


def _engine_options(uri: str) -> dict[str, Any]:
    if uri.startswith("sqlite:"):
        return {"connect_args": {"timeout": _SQLITE_WAIT_SECONDS}}
    return {"pool_pre_ping": True}  # a connection that the server dropped meanwhile is made anew


def _reason(error: Exception) -> str:
    text = without_credentials(" ".join(str(error).split()))
    return f"{type(error).__name__}: {text[:300]}"


_KEY = "search_storage"


def search_storage(configured: str | None, store: Store, environment: Mapping[str, str]) -> str:
    """URL of the database: the config's, else sqlite under a local storage root.

    Raises: UserError if there is none for a remote root, or it would be thrown away with a job's working directory.
    """
    if configured is None:
        if not store.is_local:
            raise UserError.of(_KEY, f"give a database, e.g. postgresql://host/name: {store.root} cannot hold one")
        return f"sqlite:///{store.path(SEARCHES)}"
    if JOB_VARIABLE in environment and configured.startswith("sqlite:///") and not configured.startswith("sqlite:////"):
        raise UserError.of(_KEY, f"{configured!r} is relative: inside a Ray job it would be thrown away")
    return configured
