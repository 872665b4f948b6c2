"""The study behind a search: every sampler, resumed and not; and what Optuna does where nobody looks after it."""

from __future__ import annotations

import math
import sqlite3
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState as Told

from orchestration.common.errors import UserError
from orchestration.search.optuna_samplers import encode
from orchestration.search.optuna_study import Study
from orchestration.search.study_storage import StudyDatabase, StudyGoneError, StudyUnavailableError
from orchestration.spec.search.reader import read_search
from orchestration.spec.search.section import SearchSpec
from orchestration.spec.search.space import grid_points
from orchestration.spec.search.trial import SearchTrial

RANGES: dict[str, Any] = {
    "training.learning_rate": {"log": [1e-4, 1e-2]},
    "sampling.tau": {"uniform": [0.5, 0.9]},
}
MIXED = {**RANGES, "sampling.steps": {"choice": [[9, 3], [6, 6]]}, "model.lora_rank": {"int": [0, 8], "step": 4}}
COUNTED = {"sampling.tau": {"uniform": [0.5, 0.9], "step": 0.1}, "sampling.steps": {"choice": [[9, 3], [6, 6], [3, 3]]}}
CONDITIONAL = {
    "model.backbone": {"choice": ["dit", "tokenformer"]},
    "model.lora_rank": {"choice": [0, 4], "when": {"model.backbone": "dit"}},
    "sampling.tau": {"uniform": [0.5, 0.9], "step": 0.2},
}
TWO = {"fd_lite0_block10": "minimize", "label_accuracy": "maximize"}
SAMPLERS: dict[str, dict[str, Any]] = {
    "random": {"space": MIXED},
    "grid": {"space": COUNTED},
    "tpe": {"space": MIXED},
    "conditional": {"space": CONDITIONAL, "sampler": "tpe"},
    "cmaes": {"space": RANGES},
    "nsga2": {"space": MIXED, "objectives": TWO, "population": 4},
}
ABOUT = {"space": "as given"}


def search_of(name: str = "tpe", **more: Any) -> SearchSpec:
    given = {
        "objectives": {"fd_lite0_block10": "minimize"},
        "num_trials": 20,
        "sampler": name,
        **SAMPLERS[name],
        **more,
    }
    search, problems = read_search(given, "here")
    assert search is not None, problems
    return search


def open_study(folder: Path, search: SearchSpec, about: dict[str, Any] = ABOUT) -> Study:
    return Study(StudyDatabase(f"sqlite:///{folder}/search.db"), "0123", search, about)


def stock(folder: Path) -> optuna.Study:
    """The same study, as Optuna opens it."""
    return optuna.load_study(study_name="dfm-0123", storage=f"sqlite:///{folder}/search.db")


def score(trial: SearchTrial, search: SearchSpec) -> list[float]:
    tau, rate = trial.settings["sampling.tau"], trial.settings.get("training.learning_rate", 1e-3)
    return [abs(tau - 0.7) + abs(math.log10(rate) + 3), tau][: len(search.directions)]


def complete(study: Study, search: SearchSpec, count: int) -> list[dict[str, Any]]:
    """So many trials, one after the other. Returns what was proposed."""
    proposed = []
    for _ in range(count):
        trial = study.ask()
        proposed.append(dict(trial.settings))
        study.complete(trial.number, score(trial, search))
    return proposed


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_study_that_is_opened_again_proposes_what_an_uninterrupted_one_does(tmp_path: Path, name: str) -> None:
    search = search_of(name)
    (tmp_path / "whole").mkdir()
    (tmp_path / "cut").mkdir()
    whole = complete(open_study(tmp_path / "whole", search), search, 13)
    cut = complete(open_study(tmp_path / "cut", search), search, 11)
    if name != "cmaes":  # which draws by Optuna's own number, that a proposal that was cut off has used up
        stock(tmp_path / "cut").ask()  # a driver that is killed before the proposal is whole
    cut += complete(open_study(tmp_path / "cut", search), search, 2)
    assert cut == whole
    assert len({str(settings) for settings in whole}) > 5


def test_stock_a_new_process_repeats_its_first_draws_and_ours_does_not(tmp_path: Path) -> None:
    drawn = []
    for _ in range(2):
        study = optuna.create_study(
            study_name="s",
            storage=f"sqlite:///{tmp_path}/stock.db",
            load_if_exists=True,
            sampler=optuna.samplers.TPESampler(seed=0),
        )
        drawn.append(study.ask().suggest_float("x", 0, 1))
    assert drawn[0] == drawn[1]
    first = open_study(tmp_path, search_of()).ask()
    second = open_study(tmp_path, search_of()).ask()
    assert first.settings != second.settings


def test_proposals_made_at_the_same_time_differ(tmp_path: Path) -> None:
    study = open_study(tmp_path, search_of("random"))
    asked = [study.ask() for _ in range(4)]
    assert len({str(trial.settings) for trial in asked}) == 4
    assert [trial.number for trial in study.trials()] == [0, 1, 2, 3]


def test_another_direction_under_a_name_passes_stock_silently_and_ours_refuses_it(
    tmp_path: Path,
) -> None:
    search = search_of()
    open_study(tmp_path, search)
    uri = f"sqlite:///{tmp_path}/search.db"
    taken = optuna.create_study(study_name="dfm-0123", storage=uri, load_if_exists=True, direction="maximize")
    assert taken.direction.name == "MINIMIZE"
    other = search_of(objectives={"label_accuracy": "maximize"})
    with pytest.raises(UserError, match=r"another search: its directions are \['minimize'\], not \['maximize'\]"):
        open_study(tmp_path, other)


def test_a_study_of_another_search_is_told_with_the_difference(tmp_path: Path) -> None:
    complete(open_study(tmp_path, search_of()), search_of(), 1)
    with pytest.raises(UserError, match="its space is 'as given'"):
        open_study(tmp_path, search_of(), {"space": "another"})
    wider = search_of(space={**MIXED, "sampling.tau": {"uniform": [0.1, 0.9]}})
    with pytest.raises(UserError, match=r"sampling.tau of its trial 0 is FloatDistribution\(high=0.9.*low=0.5"):
        open_study(tmp_path, wider)


def test_a_storage_that_cannot_be_used_is_a_users_mistake_without_credentials(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="search_storage: cannot use") as caught:
        StudyDatabase("nosuch://me:secret@host/db")
    assert "secret" not in str(caught.value)
    with pytest.raises(UserError, match="unable to open database file"):
        open_study(tmp_path / "not there", search_of())


def damage(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[4096:] = b"x" * (len(content) - 4096)  # all but the first page, which says that it is a database
    file.write_bytes(content)


def move(file: Path) -> None:
    file.rename(file.with_name("elsewhere.db"))


@pytest.mark.parametrize(
    ("harm", "kind", "reason"),
    [
        (Path.unlink, StudyGoneError, "was removed or replaced while it was used; submit the sweep again"),
        (move, StudyGoneError, "was removed or replaced while it was used"),
        (damage, StudyUnavailableError, r"\(DatabaseError: database disk image is malformed .*; move it away"),
        (lambda file: file.write_bytes(b"no" * 9000), StudyUnavailableError, "file is not a database .*; move it away"),
        (lambda file: file.write_bytes(b""), StudyUnavailableError, r"\(OperationalError: no such table"),
    ],
    ids=["removed", "moved", "damaged", "no database", "empty"],
)
def test_harm_to_a_database_in_mid_search_is_told_at_once_by_its_cause(
    tmp_path: Path, harm: Callable[[Path], object], kind: type[Exception], reason: str
) -> None:
    study = open_study(tmp_path, search_of())
    study.ask()
    harm(tmp_path / "search.db")
    calls: tuple[Callable[[], object], ...] = (lambda: study.complete(0, [1.0]), study.ask)
    began = time.monotonic()
    for call in calls:
        with pytest.raises(kind, match=rf"search\.db.*{reason}"):
            call()
    assert time.monotonic() - began < 30  # Optuna would go on for over a minute


@pytest.mark.parametrize("lock", ["IMMEDIATE", "EXCLUSIVE"])
def test_who_locks_a_database_is_named_soon_and_not_by_the_librarys_guess(tmp_path: Path, lock: str) -> None:
    study = open_study(tmp_path, search_of())
    study.ask()
    with closing(sqlite3.connect(tmp_path / "search.db", isolation_level=None)) as holder:
        holder.execute(f"BEGIN {lock}")
        expected = r"search\.db \((OperationalError: )?(\(sqlite3.OperationalError\) )?database is locked"
        for call in (lambda: study.report(0, 1, 1.0), study.ask, lambda: open_study(tmp_path, search_of())):
            began = time.monotonic()
            with pytest.raises((StudyUnavailableError, UserError), match=f"{expected}.*another program holds it"):
                call()
            assert time.monotonic() - began < 30  # five of SQLite's, where Optuna would try for over a minute
    assert study.ask().number == 1


def test_running_trials_of_a_killed_driver_run_on_and_are_told_once(tmp_path: Path) -> None:
    study = open_study(tmp_path, search_of())
    left = [study.ask(), study.ask()]
    again = open_study(tmp_path, search_of())
    assert [trial.state for trial in again.trials()] == ["running", "running"]
    assert [trial.settings for trial in again.trials()] == [trial.settings for trial in left]
    for trial in again.trials():
        again.complete(trial.number, [1.0])
    assert [trial.state for trial in stock(tmp_path).trials] == [Told.COMPLETE, Told.COMPLETE]


def test_a_proposal_that_was_cut_off_is_no_trial_and_not_running_for_ever(tmp_path: Path) -> None:
    study = open_study(tmp_path, search_of())
    stock(tmp_path).ask().suggest_float("sampling.tau", 0.5, 0.9)
    assert study.trials() == []
    again = open_study(tmp_path, search_of())
    assert again.trials() == []
    assert [trial.state for trial in stock(tmp_path).trials] == [Told.FAIL]
    assert again.ask().number == 0


def test_what_failed_is_tried_again_as_the_same_trial_and_what_has_no_value_is_not(tmp_path: Path) -> None:
    study = open_study(tmp_path, search_of())
    asked = [study.ask() for _ in range(3)]
    study.fail(0, "out of memory")
    study.fail(1, "fd is no finite number", "valueless")
    study.fail(2, "breaks a rule", "refused")
    assert [trial.reason for trial in study.trials()] == ["out of memory", "fd is no finite number", "breaks a rule"]
    again = open_study(tmp_path, search_of())
    assert [trial.state for trial in again.trials()] == ["running", "valueless", "refused"]
    assert again.trials()[0].settings == asked[0].settings
    again.complete(0, [2.0])
    assert again.trials()[0].values == (2.0,)
    assert again.ask().number == 3
    told = stock(tmp_path).trials[3]
    assert (told.state, told.value, set(told.params)) == (Told.COMPLETE, 2.0, set(asked[0].settings))


def test_a_second_try_killed_before_its_values_are_fixed_is_fixed_at_the_next_start(tmp_path: Path) -> None:
    study = open_study(tmp_path, search_of())
    study.ask()
    study.fail(0, "lost")
    attributes = {"settings": dict(study.trials()[0].settings), "number": 0}
    fixed = encode(search_of(), study.trials()[0].settings)
    stock(tmp_path).enqueue_trial(fixed, attributes)
    stock(tmp_path).ask()  # and killed
    again = open_study(tmp_path, search_of())
    (trial,) = again.trials()
    assert trial.state == "running"
    assert stock(tmp_path).trials[1].params == fixed


def ray_search(folder: Path) -> Any:
    """Ray Tune's own searcher on Optuna."""
    from ray.tune.search.optuna import OptunaSearch

    uri = f"sqlite:///{folder}/stock.db"
    storage = optuna.storages.RDBStorage(uri)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return OptunaSearch(lambda trial: trial.suggest_float("x", 0, 1) and None, "loss", "min", storage=storage)


@pytest.mark.parametrize(
    ("result", "stock_state"),
    [({"loss": math.nan}, Told.RUNNING), ({"loss": 5.0, "training_iteration": 1}, Told.COMPLETE)],
)
def test_stock_a_nan_runs_for_ever_and_a_stopped_trial_counts_as_whole(
    tmp_path: Path, result: dict[str, float], stock_state: Told
) -> None:
    searcher = ray_search(tmp_path)
    searcher.suggest("t")
    try:
        searcher.on_trial_complete("t", result)  # Tune calls the same for a trial that ASHA stopped half-way
    except ValueError:
        assert math.isnan(result["loss"])
    assert [trial.state for trial in searcher._ot_study.trials] == [stock_state]


@pytest.mark.parametrize(
    ("end", "values", "expected"),
    [
        (Told.FAIL, None, ("failed", ())),
        (Told.COMPLETE, [2.5], ("complete", (2.5,))),
        (Told.COMPLETE, [math.inf], ("valueless", ())),
        (Told.PRUNED, None, ("pruned", ())),
    ],
)
@pytest.mark.parametrize("tell", ["report", "complete", "prune", "fail"])
def test_what_a_person_told_of_a_running_trial_stands_whatever_is_told_later(
    tmp_path: Path, tell: str, end: Told, values: list[float] | None, expected: tuple[str, tuple[float, ...]]
) -> None:
    study = open_study(tmp_path, search_of())
    study.ask()
    stock(tmp_path).tell(0, values, state=end)
    arguments: dict[str, tuple[Any, ...]] = {
        "report": (0, 100, 1.0),
        "complete": (0, [1.0], {"label_accuracy": 1.0}),
        "prune": (0, 100, 1.0),
        "fail": (0, "no room"),
    }
    found = getattr(study, tell)(*arguments[tell])
    assert (found.state, found.values, found.reason) == (*expected, "somebody told Optuna so")
    (again,) = open_study(tmp_path, search_of()).trials()
    assert again == found, "a person's decision is not tried again"


def test_what_a_person_told_while_we_tell_it_stands_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = open_study(tmp_path, search_of())
    study.ask()
    real = study._tell

    def slower(*given: Any) -> None:
        stock(tmp_path).tell(0, 2.5)
        real(*given)

    monkeypatch.setattr(study, "_tell", slower)
    found = study.complete(0, [1.0])
    assert found is not None
    assert (found.state, found.values) == ("complete", (2.5,))


def test_a_trial_that_nobody_ended_is_told_and_needs_no_answer(tmp_path: Path) -> None:
    study = open_study(tmp_path, search_of())
    assert study.ask().number == 0
    assert study.report(0, 100, 1.0) is None
    assert study.complete(0, [1.0]) is None
    (trial,) = study.trials()
    assert (trial.state, trial.reason) == ("complete", "")


@pytest.mark.parametrize("new", [False, True], ids=["deleted", "another took its number"])
def test_a_study_that_is_deleted_is_gone_and_no_other_is_taken_for_it(tmp_path: Path, new: bool) -> None:
    study = open_study(tmp_path, search_of())
    study.ask()
    uri = f"sqlite:///{tmp_path}/search.db"
    optuna.delete_study(study_name="dfm-0123", storage=uri)
    if new:
        optuna.create_study(study_name="another", storage=uri).ask()
    for call in (study.trials, study.ask, lambda: study.complete(0, [1.0]), lambda: study.fail(0, "x")):
        with pytest.raises(StudyGoneError, match=r"study dfm-0123 is no longer in .*search\.db: it was deleted"):
            call()
    if new:
        assert len(optuna.load_study(study_name="another", storage=uri).trials) == 1


def test_a_pruned_trial_is_told_as_pruned_with_its_values_at_rungs(tmp_path: Path) -> None:
    study = open_study(tmp_path, search_of())
    study.ask()
    study.report(0, 100, 5.0)
    study.prune(0, 350, 4.0)
    (told,) = stock(tmp_path).trials
    assert (told.state, told.intermediate_values) == (Told.PRUNED, {100: 5.0, 350: 4.0})
    (ours,) = study.trials()
    assert (ours.state, ours.values, ours.at_rungs) == ("pruned", (), {100: 5.0, 350: 4.0})


def test_a_trial_that_was_to_be_pruned_when_its_driver_was_killed_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = open_study(tmp_path, search_of())
    study.ask()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    for method in ("_prune", "_tell"):
        monkeypatch.setattr(study, method, killed)
        with pytest.raises(KeyboardInterrupt):
            study.prune(0, 100, 5.0)
        monkeypatch.undo()
    (trial,) = open_study(tmp_path, search_of()).trials()
    assert (trial.state, trial.at_rungs) == ("pruned", {100: 5.0})


def test_a_grid_is_proposed_in_order_each_point_once_and_has_an_end(tmp_path: Path) -> None:
    search = search_of("grid", space=CONDITIONAL)
    points = grid_points(search.parameters)
    assert [point.get("model.lora_rank") for point in points[::3]] == [0, 4, None]
    study = open_study(tmp_path, search)
    assert complete(study, search, 9) == points
    assert study.most_trials == 9


def test_keys_that_are_not_read_are_not_proposed(tmp_path: Path) -> None:
    search = search_of("conditional")
    proposed = complete(open_study(tmp_path, search), search, 12)
    assert {settings["model.backbone"] for settings in proposed} == {"dit", "tokenformer"}
    for settings in proposed:
        assert ("model.lora_rank" in settings) == (settings["model.backbone"] == "dit")


@pytest.mark.parametrize("name", ["tpe", "nsga2"])
def test_a_limit_that_is_broken_is_learnt_from(tmp_path: Path, name: str) -> None:
    space = {"sampling.tau": {"uniform": [0.0001, 0.9]}, "sampling.guidance": {"uniform": [1.0, 2.0]}}
    options: dict[str, Any] = {"space": space, "objectives": {"fd_lite0_block10": "minimize"}}
    limited = search_of(name, **options, constraints={"label_accuracy": {"at_least": 0.5}})

    def proposed(search: SearchSpec, folder: Path, violated: Callable[[float], dict[str, float]]) -> list[float]:
        folder.mkdir()
        study, found = open_study(folder, search), []
        for _ in range(24):
            trial = study.ask()
            found.append(float(trial.settings["sampling.tau"]))
            study.complete(trial.number, [found[-1]], violated(found[-1]))
        return found[12:]

    free = proposed(search_of(name, **options), tmp_path / "free", lambda _tau: {})
    held = proposed(
        limited, tmp_path / "held", lambda tau: {"label_accuracy": 0.5 - tau}
    )  # the lower the better, but not below 0.5
    assert sum(tau >= 0.5 for tau in held) > sum(tau >= 0.5 for tau in free)


@pytest.mark.proves(29)
def test_a_database_whose_writer_was_killed_is_there_again(tmp_path: Path) -> None:
    study = open_study(tmp_path, search_of("random"))
    first = study.ask()
    code = (
        "import sqlite3, sys, time\n"
        "database = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "database.execute('BEGIN EXCLUSIVE')\n"
        "database.execute('DELETE FROM trials')\n"
        "database.execute('PRAGMA cache_spill = 1')\n"
        "print('held', flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, f"{tmp_path}/search.db"], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        holder.kill()
    again = open_study(tmp_path, search_of("random"))  # SQLite waits five seconds for a lock, and then fails
    assert [trial.number for trial in again.trials()] == [first.number]
