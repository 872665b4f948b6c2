"""A sweep is planned before its files are there, with what it says of them; what it needs is listed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestration.commands.sweep_modes import run_mode
from orchestration.common.errors import UserError
from orchestration.plan.plan import make_plan
from orchestration.plan.preflight import missing_inputs, resolve_paths
from orchestration.spec.load import load_sweep
from orchestration.storage.store import Store
from tests.orchestration.conftest import ROOT
from tests.support.sweeps import SHIPPED
from tests.support.table4_files import table4_overrides

TABLE4 = ROOT / "sweeps" / "table4.yaml"


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_sweep_plans_here_and_those_of_full_scale_say_what_they_need(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # an earlier user of this machine may have drawn the emoji
    spec = resolve_paths(load_sweep(path), os.environ, ROOT)
    assert make_plan(spec).tasks
    needed = [problem.where.partition(": ")[2] for problem in missing_inputs(spec)]
    is_small = path.stem.endswith("_small") or path.stem == "quickstart"
    if path.stem == "own_images":
        assert needed == ["datasets.mine", "datasets.mine.reference"]
    elif path.stem == "table3_small":
        emoji = ["datasets.emoji_colours", "datasets.emoji", "datasets.emoji.reference"]
        assert needed == [*emoji, "text_encoders.random"]
    else:
        assert bool(needed) != is_small
    if path == TABLE4:
        assert needed[:2] == ["autoencoders.flux", "datasets.imagenet"]


def test_what_is_absent_is_planned_at_its_stated_size_under_digests_of_its_own(tmp_path: Path) -> None:
    absent = make_plan(load_sweep(TABLE4))
    titles = {task.title for task in absent.tasks.values()}
    assert "imagenet at 512 px, 1,281,167 samples as flux" in titles
    assert next(absent.spec.configs).data.described.resolution == 64  # type: ignore[union-attr]
    here = make_plan(load_sweep(TABLE4, table4_overrides(tmp_path)))
    assert not absent.tasks.keys() & here.tasks.keys()
    assert [task.kind for task in absent.tasks.values()] == [task.kind for task in here.tasks.values()]
    elsewhere = make_plan(load_sweep(TABLE4, ["datasets.imagenet.files=/not/here"]))
    assert not {d for d, task in elsewhere.tasks.items() if task.kind == "train"} & absent.tasks.keys()


@pytest.mark.parametrize("mode", ["run", "status"])
def test_absent_files_stop_what_needs_real_digests_with_all_that_is_needed(tmp_path: Path, mode: str) -> None:
    with pytest.raises(UserError) as caught:
        run_mode(mode, TABLE4, [f"storage.root={tmp_path}"], confirmed=False)
    for expected in ("_files.yaml: autoencoders.flux: /data/flux-vae/config.json: is not", "imagenet/train: there is"):
        assert expected in str(caught.value)
    assert ("networks.inception" in str(caught.value)) == (mode == "run")


def test_a_dry_run_lists_what_is_absent_and_ends_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_mode("dry-run", TABLE4, [f"storage.root={tmp_path}"], confirmed=False) == 0
    printed = capsys.readouterr().out
    assert "It cannot run here yet:" in printed
    assert "datasets.imagenet: /data/imagenet/train: there is nothing" in printed


def test_files_of_another_number_of_classes_than_was_planned_with_are_refused(tmp_path: Path) -> None:
    overrides = [*table4_overrides(tmp_path), "datasets.imagenet.num_classes=3"]
    with pytest.raises(UserError) as caught:
        load_sweep(TABLE4, overrides)
    (told,) = map(str, caught.value.problems)  # once, though autoencoders are trained on them too
    assert told.startswith("command line: datasets.imagenet.num_classes: 3, but /")
    assert told.endswith("has 2 classes (ant (0), bee (1)): write 2, or name other files")


def test_files_of_unknown_size_or_shape_cannot_be_planned_and_the_message_says_how(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(
        "name: a\ndatasets: {mine: {files: /not/there, num_samples: 10}}\nautoencoders: {any: {kind: kl, files: /no}}\n"
        "parts: {p: {rows: {x: {data: {dataset: mine, side: 32}}, y: {data: {autoencoder: any}}}}}\n"
    )
    with pytest.raises(UserError) as caught:
        load_sweep(path)
    first, second = map(str, caught.value.problems)
    assert "/not/there: there is nothing; to plan before they are there give datasets.mine.num_classes" in first
    assert "autoencoders.any: cannot be used: /no/config.json: is not there" in second


def test_what_this_machine_may_not_read_is_planned_too(monkeypatch: pytest.MonkeyPatch) -> None:
    # A laptop without the cluster's credentials plans what the cluster runs.
    def refuse(*_: object) -> None:
        raise PermissionError("Access Denied")

    monkeypatch.setattr(Store, "exists", refuse)
    spec = load_sweep(TABLE4, ["datasets.imagenet.files=memory://bucket/train", "autoencoders.flux.files=memory://vae"])
    assert make_plan(spec).tasks
    reasons = {problem.where.partition(": ")[2]: problem.message for problem in spec.absent}
    assert reasons["datasets.imagenet"].startswith("memory://bucket/train: cannot be read from this machine (")


def test_absent_files_and_their_absent_reference_are_both_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = [f"storage.root={tmp_path}", "datasets.imagenet.reference=/not/val", "networks.dinov2.weights.path=/no"]
    overrides.append("networks.dinov2.weights.sha256=" + "a" * 64)
    assert run_mode("dry-run", TABLE4, overrides, confirmed=False) == 0
    printed = capsys.readouterr().out
    assert "datasets.imagenet: /data/imagenet/train: there is nothing" in printed
    assert "datasets.imagenet.reference: /not/val: there is nothing" in printed
    assert "command line: networks.dinov2: dinov2 (DINOv2 ViT-L/14 without registers): weights: there is no" in printed
    assert "Digests of the tasks that read these files are provisional" in printed
