"""A new trial that is drawn before it is stored.

In the database each value and each attribute of a proposal would be a transaction of its own, of some ten statements.
Here they are kept until the proposal is whole, and one transaction stores it: a proposal is there whole or not at all.
"""

from __future__ import annotations

import copy
from collections.abc import Container, Sequence
from datetime import datetime
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

_DRAFT = -1
"""Storage number of the draft; databases count from 0 or 1."""


class DraftStorage(BaseStorage):
    """A study as it is in its storage, and one new trial that is not; all else is read and written through.

    Meant for one `Study.ask` with its suggestions.
    """

    def __init__(self, storage: BaseStorage, trials: Sequence[FrozenTrial]) -> None:
        """Args: trials: those of the study, as they are now."""
        self._storage, self._trials = storage, trials
        self.draft: FrozenTrial | None = None
        """None too if a trial is drawn that waited in the storage: it is written through."""

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:  # noqa: ARG002
        given = template_trial
        self.draft = FrozenTrial(
            number=len(self._trials),
            state=TrialState.RUNNING if given is None else given.state,
            value=None,
            datetime_start=datetime.now(),
            datetime_complete=None,
            params={},
            distributions={},
            user_attrs={} if given is None else dict(given.user_attrs),
            system_attrs={} if given is None else dict(given.system_attrs),
            intermediate_values={},
            trial_id=_DRAFT,
        )
        return _DRAFT

    def get_all_trials(
        self,
        study_id: int,  # noqa: ARG002
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        every = [*self._trials, *([] if self.draft is None else [self.draft])]
        trials = [trial for trial in every if states is None or trial.state in states]
        return copy.deepcopy(trials) if deepcopy else trials

    def get_trial(self, trial_id: int) -> FrozenTrial:
        return self._storage.get_trial(trial_id) if trial_id != _DRAFT else self._drawn

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        if trial_id != _DRAFT:
            self._storage.set_trial_param(trial_id, param_name, param_value_internal, distribution)
            return
        self._drawn.distributions[param_name] = distribution
        self._drawn.params[param_name] = distribution.to_external_repr(param_value_internal)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        if trial_id != _DRAFT:
            return self._storage.set_trial_state_values(trial_id, state, values)
        self._drawn.state = state  # a given trial is no longer waiting
        return True

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        if trial_id != _DRAFT:
            self._storage.set_trial_user_attr(trial_id, key, value)
        else:
            self._drawn.user_attrs[key] = value

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        if trial_id != _DRAFT:
            self._storage.set_trial_system_attr(trial_id, key, value)
        else:
            self._drawn.system_attrs[key] = value

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        self._storage.set_trial_intermediate_value(trial_id, step, intermediate_value)

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        return self._storage.create_new_study(directions, study_name)

    def delete_study(self, study_id: int) -> None:
        self._storage.delete_study(study_id)

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        self._storage.set_study_user_attr(study_id, key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        self._storage.set_study_system_attr(study_id, key, value)

    def get_study_id_from_name(self, study_name: str) -> int:
        return self._storage.get_study_id_from_name(study_name)

    def get_study_name_from_id(self, study_id: int) -> str:
        return self._storage.get_study_name_from_id(study_id)

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        return self._storage.get_study_directions(study_id)

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        return self._storage.get_study_user_attrs(study_id)

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        return self._storage.get_study_system_attrs(study_id)

    def get_all_studies(self) -> list[Any]:
        return self._storage.get_all_studies()

    @property
    def _drawn(self) -> FrozenTrial:
        assert self.draft is not None, "nothing was drawn yet"
        return self.draft
