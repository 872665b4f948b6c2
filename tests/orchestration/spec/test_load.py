"""Sweep files: what they mean, and that every mistake in one is reported at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestration.common.errors import UserError
from orchestration.spec.load import load_sweep
from tests.orchestration.conftest import QUICKSTART, ROOT


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    return path


def mistakes(path: Path, *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        load_sweep(path, overrides)
    return str(caught.value)


def test_every_shipped_sweep_loads() -> None:
    paths = sorted((ROOT / "sweeps").glob("*.yaml"))
    assert QUICKSTART in paths
    for path in paths:
        if path.name != "table4.yaml":  # names files that are not here; see test_autoencoder_recipe.py
            assert load_sweep(path).parts


def test_every_shipped_sweep_opens_with_its_command_hardware_and_published_result() -> None:
    for path in sorted((ROOT / "sweeps").glob("*.yaml")):
        head = "\n".join(line for line in path.read_text().splitlines()[:8] if line.startswith("#"))
        assert f"python orchestration/sweep.py sweeps/{path.name}" in head
        for word in ("Hardware", "Duration", "Published result"):
            assert word in head, f"{path.name} does not say {word}"


def test_a_grid_is_the_product_of_its_values_after_the_rows(tmp_path: Path) -> None:
    text = """
name: small
parts:
  a:
    rows: {tied: {training.timesteps: tied}}
    grid: {training.first_stage_probability: [0.7, 0.9], training.previous_location: [0, 1.5]}
"""
    (part,) = load_sweep(write(tmp_path, text)).parts
    assert [row.label for row in part.rows] == [
        "tied",
        "first_stage_probability=0.7, previous_location=0",
        "first_stage_probability=0.7, previous_location=1.5",
        "first_stage_probability=0.9, previous_location=0",
        "first_stage_probability=0.9, previous_location=1.5",
    ]
    assert part.rows[0].configs[0].training.timesteps == "tied"
    assert part.rows[2].configs[0].training.previous_location == 1.5


def test_overrides_win_over_the_file_and_the_file_over_its_base() -> None:
    spec = load_sweep(QUICKSTART, ["training.steps=900", "workers.zero_stage=3"])
    config = spec.parts[0].rows[1].configs[0]
    assert config.training.steps == 900
    assert config.model.size == "micro"  # from the base
    assert spec.runtime.workers.zero_stage == 3


def test_each_seed_gives_a_config_of_its_own(tmp_path: Path) -> None:
    (part,) = load_sweep(write(tmp_path, "name: small\nseeds: [3, 5]\n")).parts
    assert [config.seed for config in part.rows[0].configs] == [3, 5]


def test_scientific_notation_is_a_number(tmp_path: Path) -> None:
    (part,) = load_sweep(write(tmp_path, "name: small\ntraining: {learning_rate: 1e-4}\n")).parts
    assert part.rows[0].configs[0].training.learning_rate == 1e-4


def test_all_mistakes_are_reported_at_once_with_place_and_nearest_name(tmp_path: Path) -> None:
    text = """
name: "bad name/.."
base: nope.yaml
traning: {steps: 5}
model: {size: XXL, patch_sizes: [2, -3]}
training: {batch_size: -3, learning_rate: fast, ema_decay: 1.0, steps: 1.5, warmup_step: 3}
sampling: {tau: [1.5]}
seeds: [0, 0]
"""
    message = mistakes(write(tmp_path, text))
    for expected in (
        "sweep.yaml: name: 'bad name/..' must be",
        "nope.yaml: no such file",
        "sweep.yaml: traning: unknown key; did you mean 'training'?",
        "sweep.yaml: model.size: 'XXL' is not allowed",
        "sweep.yaml: model.patch_sizes.1: -3 should be greater than 0",
        "sweep.yaml: training.batch_size: -3 should be greater than 0",
        "sweep.yaml: training.learning_rate: 'fast' should be a valid number",
        "sweep.yaml: training.ema_decay: 1.0 should be less than 1",
        "sweep.yaml: training.steps: 1.5 should be a valid integer",
        "sweep.yaml: training.warmup_step: unknown key; did you mean 'warmup_steps'?",
        "sweep.yaml: sampling.tau.0: 1.5 should be less than or equal to 1",
        "sweep.yaml: seeds: [0, 0] must be a list of different integers",
    ):
        assert expected in message


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("training.batch_size=31", "31 is not divisible by workers.num_workers = 2"),
        ("workers.micro_batch_size=5", "5 does not divide 16"),
        ("model.patch_sizes=[2, 2]", r"[2, 2] give [64, 256] tokens"),
        ("model.patch_sizes=[3, 6]", "patch 3 does not divide side 16"),
        ("sampling.tau=[0.7, 0.8]", "has 2 entries; 2 stage(s) need 1"),
        ("sampling.tau=0", "should be greater than 0"),
        ("sampling.steps=[10, 5, 5]", "has 3 entries for 2 stage(s)"),
        ("evaluation.at_steps=[9000]", "[9000] lie after the last training step"),
        ("decomposition.resolutions=[12, 32]", "32 is not a multiple of 12"),
        ("decomposition.resolutions=[8, 16]", "the last is 16, but fashion_mnist has side 32"),
        ("data.dataset=fashion_mnst", "did you mean 'fashion_mnist'?"),
        ("paradigm=dmf", "'dmf' is not allowed; did you mean 'dfm'?"),
        ("workers.zero_stage=4", "4 is not allowed"),
        ("training.learning_rate=.nan", "finite"),
        ("base=other.yaml", "it is composed before the overrides"),
        ("seed=5", "give `seeds=[0, 1, ...]`"),
        ("evaluation.metrics=[]", "should have at least 1 item"),
        ("evaluation.metrics=[fvdd]", "'fvdd' is not allowed; did you mean 'fvd'? allowed: fd_lite0_block10"),
        ("training.adam_beta2=1.0", "should be less than 1"),
        ("training.location=1e308", "less than or equal to 20"),
        ("training.steps=99999999999999999999999", "less than or equal to 1000000000"),
        ("training=5", "5 should be"),
        ("training.learning_rte=1", "did you mean 'learning_rate'?"),
        ("modle.size=B", "unknown key 'modle.size'; did you mean 'model.size'?"),
        ("training.steps", "is not key=value"),
        ("storage.root=${oc.env:HOME}", "interpolation is not supported"),
    ],
)
def test_an_impossible_setting_is_refused_with_its_reason(override: str, expected: str) -> None:
    assert expected in mistakes(QUICKSTART, override)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: [unclosed", "not valid YAML"),
        ("- a\n- b\n", "must be a mapping"),
        ("name: a\nname: b\n", "not valid YAML"),
        ("name: !!python/object/apply:os.system ['true']\n", "not valid YAML"),
        ("name: a\ndata: {dataset: '${oc.env:HOME}'}\n", "interpolation"),
        ("name: a\nparts: {p: {}}\n", "has neither rows nor a grid"),
        ("name: a\nparts: {p: {grids: {}}}\n", "did you mean 'grid'?"),
        ("name: a\nparts: {p: {grid: {training.steps: 5}}}\n", "must be a list of values"),
        ("name: a\nparts: {p: {rows: {x: {paradigm: dmf}}}}\n", "parts.p.rows.x.paradigm: 'dmf' is not allowed"),
        ("name: a\nparts: {p: {grid: {training.stepz: [1]}}}\n", "parts.p.grid.training.stepz: unknown key"),
        ("name: a\nparts: {p: {rows: {x: {seed: 3}}}}\n", "seeds are given once for the sweep"),
        ("name: a\nseed: 3\n", "give `seeds: [0, 1, ...]`"),
        ("name: a\nparts: {p: {grid: {training.steps: [1, 1]}}}\n", "two rows are called 'steps=1'"),
        ("name: a\ntraining: 5\n", "training"),
        ("name: a\nparts: 3\n", "must be a mapping of part names"),
        ("name: a\nseeds: []\n", "must be a list of different integers"),
        ("name: a\nbase: [x]\n", "must be the name of a YAML file"),
        ("name: " + "[" * 3000 + "]" * 3000, "not valid YAML"),
        ("", "must be"),
        ("\x00\x01", "not valid YAML"),
    ],
)
def test_a_malformed_file_is_refused_with_its_reason(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in mistakes(write(tmp_path, text))


def test_a_grid_of_too_many_trials_is_refused_before_it_is_expanded(tmp_path: Path) -> None:
    values = list(range(1, 200))
    text = f"name: a\nparts: {{p: {{grid: {{training.steps: {values}, training.batch_size: {values}}}}}}}\n"
    assert "more than 10000 trials" in mistakes(write(tmp_path, text))


def test_a_missing_file_names_the_nearest_one() -> None:
    assert "did you mean 'quickstart.yaml'?" in mistakes(ROOT / "sweeps" / "quikstart.yaml")


def test_a_base_with_a_base_of_its_own_is_refused(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("base: other.yaml\ntraining: {steps: 5}\n")
    assert "a base file holds only" in mistakes(write(tmp_path, "name: a\nbase: base.yaml\n"))


def test_a_folder_is_not_a_sweep(tmp_path: Path) -> None:
    assert "is a directory" in mistakes(tmp_path)


def test_a_row_cannot_set_what_concerns_the_whole_sweep(tmp_path: Path) -> None:
    text = "name: a\nparts: {p: {rows: {x: {storage.root: /y}}}}\n"
    assert "parts.p.rows.x.storage: unknown key" in mistakes(write(tmp_path, text))


def test_a_mistake_in_the_common_part_hides_none_in_the_rows(tmp_path: Path) -> None:
    text = "name: a\ntraining: {stepz: 1}\nparts: {p: {rows: {x: {modle.size: B}}, grid: {training.steps: [0]}}}\n"
    message = mistakes(write(tmp_path, text))
    for expected in ("training.stepz: unknown key", "rows.x.modle: unknown key", "grid.training.steps: 0 should be"):
        assert expected in message


def test_a_mistake_that_all_rows_have_in_common_is_told_once() -> None:
    lines = mistakes(QUICKSTART, "evaluation.metrics=[fvd]").splitlines()
    assert len(lines) == 1
    assert "evaluation.metrics (row 'flow matching' and 5 more): fvd does not measure images" in lines[0]
