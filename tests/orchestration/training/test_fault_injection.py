"""Faults on purpose: read in one place, in their step, once; and without them nothing is in the way."""

from __future__ import annotations

import json
import sys
from typing import Any, cast

import pytest
import torch
from ray._private.runtime_env.packaging import get_excludes_from_ignore_files

from dfm_core.paradigms import Batch, LossResult, Paradigm
from orchestration.common.errors import UserError
from orchestration.common.project import ROOT
from orchestration.config.workers import WorkersConfig
from orchestration.storage.store import Store
from orchestration.tasks.task import TrainTask
from orchestration.training.fault_hook import faults_in, with_faults
from orchestration.training.train_request import request_of
from tests.support.fault_injection import InjectedError
from tests.support.stored_sweeps import tiny_plan

BATCH = 8


class Sound:
    """A paradigm whose loss is 1."""

    def loss(self, _model: Any, _batch: Batch) -> LossResult:
        return LossResult(torch.tensor(1.0), torch.zeros(1), torch.zeros(1))


SOUND = cast("Paradigm", Sound())


def losses(paradigm: Paradigm, steps: range, rank: int = 0) -> list[float]:
    found = []
    for step in steps:
        first = (step - 1) * BATCH + rank * BATCH // 2
        batch = Batch(torch.zeros(4, 1), torch.zeros(4), range(first, first + BATCH // 2))
        found.append(float(paradigm.loss(cast("Any", None), batch).loss))
    return found


def nans(found: list[float]) -> list[int]:
    return [step for step, loss in enumerate(found, start=1) if loss != loss]


def test_without_a_fault_of_its_own_a_worker_trains_the_paradigm_itself(store: Store) -> None:
    assert faults_in({}) == faults_in({"DFM_FAULT": ""}) == ""
    assert with_faults(SOUND, "", 0, BATCH, store) is SOUND
    assert with_faults(SOUND, "1:3:kill", 0, BATCH, store) is SOUND
    assert store.names("faults") == []


def test_a_fault_happens_in_its_step_once_under_a_root_and_is_recorded(store: Store) -> None:
    faults = faults_in({"DFM_FAULT": "1:3:nan, 1:5:nan"})
    assert nans(losses(with_faults(SOUND, faults, 1, BATCH, store), range(1, 5), rank=1)) == [3]
    again = with_faults(SOUND, faults, 1, BATCH, store)  # another attempt, from the start
    assert nans(losses(again, range(1, 8), rank=1)) == [5]
    assert store.names("faults") == ["1-3-nan.json", "1-5-nan.json"]
    assert set(json.loads(store.read("faults/1-3-nan.json"))) == {"host", "pid"}


def test_nans_are_in_every_step_from_theirs_on_in_every_attempt(store: Store) -> None:
    for _ in range(2):
        paradigm = with_faults(SOUND, "0:3:nans", 0, BATCH, store)
        assert nans(losses(paradigm, range(1, 6))) == [3, 4, 5]


def test_an_error_is_raised_in_the_step(store: Store) -> None:
    paradigm = with_faults(SOUND, "0:2:error", 0, BATCH, store)
    assert losses(paradigm, range(1, 2)) == [1.0]
    with pytest.raises(InjectedError):
        losses(paradigm, range(2, 3))


def test_mistakes_are_told_all_at_once_with_the_nearest_action() -> None:
    with pytest.raises(UserError) as told:
        faults_in({"DFM_FAULT": "1:25:kil,0:x:nan,../../x"})
    assert [str(problem) for problem in told.value.problems] == [
        "DFM_FAULT: 'kil' is no action; did you mean 'kill'? known: kill, freeze, hang, slow, nan, nans, memory, error",
        "DFM_FAULT: '0:x:nan' is not rank:step:action, e.g. 1:25:kill",
        "DFM_FAULT: '../../x' is not rank:step:action, e.g. 1:25:kill",
    ]


def test_an_installed_package_without_the_faults_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tests.support.fault_injection", None)  # type: ignore[arg-type]
    assert faults_in({}) == ""
    with pytest.raises(UserError, match="DFM_FAULT: works in a checkout alone"):
        faults_in({"DFM_FAULT": "0:1:kill"})


def test_the_faults_travel_with_a_request(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFM_FAULT", "1:25:kill")
    request = request_of(tiny_plan().of_kind(TrainTask)[0], store, WorkersConfig(), "board")
    assert (request.faults, request.run_directory, request.progress_board) == ("1:25:kill", "", "board")


def test_the_faults_travel_with_a_submitted_job() -> None:
    excluded = get_excludes_from_ignore_files(ROOT, include_gitignore=True)
    assert excluded, "the project has its ignore files"
    for name in ("tests/__init__.py", "tests/support/__init__.py", "tests/support/fault_injection.py"):
        assert not any(one(ROOT / name) for one in excluded), name
        assert (ROOT / name).exists()
