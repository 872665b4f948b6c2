"""`--gc`: what no published plan needs goes, what any plan still needs stays, and doubt stops it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from orchestration.artifacts.task_record import TaskRecord, read_record, write_record
from orchestration.commands.garbage import collect_garbage, remove_artifact
from orchestration.commands.unreferenced import find_unreferenced, read_roots
from orchestration.common.errors import UserError
from orchestration.plan.plan import Plan
from orchestration.plan.plan_json import plan_json
from orchestration.storage.layout import FeaturePaths, TaskPaths, plan_file
from orchestration.storage.store import MANIFEST, Store
from orchestration.tasks.task import EvaluateTask, TrainTask
from tests.support.stored_sweeps import (
    beat,
    finish_all,
    publish,
    publish_checkpoint,
    publish_snapshot,
    tiny_plan,
)

OTHER = "training.learning_rate=0.001"
EXPERTS = ("experts.steps=[8, 4]", "evaluation.at_steps=[]")


def leftovers(store: Store) -> dict[str, str]:
    """Kind by path."""
    return {one.path: one.kind for one in find_unreferenced(store, read_roots(store))}


def training(plan: Plan) -> TrainTask:
    return plan.of_kind(TrainTask)[0]


def finished(store: Store, *overrides: str, name: str = "") -> Plan:
    """A published sweep that is done, with two checkpoints of each training."""
    plan = tiny_plan(*overrides)
    publish(store, plan, name)
    finish_all(store, plan.tasks.values())
    for task in plan.of_kind(TrainTask):
        publish_checkpoint(store, task.digest, 8)
        publish_checkpoint(store, task.digest, 12)
    return plan


def files(store: Store) -> set[str]:
    root = Path(store.root)
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def test_what_a_killed_ray_train_left_goes_unless_a_driver_runs(store: Store) -> None:
    plan = finished(store)
    store.write("ray-train/0123/.validate_storage_marker", b"")
    assert leftovers(store)["ray-train/0123"] == "Ray Train's own"
    beat(store, plan.spec.name)
    assert "ray-train/0123" not in leftovers(store)


def test_of_a_finished_sweep_only_older_checkpoints_are_left_over(store: Store) -> None:
    paths = TaskPaths(training(finished(store)).digest)
    assert leftovers(store) == {paths.checkpoint(8): "checkpoints"}


def test_an_edit_leaves_what_only_the_plan_before_needed(store: Store) -> None:
    before = finished(store)
    now = finished(store, "sampling.tau=0.9")
    gone = {task.digest for task in before.of_kind(EvaluateTask)} - now.tasks.keys()
    sources = {source.digest for digest in gone for source in before.tasks[digest].sources}
    found = leftovers(store)
    assert {path for path, kind in found.items() if kind == "results"} == {f"results/{digest}" for digest in gone}
    assert {path for path, kind in found.items() if kind == "features"} == {f"features/{one}" for one in sources}
    assert len(gone) == 2


def test_what_another_sweep_needs_stays(store: Store) -> None:
    finished(store, name="other")  # the same tasks under another name
    now = finished(store, OTHER)
    assert set(leftovers(store)) <= {
        TaskPaths(task.digest).checkpoint(8) for task in (training(now), training(tiny_plan()))
    }


def test_a_training_that_no_plan_names_goes_whole(store: Store) -> None:
    before = training(finished(store))
    finished(store, OTHER)
    publish_snapshot(store, TaskPaths(before.digest).raw_weights(12))
    found, paths = leftovers(store), TaskPaths(before.digest)
    assert found[paths.checkpoints] == "checkpoints"
    assert found[paths.snapshot(4)] == found[paths.snapshot(12)] == "snapshots"
    assert found[paths.raw_weights(12)] == "raw weights"
    assert found[f"results/{before.digest}"] == "results"


def test_all_checkpoints_of_an_unfinished_training_stay(store: Store) -> None:
    plan = tiny_plan()
    publish(store, plan)
    for step in (4, 8):
        publish_checkpoint(store, training(plan).digest, step)
    assert leftovers(store) == {}


def test_a_training_that_one_of_two_plans_wants_longer_is_unfinished(store: Store) -> None:
    paths = TaskPaths(training(finished(store)).digest)
    publish(store, tiny_plan("training.steps=40", "evaluation.at_steps=[4, 12, 40]"), "longer")
    assert leftovers(store) == {}
    publish_snapshot(store, paths.snapshot(40))  # its record still says step 12
    assert leftovers(store) == {}


def test_a_snapshot_stays_for_an_evaluation_whose_training_its_plan_does_not_name(store: Store) -> None:
    plan = finished(store)
    train = training(plan).digest
    document = json.loads(plan_json(plan, "sqlite:///x"))
    del document["tasks"][train]
    store.write(plan_file("quickstart"), json.dumps(document).encode())
    assert set(leftovers(store)) <= {TaskPaths(train).checkpoint(8)}


def test_snapshots_of_an_unfinished_evaluation_stay_and_those_at_other_steps_go(store: Store) -> None:
    plan = finished(store)
    for task in plan.of_kind(EvaluateTask):
        store.remove(TaskPaths(task.digest).result)
    paths = TaskPaths(training(plan).digest)
    publish_snapshot(store, paths.snapshot(7))
    found = leftovers(store)
    assert found[paths.snapshot(7)] == "snapshots"
    assert paths.snapshot(4) not in found
    assert paths.snapshot(12) not in found


def test_raw_weights_stay_where_an_evaluation_samples_them(store: Store) -> None:
    plan = finished(store, "sampling.weights=raw")
    paths = TaskPaths(training(plan).digest)
    assert training(plan).raw_steps == (4, 12)
    assert set(leftovers(store)) == {paths.checkpoint(8)}
    publish(store, tiny_plan())  # the average alone
    assert {paths.raw_weights(4), paths.raw_weights(12)} <= leftovers(store).keys()


def test_the_snapshot_that_a_chain_starts_from_stays(store: Store) -> None:
    plan = finished(store, *EXPERTS)
    first, second = plan.of_kind(TrainTask)
    assert second.initial == (first.digest, 8)
    assert {path for path, kind in leftovers(store).items() if kind == "snapshots"} == set()


def test_features_of_a_network_that_no_plan_asks_go(store: Store) -> None:
    plan = finished(store)
    source = plan.of_kind(EvaluateTask)[0].sources[0].digest
    place = FeaturePaths(source).network("lite0", "0" * 20)
    store.write(f"{place}/group", b"x")
    store.write(f"{FeaturePaths(source).samples}/group", b"x")
    assert [path for path, kind in leftovers(store).items() if kind == "features"] == [place]


def test_records_of_images_from_elsewhere_and_files_of_others_stay(store: Store) -> None:
    finished(store)
    write_record(store, TaskRecord("a" * 20, "images", {}, 1.0))
    store.write("results/my notes/a.txt", b"x")
    store.write("checkpoints/own-training/step-000000001/manifest.json", b"{}")
    assert len(leftovers(store)) == 1


def test_references_that_no_plan_names_are_told_apart(store: Store) -> None:
    write_record(store, TaskRecord("b" * 20, "reference", {}, 1.0))
    assert leftovers(store) == {f"results/{'b' * 20}": "references"}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"format": 2, "tasks": ', "is damaged"),
        (b'{"format": 3}', "has plan format 3, this version knows 2"),
        (b'{"format": 2, "tasks": {"a": {"kind": "train"}}}', "is not a sweep's plan"),
        (b"[]", "is not a sweep's plan"),
        (b'{"format": 2, "tasks": {"a": {"kind": "floor", "title": "f", "payload": {}}}}', "by an older version"),
        (
            b'{"format": 2, "tasks": {"a": {"kind": "evaluate", "title": "e", "payload": {}, "sources": []}}}',
            "does not say what it reads",
        ),
        (b'{"format": 2, "tasks": {"../../x": {"kind": "floor", "title": "f", "payload": {}}}}', "is no digest"),
        (
            (
                b'{"format": 2, "tasks": {"a": {"kind": "evaluate", "title": "e", "sources": [], "payload": '
                b'{"sampling": {"weights": "ema"}, "snapshots": [["../../x", 3]]}}}}'
            ),
            "does not say what it reads",
        ),
    ],
)
def test_a_plan_that_cannot_be_read_stops_it(store: Store, content: bytes, expected: str) -> None:
    finished(store)
    store.write(plan_file("strange"), content)
    before = files(store)
    with pytest.raises(UserError, match=expected):
        collect_garbage(store, confirmed=True)
    assert files(store) == before


def test_a_damaged_heartbeat_stops_it(store: Store) -> None:
    finished(store)
    store.write("status/quickstart.json", b"{")
    with pytest.raises(UserError, match="whether that sweep runs is not known"):
        collect_garbage(store, confirmed=True)


def test_a_driver_without_a_plan_stops_it(store: Store) -> None:
    finished(store)
    beat(store, "unheard-of")
    with pytest.raises(UserError, match="a driver runs unheard-of, whose plan cannot be read"):
        collect_garbage(store, confirmed=True)


def test_nothing_of_a_sweep_that_runs_is_touched(store: Store) -> None:
    plan = finished(store)
    paths = TaskPaths(training(plan).digest)
    publish_snapshot(store, paths.snapshot(7))
    source = plan.of_kind(EvaluateTask)[0].sources[0].digest
    store.write(f"{FeaturePaths(source).network('lite0', '0' * 20)}/group", b"x")
    assert len(leftovers(store)) == 3
    beat(store)
    said: list[str] = []
    assert collect_garbage(store, confirmed=True, say=said.append) == 0
    assert said[1:] == ["A driver runs quickstart now: nothing of it is touched.", "Nothing is left over."]


def test_it_says_what_would_go_and_removes_nothing_unless_confirmed(store: Store) -> None:
    finished(store)
    finished(store, OTHER)
    before, said = files(store), list[str]()
    assert collect_garbage(store, confirmed=False, say=said.append, ask=lambda: False) == 0
    assert files(store) == before
    text = "\n".join(said)
    assert "published plans: quickstart." in text
    assert "No published plan needs 9 artifacts, 0.0 MB:" in text
    assert "  checkpoints: 2, 0.0 MB\n  features: 2, 0.0 MB\n  results: 3, 0.0 MB\n  snapshots: 2, 0.0 MB" in text
    assert "Largest:\n  checkpoints/" in text
    assert said[-1] == "Nothing was removed; --gc --yes removes it."


def test_what_is_confirmed_goes_and_all_that_plans_need_is_there_afterwards(store: Store) -> None:
    finished(store)
    now = finished(store, OTHER)
    said: list[str] = []
    assert collect_garbage(store, confirmed=False, say=said.append, ask=lambda: True) == 0
    assert said[-1].startswith("Removed 9 artifacts")
    assert leftovers(store) == {}
    kept = files(store)
    finished(store, OTHER)
    store.remove(TaskPaths(training(now).digest).checkpoint(8))
    assert files(store) == kept
    assert not any(path.name == training(tiny_plan()).digest for path in Path(store.root).rglob("*"))


def test_cut_off_in_the_middle_no_half_of_an_artifact_is_ever_read(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = training(finished(store))
    finished(store, OTHER)
    paths, removed = TaskPaths(before.digest), list[str]()
    whole = Store.remove

    def dies_at_the_first_directory(self: Store, relative: str) -> None:
        removed.append(relative)
        if not relative.endswith((MANIFEST, "result.json")):
            raise KeyboardInterrupt
        whole(self, relative)

    for path in (paths.checkpoints, paths.snapshot(4), f"results/{before.digest}"):
        monkeypatch.setattr(Store, "remove", dies_at_the_first_directory)
        with pytest.raises(KeyboardInterrupt):
            remove_artifact(store, path)
    monkeypatch.setattr(Store, "remove", whole)
    assert store.manifest(paths.checkpoint(8)) is None
    assert store.manifest(paths.checkpoint(12)) is None
    assert store.manifest(paths.snapshot(4)) is None
    assert read_record(store, before.digest) is None
    assert {paths.checkpoints, paths.snapshot(4)} <= leftovers(store).keys()  # the next one finishes it


def test_a_plan_that_is_published_before_the_confirmation_saves_its_own(store: Store) -> None:
    plan = finished(store)
    finished(store, OTHER)

    def takes_long() -> bool:
        publish(store, plan, "again")
        return True

    collect_garbage(store, confirmed=False, say=lambda _: None, ask=takes_long)
    assert read_record(store, training(plan).digest) is not None


def test_a_plan_that_is_published_while_artifacts_go_stops_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = finished(store)
    finished(store, OTHER)
    monkeypatch.setattr("orchestration.commands.garbage._LOOK_SECONDS", -1.0)
    whole, said = remove_artifact, list[str]()

    def and_somebody_submits(of: Store, path: str) -> None:
        whole(of, path)
        publish(of, plan, "again")

    monkeypatch.setattr("orchestration.commands.garbage.remove_artifact", and_somebody_submits)
    assert collect_garbage(store, confirmed=True, say=said.append) == 1
    assert said[-1] == "A plan was published meanwhile: 1 removed, the rest stays. Run --gc again."


@pytest.fixture
def outside(store: Store, tmp_path: Path) -> Path:
    """A folder beside the root with what an artifact has, to which links in the root lead."""
    Path(store.root).mkdir(exist_ok=True)
    places = Store(str(tmp_path / "outside"))
    for place in ("", "/step-000000004"):
        places.write(f"x{place}/{MANIFEST}", b"{}")
    places.write("x/result.json", b"{}")
    publish_checkpoint(places, "b" * 20, 4)
    return tmp_path / "outside"


def link(store: Store, relative: str, target: Path) -> None:
    place = Path(store.root) / relative
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(target)


def collect(store: Store) -> tuple[int, str]:
    said: list[str] = []
    code = collect_garbage(store, confirmed=True, say=said.append)
    return code, "\n".join(said)


def test_links_are_removed_and_nothing_behind_them(store: Store, outside: Path) -> None:
    before = sorted(outside.rglob("*"))
    tops = ("checkpoints", "snapshots", "features", "latents", "autoencoders", "results", "ray-train")
    for top in tops:
        link(store, f"{top}/{'a' * 20}", outside / "x")
    publish_checkpoint(store, "c" * 20, 8)
    link(store, f"checkpoints/{'c' * 20}/step-000000004", outside / "x")
    link(store, f"checkpoints/{'c' * 20}/step-000000008/loop", Path(store.root))
    link(store, f"latents/{'d' * 20}", outside / "nowhere")
    code, said = collect(store)
    assert (code, sorted(outside.rglob("*"))) == (0, before)
    assert [name for top in tops for name in store.names(top)] == ["a" * 20]  # a snapshot goes by its steps alone
    assert store.kind(f"snapshots/{'a' * 20}") == "link"
    assert f"snapshots/{'a' * 20} is a link: what is behind it stays." in said


def test_a_directory_of_the_root_that_is_a_link_is_not_looked_into_and_named(store: Store, outside: Path) -> None:
    link(store, "checkpoints", outside / "checkpoints")
    code, said = collect(store)
    assert code == 0
    assert said.count("checkpoints is a link: what is behind it stays.") == 1
    assert "Nothing is left over." in said
    assert (outside / "checkpoints" / ("b" * 20) / "step-000000004" / MANIFEST).exists()


def test_what_is_no_directory_is_named_and_stays(store: Store) -> None:
    store.write(f"checkpoints/{'a' * 20}", b"a file")
    Path(store.root, "latents").mkdir()
    os.mkfifo(f"{store.root}/latents/{'b' * 20}")
    publish_checkpoint(store, "c" * 20, 8)
    os.mkfifo(f"{store.root}/checkpoints/{'c' * 20}/step-000000008/fifo")
    code, said = collect(store)
    assert code == 0
    for path in (f"checkpoints/{'a' * 20}", f"latents/{'b' * 20}"):
        assert f"{path} is no directory: it stays." in said
        assert store.exists(path)
    assert not store.exists(f"checkpoints/{'c' * 20}")


def test_what_cannot_be_removed_is_named_and_the_rest_goes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for digest in ("a" * 20, "b" * 20, "c" * 20):
        publish_checkpoint(store, digest, 4)
    whole = Store.remove

    def refuse(store: Store, relative: str) -> None:
        if relative == f"checkpoints/{'b' * 20}":
            raise PermissionError("somebody else's")
        whole(store, relative)

    monkeypatch.setattr(Store, "remove", refuse)
    code, said = collect(store)
    assert code == 1
    assert f"checkpoints/{'b' * 20} cannot be removed (PermissionError: somebody else's)." in said
    assert "Removed 2 artifacts" in said
    assert store.names("checkpoints") == ["b" * 20]
