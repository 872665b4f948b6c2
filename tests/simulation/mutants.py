"""Mutants: the product broken on purpose, one way each; simulation has to notice every one of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import pytest

from orchestration.artifacts import task_record, training_artifacts
from orchestration.commands import unreferenced
from orchestration.control import budget_meter, failure_policy, heartbeat, heartbeat_writer, single_driver
from orchestration.control.outcome import Outcome
from orchestration.evaluation import pool
from orchestration.launch import run_sweep, shutdown, task_loop, waiting_tasks
from orchestration.plan import completed
from orchestration.storage import remote_files, retry, store
from orchestration.training import checkpoint_upload, checkpointed_run, worker_group_pool

Patch = pytest.MonkeyPatch


class Mutant(NamedTuple):
    """One way to break the product."""

    what: str
    apply: Callable[[Patch], None]


def _no_fence(patch: Patch) -> None:
    patch.setattr(heartbeat_writer.HeartbeatWriter, "_look_at_lease", lambda _self: None)


def _manifest_first(patch: Patch) -> None:
    put = store.Store.put

    def late(self: Any, local: Any, relative: str) -> None:
        folder = relative.rpartition("/")[0]
        self.publish(folder, [store.FileEntry.of(local)], {"pieces": {}, "curve": []})
        put(self, local, relative)

    patch.setattr(store.Store, "put", late)


def _published_is_replaced(patch: Patch) -> None:
    publish = store.Store.publish
    patch.setattr(
        store.Store, "publish", lambda self, place, files, about=None, **_: publish(self, place, files, about)
    )
    patch.setattr(checkpoint_upload.StateUploads, "_earlier", lambda _self, _artifact: [])


def _no_checksum(patch: Patch) -> None:
    from dfm_core.training import pieces

    def values(self: Any, entry: Any) -> Any:
        import torch

        return torch.frombuffer(
            self._read(entry.file, entry.begin, entry.begin + 4 * entry.length), dtype=torch.float32
        )

    patch.setattr(pieces.PieceState, "_values", values)


def _features_not_verified(patch: Patch) -> None:
    from orchestration.artifacts.samples import features

    def content(self: Any, group: Any, names: Any) -> Any:
        return self.store.read(f"{self.directory}/{names[group]}") if group in names else None

    patch.setattr(features.GroupFiles, "_content", content)


def _oldest_checkpoint(patch: Patch) -> None:
    steps = training_artifacts.TrainingArtifacts.checkpoint_steps
    patch.setattr(training_artifacts.TrainingArtifacts, "checkpoint_steps", lambda self: steps(self)[:1])


def _newest_removed(patch: Patch) -> None:
    patch.setattr(
        training_artifacts.TrainingArtifacts,
        "superseded",
        lambda self, *_about: [self.paths.checkpoint(step) for step in self.checkpoint_steps()],
    )


def _snapshots_skipped(patch: Patch) -> None:
    patch.setattr(training_artifacts.TrainingArtifacts, "missing_snapshots", lambda _self, _steps, _raw=(): [])


def _no_second_look(patch: Patch) -> None:
    patch.setattr(completed, "completed_records", lambda _store, _plan: {})
    from orchestration.commands import sweep_modes

    patch.setattr(sweep_modes, "completed_records", lambda _store, _plan: {})


def _no_retry(patch: Patch) -> None:
    patch.setattr(retry, "_is_lasting", lambda _error: True)


def _missing_is_retried(patch: Patch) -> None:
    patch.setattr(retry, "_is_lasting", lambda _error: False)


def _lost_answer_is_a_no(patch: Patch) -> None:
    def create(self: Any, path: str, content: bytes) -> bool:
        try:
            self._ask("pipe_file", path, content, num_bytes=len(content), options={"mode": "create"})
        except FileExistsError:
            return False
        return True

    patch.setattr(remote_files.RemoteFiles, "create", create)


def _torn_record_is_an_error(patch: Patch) -> None:
    def read(place: Any, digest: str) -> Any:
        from orchestration.parsing.documents import parse_document

        try:
            data = parse_document(place.read_document(task_record.TaskPaths(digest).result), finite=False)
        except FileNotFoundError:
            return None
        return task_record.TaskRecord(**{**data, "curve": tuple(data["curve"]), "files": tuple(data["files"])})

    patch.setattr(completed, "read_record", read)


def _torn_manifest_is_read(patch: Patch) -> None:
    patch.setattr(store, "_digest_of", lambda _manifest: "same")
    patch.setattr(store.Store, "manifest", _trusting_manifest)


def _trusting_manifest(self: store.Store, directory: str) -> Mapping[str, Any] | None:
    try:
        content = self.read(f"{directory}/{store.MANIFEST}")
    except FileNotFoundError:
        return None
    try:
        document = store.parse_document(content, finite=False)
    except ValueError:
        document = {"files": [], "about": {"curve": [], "pieces": {}}}
    return {"files": [store.FileEntry(**one) for one in document["files"]], "about": document.get("about", {})}


def _first_receipt_is_enough(patch: Patch) -> None:
    patch.setattr(
        checkpoint_upload.StateUploads, "_put_pieces", _without_put(checkpoint_upload.StateUploads._put_pieces)
    )


def _without_put(put_pieces: Any) -> Any:
    def put(self: Any, artifact: Any, pieces: Any) -> Any:
        before, self._store.put = self._store.put, lambda *_arguments: None
        try:
            return put_pieces(self, artifact, pieces)
        finally:
            self._store.put = before

    return put


def _preemption_counts(patch: Patch) -> None:
    from orchestration.training import run_failures

    counted = failure_policy.PREEMPTED.__class__("preempted", "stop the trial")
    table = tuple(
        (names, text, counted if kind is failure_policy.PREEMPTED else kind)
        for names, text, kind in failure_policy._TABLE
    )
    patch.setattr(failure_policy, "_TABLE", table)
    assert run_failures


def _lost_worker_is_final(patch: Patch) -> None:
    final = failure_policy.FailureKind("lost worker", "stop the trial")
    table = tuple(
        (names, text, final if kind is failure_policy.LOST_WORKER else kind)
        for names, text, kind in failure_policy._TABLE
    )
    patch.setattr(failure_policy, "_TABLE", table)


def _no_watch_before_start(patch: Patch) -> None:
    patch.setattr(single_driver, "find_driver", lambda *_a, **_o: heartbeat.Driver("none"))
    patch.setattr(heartbeat_writer.HeartbeatWriter, "_look_at_lease", lambda _self: None)


def _clock_is_believed(patch: Patch) -> None:
    def find(place: Any, sweep: str, **_options: Any) -> heartbeat.Driver:
        first = heartbeat.read_heartbeat(place, sweep)
        if first is None:
            return heartbeat.Driver("none")
        age = heartbeat.time.time() - first.written_at
        is_there = first.phase != "ended" and age < heartbeat.FRESH_SECONDS
        return heartbeat.Driver("running" if is_there else "gone", first, age)

    patch.setattr(single_driver, "find_driver", find)


def _gc_forgets_evaluations(patch: Patch) -> None:
    from orchestration.commands import reachability

    patch.setattr(reachability, "_artifacts", lambda _digest, _training: iter(()))


def _gc_keeps_no_newest(patch: Patch) -> None:
    find = unreferenced._results
    patch.setattr(unreferenced, "_results", lambda place, needed: {**find(place, needed), **_all_of(place)})


def _all_of(place: Any) -> dict[str, str]:
    return {f"results/{name}": "results" for name in place.names("results")[:1]}


def _tracker_forgets(patch: Patch) -> None:
    patch.setattr(run_sweep, "_fill", lambda _tracker, _plan, _done: None)


def _done_before_it_is_told(patch: Patch) -> None:
    from orchestration.tracking import mlflow_tracker

    safely = mlflow_tracker.Tracker._safely

    def lightly(self: Any, digest: str, call: Any) -> bool:
        safely(self, digest, call)
        self._lacking.discard(digest)
        return True

    patch.setattr(mlflow_tracker.Tracker, "_safely", lightly)


def _failed_is_done(patch: Patch) -> None:
    patch.setattr(Outcome, "failed", {}, raising=False)
    patch.setattr(run_sweep, "exit_code_of", lambda _outcome, _searches, _tracker: 0)


def _restart_from_zero(patch: Patch) -> None:
    patch.setattr(checkpointed_run.CheckpointedRun, "_load", lambda _self, _step, _artifacts=None: "damaged")


def _stopped_is_done(patch: Patch) -> None:
    patch.setattr(shutdown, "shut_down", lambda *_a, **_o: True)
    patch.setattr(task_loop, "completed_record", lambda _store, task: _empty_record(task))


def _empty_record(task: Any) -> Any:
    return task_record.TaskRecord(task.digest, task.kind, {}, 0.0, step=task.step)


def _evaluated_early(patch: Patch) -> None:
    patch.setattr(waiting_tasks.AvailableSnapshots, "has", lambda _self, _train, _step, *, raw: True)  # noqa: ARG005


def _room_never_freed(patch: Patch) -> None:
    patch.setattr(worker_group_pool.WorkerGroupPool, "_gone", lambda _self, _group=None: None)


def _stale_state(patch: Patch) -> None:
    from orchestration.commands import sweep_modes

    def take_over(planned: Any) -> Any:
        return planned, single_driver.ensure_single_driver(planned.store, planned.spec.name)

    patch.setattr(sweep_modes, "take_over", take_over)


def _stop_unknown_is_failure(patch: Patch) -> None:
    end = task_loop.Launcher._end

    def strictly(self: Any, begun: Any, reason: str) -> None:
        early, self._context.outcome.early_exit = self._context.outcome.early_exit, None
        end(self, begun, reason)
        self._context.outcome.early_exit = early

    patch.setattr(task_loop.Launcher, "_end", strictly)


def _budget_not_looked_at(patch: Patch) -> None:
    patch.setattr(budget_meter.BudgetMeter, "is_spent", False)


def _stop_not_heard(patch: Patch) -> None:
    patch.setattr(heartbeat_writer.HeartbeatWriter, "stop_requested", False)


def _calls_of_an_evaluator_lost(patch: Patch) -> None:
    replace = pool.EvaluationPool._replace

    def replace_alone(self: Any, actor: Any, reason: str) -> None:
        actor.calls.clear()
        replace(self, actor, reason)

    patch.setattr(pool.EvaluationPool, "_replace", replace_alone)


def _artifacts_not_looked_for(patch: Patch) -> None:
    finished = completed.finished_record
    patch.setattr(
        completed,
        "finished_record",
        lambda store, digest, until_step, _artifacts: finished(store, digest, until_step, ()),
    )


def _trial_told_twice(patch: Patch) -> None:
    from orchestration.search import optuna_study

    take_up = optuna_study.Study._take_up

    def again(self: Any) -> None:
        take_up(self)
        for _, trial in self._newest().values():
            if trial.state in ("complete", "pruned"):
                attributes = {optuna_study.SETTINGS: dict(trial.settings), optuna_study.NUMBER: trial.number}
                self._study.enqueue_trial(optuna_study.encode(self._search, trial.settings), attributes)
        for _ in self._study.get_trials(states=(optuna_study.Told.WAITING,)):
            optuna_study.suggest(self._search, self._study.ask())

    patch.setattr(optuna_study.Study, "_take_up", again)


def _trial_forgotten(patch: Patch) -> None:
    from orchestration.search import optuna_study

    patch.setattr(optuna_study.Study, "trials", lambda _self: [])


MUTANTS: dict[str, Mutant] = {
    "no fence": Mutant("a driver never looks whether another has its lease", _no_fence),
    "lost answer is a no": Mutant(
        "a lease that was taken, but whose answer was lost, counts as another's", _lost_answer_is_a_no
    ),
    "nobody is looked for": Mutant(
        "a second driver starts beside the first, and neither looks at the lease", _no_watch_before_start
    ),
    "clock believed": Mutant("a beat's age by the clock says whether its driver is alive", _clock_is_believed),
    "manifest first": Mutant("a manifest is written before the file that it names", _manifest_first),
    "file forgotten": Mutant("the file of a checkpoint is not uploaded, its receipt is", _first_receipt_is_enough),
    "published replaced": Mutant(
        "a snapshot that is published is written again by another attempt", _published_is_replaced
    ),
    "no checksum": Mutant("pieces of a checkpoint are used without their sha256", _no_checksum),
    "features not verified": Mutant("features are used whatever their file holds", _features_not_verified),
    "torn manifest read": Mutant("a manifest that was cut off counts as one", _torn_manifest_is_read),
    "torn record": Mutant("a record that was cut off is an error, not work to do", _torn_record_is_an_error),
    "no retry": Mutant("a call of the storage is made once", _no_retry),
    "missing retried": Mutant("a file that is missing is asked for again and again", _missing_is_retried),
    "oldest checkpoint": Mutant("a training goes on from its oldest checkpoint", _oldest_checkpoint),
    "always from zero": Mutant("a training never goes on from a checkpoint", _restart_from_zero),
    "newest removed": Mutant("the newest checkpoint is removed with the superseded ones", _newest_removed),
    "snapshots skipped": Mutant("a training that was cut off makes no snapshot that it missed", _snapshots_skipped),
    "records not read": Mutant("a submission does not read which tasks are done", _no_second_look),
    "read before the watch": Mutant("what is done is not read again after another driver was watched", _stale_state),
    "lost board fails": Mutant(
        "a training that stops while the board is lost counts as failed", _stop_unknown_is_failure
    ),
    "preemption counted": Mutant("a training that is preempted fails", _preemption_counts),
    "lost worker final": Mutant("a training whose worker is lost fails", _lost_worker_is_final),
    "gc forgets snapshots": Mutant("--gc takes no snapshot for one that is needed", _gc_forgets_evaluations),
    "gc removes a record": Mutant("--gc removes a record that a plan names", _gc_keeps_no_newest),
    "trial told twice": Mutant("a trial that had ended is run and told again by the next driver", _trial_told_twice),
    "trials forgotten": Mutant("a search does not take up the trials that its study holds", _trial_forgotten),
    "tracker not filled": Mutant("a submission does not fill in what MLflow lacks", _tracker_forgets),
    "told is believed": Mutant("a call that MLflow did not take counts as taken", _done_before_it_is_told),
    "failed is done": Mutant("failed tasks end a submission with code 0", _failed_is_done),
    "stopped is done": Mutant("a task that ended counts as done without its record", _stopped_is_done),
    "budget not looked at": Mutant("a budget that is spent ends nothing", _budget_not_looked_at),
    "--stop not heard": Mutant("a driver goes on although --stop asked it to end", _stop_not_heard),
    "evaluator's calls lost": Mutant(
        "the successor of an evaluator that ended is not asked what that one was", _calls_of_an_evaluator_lost
    ),
    "artifacts not looked for": Mutant(
        "a record counts although the artifacts beside it are gone", _artifacts_not_looked_for
    ),
    "evaluated early": Mutant("an evaluation starts before its snapshot is published", _evaluated_early),
    "room never freed": Mutant("the room of workers that ended is not free for others", _room_never_freed),
}
"""By name."""


@contextlib.contextmanager
def broken(name: str) -> Iterator[None]:
    """Break the product in one way for a `with` block. Needs `outside.replaced` around it."""
    with pytest.MonkeyPatch.context() as patch:
        MUTANTS[name].apply(patch)
        yield
