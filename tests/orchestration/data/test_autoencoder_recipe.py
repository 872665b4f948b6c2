"""Autoencoders that a sweep has made: what they are planned to be, and who waits for them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from orchestration.commands.unreferenced import find_unreferenced, read_roots
from orchestration.common.errors import UserError
from orchestration.plan.plan import Plan, make_plan
from orchestration.plan.plan_json import plan_json
from orchestration.plan.published import read_published
from orchestration.spec.load import load_sweep
from orchestration.storage.layout import TaskPaths
from orchestration.storage.store import Store
from orchestration.tasks.task import EncodeTask, FinetuneAutoencoderTask, TrainTask
from tests.orchestration.conftest import ROOT
from tests.support.dataset_files import png
from tests.support.table4_files import table4_overrides
from tests.support.tiny_autoencoders import save_flux

SMALL = ROOT / "sweeps" / "table4_small.yaml"
FULL = ROOT / "sweeps" / "table4.yaml"
MADE = "autoencoders.scale_equivariant.made"


def plan_of(*overrides: str, path: Path = SMALL) -> Plan:
    return make_plan(load_sweep(path, overrides))


def by_name(plan: Plan) -> Mapping[str, FinetuneAutoencoderTask]:
    return {task.recipe.name: task for task in plan.of_kind(FinetuneAutoencoderTask)}


def test_who_reads_an_autoencoder_waits_for_it() -> None:
    plan = plan_of()
    made = by_name(plan)
    assert set(made) == {"trained", "original", "scale_equivariant"}
    assert made["trained"].inputs == ()
    assert made["original"].inputs == made["scale_equivariant"].inputs == (made["trained"].digest,)
    order = list(plan.tasks)
    for task in plan.of_kind(EncodeTask):
        (maker,) = task.inputs
        assert maker in {made["original"].digest, made["scale_equivariant"].digest}
        assert order.index(maker) < order.index(task.digest)
    latents = {task.latents for task in plan.of_kind(TrainTask)}
    assert latents == {task.digest for task in plan.of_kind(EncodeTask)}
    for task in plan.tasks.values():
        assert all(order.index(given) < order.index(task.digest) for given in task.inputs)


@pytest.mark.parametrize(
    "change",
    [
        f"{MADE}.training.steps=201",
        f"{MADE}.training.scale_factors=[2]",
        f"{MADE}.training.seed=1",
        "autoencoders.trained.made.training.steps=401",
        "autoencoders.trained.made.architecture.widths=[16, 32, 40]",
    ],
)
def test_what_decides_an_autoencoder_decides_all_that_is_made_with_it(change: str) -> None:
    def trainings(plan: Plan) -> dict[str, str]:
        return {task.config.data.autoencoder + task.config.paradigm: task.digest for task in plan.of_kind(TrainTask)}

    before, after = trainings(plan_of()), trainings(plan_of(change))
    changed = {key for key in before if before[key] != after[key]}
    of_it = {"scale_equivariantdfm", "scale_equivariantflow_matching"}
    assert changed == (of_it if change.startswith(MADE) else set(before))


def test_settings_of_a_regularization_that_is_not_there_change_nothing() -> None:
    key = "autoencoders.original.made.training.equivariance_weight"
    assert by_name(plan_of())["original"].digest == by_name(plan_of(f"{key}=0.7"))["original"].digest


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (f"{MADE}.training.scale_factors=[3]", "3 does not divide the latent's side 8"),
        (f"{MADE}.training.stepps=3", "unknown key; did you mean 'steps'?"),
        (f"{MADE}.start=trainde", "'trainde' is no other autoencoder of the sweep; did you mean 'trained'?"),
        (f"{MADE}.start=scale_equivariant", "is no other autoencoder"),
        (f"{MADE}.start=original", "is fine-tuned itself"),
        (f"{MADE}.architecture={{widths: [8, 8]}}", "needs either start, an autoencoder's name, or architecture"),
        (f"{MADE}.data.autoencoder=trained", "an autoencoder is trained on pixels"),
        (f"{MADE}.data.dataset=fashion", "'fashion' is not a dataset"),
        ("autoencoders.scale_equivariant.files=/data/vae", "needs either files or made"),
        ("autoencoders.trained.kind=flux", "'trained' is a flux, no kl"),
        ("autoencoders.trained.made.architecture.norm_groups=7", "7 does not divide the width 16"),
        ("autoencoders.scale_equivariant.kind=cogvideox", "'trained' is a kl, no cogvideox"),
    ],
)
def test_mistakes_are_told_before_anything_runs(override: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        load_sweep(SMALL, [override])
    assert message in str(caught.value)


def test_the_papers_table_is_planned_from_files(tmp_path: Path) -> None:
    plan = plan_of(*table4_overrides(tmp_path), path=FULL)
    (making,) = plan.of_kind(FinetuneAutoencoderTask)
    kinds = [plan.tasks[digest].kind for digest in making.inputs]
    assert kinds == ["encode", "encode"]  # the pixels that it is trained on, and those that it is measured on
    assert len(plan.of_kind(TrainTask)) == 4
    rows = [row.label for part in plan.spec.parts for row in part.rows]
    assert rows == ["flow_matching/orig", "dfm/orig", "flow_matching/scale_equivariant", "dfm/scale_equivariant"]


def test_the_papers_other_sweeps_run_on_files_that_are_named(tmp_path: Path) -> None:
    save_flux(tmp_path / "vae")
    (tmp_path / "train" / "ant").mkdir(parents=True)
    (tmp_path / "train" / "ant" / "0.png").write_bytes(png(0, side=24))
    given = (
        "data={dataset: imagenet, side: 512, autoencoder: flux}",
        f"datasets.imagenet.files={tmp_path}/train",
        f"autoencoders.flux={{kind: flux, files: {tmp_path}/vae}}",
        "evaluation.metrics=[fid, fdd]",
    )
    plan = plan_of(*given, path=ROOT / "sweeps" / "table2_imagenet512.yaml")
    (latents,) = {task.latents for task in plan.of_kind(TrainTask)}
    assert plan.tasks[latents].num_samples == 1
    assert all(task.config.data.described for task in plan.of_kind(TrainTask))


def test_what_no_plan_names_is_left_over(store: Store) -> None:
    plan = plan_of()
    store.write("plans/table4_small.json", plan_json(plan, "sqlite://").encode())
    assert read_published(store, "table4_small") is not None
    named = by_name(plan)["original"].digest
    for digest in (named, "0" * 20):
        store.write(f"{TaskPaths(digest).autoencoder}/config.json", b"{}")
        store.write(f"{TaskPaths(digest).latents}/cards/00000.json", b"{}")
    found = {leftover.path: leftover.kind for leftover in find_unreferenced(store, read_roots(store))}
    assert found == {f"autoencoders/{'0' * 20}": "autoencoders", f"latents/{'0' * 20}": "latents"}
