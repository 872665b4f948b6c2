"""Backbones are described at planning, chains of trainings follow from them, and every mistake is told there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from orchestration.commands.check_models import check
from orchestration.common.errors import UserError
from orchestration.plan.plan import Plan, make_plan
from orchestration.spec.load import load_sweep
from orchestration.tasks.task import TrainTask
from tests.support.flux import pretrained
from tests.support.flux_sweeps import FLUX_OF_FILES, SWEEP, flux_sweep, make_flux_files


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_flux_files(tmp_path_factory.mktemp("flux") / "files")


def plan_of(tmp_path: Path, files: Path, *overrides: str, text: str = SWEEP) -> Plan:
    return make_plan(load_sweep(flux_sweep(tmp_path, files, text), overrides))


def trainings(plan: Plan) -> dict[str, TrainTask]:
    """Trainings by their first word, or by the row they are of."""
    return {task.title.removeprefix("backbone ").partition(",")[0]: task for task in plan.of_kind(TrainTask)}


def test_a_chain_of_trainings_follows_from_what_rows_start_from(tmp_path: Path, files: Path) -> None:
    plan = plan_of(tmp_path, files)
    tasks = plan.of_kind(TrainTask)
    by_start = {task.config.model.start: task for task in tasks if task.title.startswith("backbone")}
    projections, adapted = by_start["dev"], by_start["projections"]
    assert (projections.until_step, projections.initial) == (2, None)
    assert projections.start_files == str(files / "transformer")
    assert adapted.initial == (projections.digest, 2)
    assert (adapted.until_step, adapted.start_files) == (3, "")
    assert adapted.snapshot_steps == (3,)
    rows = {trial.row: plan.tasks[trial.trains[0]] for trial in plan.trials}
    ft, dfm, flux = (rows[name] for name in ("ft", "dfm", "flux"))
    assert isinstance(ft, TrainTask)
    assert isinstance(dfm, TrainTask)
    assert isinstance(flux, TrainTask)
    assert ft.initial == dfm.initial == (adapted.digest, 3)
    assert (flux.until_step, flux.snapshot_steps, flux.flops) == (0, (0,), 0)
    assert flux.start_files == str(files / "transformer")
    order = list(plan.tasks)
    for task in tasks:
        assert all(order.index(needed) < order.index(task.digest) for needed in task.inputs)
    assert len(tasks) == 5
    users = {task.title: plan.users(task.digest) for task in tasks}
    assert users["backbone projections"] == users["backbone adapted"] == ["main / ft", "main / dfm"]
    assert all(users.values())


def test_every_training_of_the_chain_is_weighed(
    tmp_path: Path, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check(plan_of(tmp_path, files))
    printed = capsys.readouterr().out
    counts = [f"{FLUX_OF_FILES.num_parameters(stages):,}" for stages in (1, 2)]
    assert [printed.count(f" {count} ") for count in counts] == [4, 2]  # in its line, the largest below the table too


def test_weights_settings_and_the_chain_are_in_the_digests_and_places_are_not(tmp_path: Path, files: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(files, moved)
    before, elsewhere = plan_of(tmp_path, files), plan_of(tmp_path, moved)
    assert before.tasks.keys() == elsewhere.tasks.keys()
    longer = plan_of(tmp_path, files, "backbones.projections.made.settings={training.steps: 3}")
    pretrained(6, FLUX_OF_FILES).save_pretrained(moved / "transformer", max_shard_size="30KB")
    other = plan_of(tmp_path, moved)
    ft = [next(trial.trains for trial in plan.trials if trial.row == "ft") for plan in (before, longer, other)]
    assert len({*ft}) == 3


def test_a_backbone_of_random_weights_is_trained_from_its_architecture(tmp_path: Path, files: Path) -> None:
    plan = plan_of(tmp_path, files, "model.start=base")
    base = next(task for task in plan.of_kind(TrainTask) if task.title == "backbone base")
    assert (base.initial, base.start_files, base.until_step) == (None, "", 4)
    described = base.config.model.described
    assert described is not None
    assert described.identity == "flux:random"
    assert described.architecture == FLUX_OF_FILES


def test_a_row_that_is_a_backbone_too_is_trained_once(tmp_path: Path, files: Path) -> None:
    text = SWEEP.replace("ft: {{}}", "se: {{model.start: projections, training.steps: 3}}\n      ft: {{}}")
    plan = plan_of(tmp_path, files, text=text)
    assert len(plan.of_kind(TrainTask)) == 5
    se = next(trial for trial in plan.trials if trial.row == "se")
    ft = plan.tasks[next(trial for trial in plan.trials if trial.row == "ft").trains[0]]
    assert isinstance(ft, TrainTask)
    assert ft.initial == (se.trains[0], 3)


def test_absent_files_are_planned_as_flux_dev(tmp_path: Path, files: Path) -> None:
    with pytest.raises(UserError, match="dev takes latents of 16 channels, flowers's have 4"):
        load_sweep(flux_sweep(tmp_path, files), ["backbones.dev.files=/not/there"])


MISTAKES = [
    (["model.start=dve"], r"model\.start: 'dve' is no backbone of the sweep; did you mean 'dev'"),
    (["backbones.dev.files=null"], r"backbones\.dev: needs either files or made"),
    (["backbones.adapted.made.start=adapted"], r"starts from itself: adapted -> adapted"),
    (["backbones.projections.made.start=adapted"], r"starts from itself: adapted -> projections -> adapted"),
    (
        ["backbones.adapted.made.start=''"],
        r"backbones\.adapted\.made: needs either start, a backbone's name",
    ),
    (["backbones.adapted.made.settings={training.steps: 0}"], r"0 makes nothing"),
    (["backbones.adapted.made.settings={training.stesp: 3}"], r"did you mean 'steps'"),
    (["backbones.adapted.made.settings={model.preconditioning: edm}"], r"'edm': flux has none of its own; give none"),
    (
        ["backbones.adapted.made.settings={training.steps: 2, training.adapter: {rank: 2}}"],
        r"others cannot start from an adapter",
    ),
    (["backbones.base.made.architecture.axes_dims_rope=[4,4,4]", "model.start=base"], r"sum to 12, not to .* 16"),
    (["model.preconditioning=edm"], r"model\.preconditioning .*: 'edm': flux has none"),
    (["model.described={}"], r"model\.described: is found when a sweep is read, never given"),
    (["training.adapter={rank: 2, targets: [attn.to_w]}"], r"attn\.to_w.* is not allowed"),
    (["data.text_length=16", "model.guidance_input=101"], r"guidance_input"),
]


@pytest.mark.parametrize(("overrides", "message"), MISTAKES, ids=[message for _, message in MISTAKES])
def test_a_mistake_is_told_where_it_is(tmp_path: Path, files: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_sweep(flux_sweep(tmp_path, files), overrides)


def test_files_that_are_no_flux_or_fit_nothing_around_them_are_refused(tmp_path: Path, files: Path) -> None:
    from safetensors.torch import load_file, save_file

    def told(change: str) -> str:
        other = tmp_path / change
        shutil.copytree(files, other)
        folder = other / "transformer"
        shard = sorted(folder.glob("*.safetensors"))[0]
        tensors, settings = load_file(shard), json.loads((folder / "config.json").read_text())
        name = sorted(tensors)[0]
        if change == "lacks":
            index = next(folder.glob("*.index.json"))
            content = json.loads(index.read_text())
            del content["weight_map"][name], tensors[name]
            index.write_text(json.dumps(content))
        elif change == "shape":
            tensors[name] = tensors[name].flatten()[:3].clone()
        elif change == "class":
            settings["_class_name"] = "SD3Transformer2DModel"
        save_file(tensors, shard)
        (folder / "config.json").write_text(json.dumps(settings))
        with pytest.raises(UserError) as caught:
            load_sweep(flux_sweep(tmp_path, other))
        return str(caught.value)

    assert "backbones.dev.files: cannot be used: its files are not those of a flux: 1 tensors are missing" in told(
        "lacks"
    )
    assert "is [3], not [" in told("shape")
    assert "is of 'SD3Transformer2DModel', needed is 'FluxTransformer2DModel'" in told("class")


def test_encoders_and_latents_of_another_width_are_refused(tmp_path: Path, files: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(files, other)
    pretrained().save_pretrained(other / "transformer")
    (other / "transformer" / "diffusion_pytorch_model.safetensors.index.json").unlink(missing_ok=True)
    with pytest.raises(UserError) as caught:
        load_sweep(flux_sweep(tmp_path, other))
    assert "its encoders give tokens of width 16, the backbone reads 12: give its own" in str(caught.value)
    assert "its encoders give one vector of width 12, the backbone reads 10: give its own" in str(caught.value)
