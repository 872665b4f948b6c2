"""Equal compute: steps that follow from a budget, and rows that are refused beside each other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dfm_core.config import ExperimentConfig
from orchestration.common.errors import UserError
from orchestration.plan.plan import make_plan
from orchestration.plan.plan_json import plan_json
from orchestration.spec.equal_compute import TOLERANCE
from orchestration.spec.load import SweepSpec, load_sweep
from orchestration.tasks.training_chain import flops_per_step, spent_flops, training_chain
from tests.orchestration.conftest import QUICKSTART, ROOT

SMALL = ROOT / "sweeps" / "table2_small.yaml"
TABLE2 = [SMALL, *sorted((ROOT / "sweeps").glob("table2_[ik]*.yaml"))]
CASCADE = "paradigm: cascaded, decomposition: {name: levels}, sampling: {steps: [6, 6], tau: []}"


def config_of(spec: SweepSpec, label: str) -> ExperimentConfig:
    (config, *_) = next(row.configs for part in spec.parts for row in part.rows if row.label == label)
    return config


def mistakes(*overrides: str, path: Path = QUICKSTART) -> str:
    with pytest.raises(UserError) as caught:
        load_sweep(path, overrides)
    return str(caught.value)


@pytest.mark.parametrize("path", TABLE2, ids=lambda path: path.stem)
def test_every_row_of_table_2_spends_the_budget(path: Path) -> None:
    spec = load_sweep(path)
    assert spec.budget_flops is not None
    for config in spec.configs:
        smallest = min(flops_per_step(link.config) for link in training_chain(config))
        assert spent_flops(config) == pytest.approx(spec.budget_flops, rel=TOLERANCE / 5, abs=smallest)


@pytest.mark.parametrize(
    ("path", "steps"), [("imagenet512", 500_000), ("imagenet1024", 350_000), ("kinetics512", 200_000)]
)
def test_the_budget_of_a_full_table_is_flow_matchings_published_number_of_steps(path: str, steps: int) -> None:
    spec = load_sweep(ROOT / "sweeps" / f"table2_{path}.yaml")
    flow_matching = config_of(spec, "flow_matching")
    assert flow_matching.training.steps == steps
    assert spec.budget_flops == steps * flops_per_step(flow_matching)
    assert config_of(spec, "dfm").training.steps == pytest.approx(steps, rel=1e-3)
    coarse, fine = config_of(spec, "cascaded").experts.steps
    assert (coarse, fine) == pytest.approx((0.8 * steps, 0.2 * steps), rel=2e-3)


def test_the_budget_of_512_px_is_that_of_the_accounting() -> None:
    # 6 MAC a weight pass, DiT-XL with 1,024 tokens, batch 256, 500k steps (numerics 11); without the stage table.
    assert load_sweep(ROOT / "sweeps" / "table2_imagenet512.yaml").budget_flops == pytest.approx(4.0292e20, rel=1e-4)


def test_a_longer_reference_row_lengthens_every_row() -> None:
    short, long = load_sweep(SMALL, ["training.steps=500"]), load_sweep(SMALL, ["training.steps=1000"])
    for label in ("cascaded", "pyramidal_flow", "dfm"):
        ratio = spent_flops(config_of(long, label)) / spent_flops(config_of(short, label))
        assert ratio == pytest.approx(2, rel=0.01)


def test_a_budget_in_flops_gives_the_steps_of_every_row() -> None:
    spec = load_sweep(SMALL, ["compute.budget=1.0e+12", "parts={p: {rows: {a: {}, b: {training.batch_size: 64}}}}"])
    a, b = config_of(spec, "a"), config_of(spec, "b")
    assert a.training.steps == round(1e12 / flops_per_step(a))
    assert b.training.steps == round(1e12 / flops_per_step(b)) < a.training.steps


def test_a_cheaper_step_gets_more_of_them() -> None:
    # One patch for all stages: the coarse stage has a quarter of the tokens.
    row = "pyramidal: {paradigm: pyramidal_flow, decomposition: {name: levels}, sampling: {steps: [6, 6], tau: []}"
    coarse = "model: {patch_sizes: [4, 4], patch_grid: per_stage}"
    spec = load_sweep(SMALL, ["compute.budget=1.0e+12", f"parts={{p: {{rows: {{{row}, {coarse}}}, dfm: {{}}}}}}}}"])
    steps = config_of(spec, "pyramidal").training.steps / config_of(spec, "dfm").training.steps
    assert 1.55 < steps < 1.75


def test_rows_are_measured_at_shares_of_the_budget_and_a_cascade_at_its_end() -> None:
    spec = load_sweep(SMALL, ["training.steps=500", "compute.measure_at=[0.5, 1.0]"])
    assert config_of(spec, "flow_matching").evaluation_steps == (250, 500)
    assert config_of(spec, "pyramidal_flow").evaluation_steps == (250, 501)
    assert config_of(spec, "cascaded").evaluation_steps == (502,)


def test_the_budget_of_a_row_is_its_steps_wherever_it_is_measured() -> None:
    rows = "parts={p: {rows: {a: {}, b: {training.batch_size: 64}}}}"
    spec = load_sweep(SMALL, ["compute={budget: a, measure_at: []}", "training.steps=100", "seeds=[0]", rows])
    early = load_sweep(
        SMALL,
        [
            "compute={budget: a, measure_at: []}",
            "evaluation.at_steps=[10]",
            "training.steps=100",
            rows,
            "compute.allow_unequal=true",
        ],
    )
    assert spec.budget_flops == early.budget_flops


def test_steps_that_a_budget_replaces_are_held_to_no_rule() -> None:
    overrides = ["compute.budget=1.0e+13", "evaluation.at_steps=[1000]", "parts={p: {rows: {DFM: {}}}}"]
    assert config_of(load_sweep(QUICKSTART, overrides), "DFM").training.steps > 1000


def test_unequal_rows_are_refused_with_both_ends_named() -> None:
    found = mistakes("parts={p: {rows: {a: {}, b: {training.batch_size: 48}, c: {training.batch_size: 64}}}}")
    assert "quickstart.yaml" in found or "command line" in found
    assert "its rows differ by 100.0% in training compute ('c'" in found
    assert "give compute.budget, from which their steps follow, or compute.allow_unequal: true" in found


def test_one_percent_is_let_pass() -> None:
    rows = "parts={p: {rows: {a: {training.batch_size: 100}, b: {training.batch_size: %d}}}}"
    assert load_sweep(QUICKSTART, [rows % 101, "workers.num_workers=1"])
    assert "differ by 2.0%" in mistakes(rows % 102, "workers.num_workers=1")


def test_what_rounding_to_whole_steps_leaves_is_let_pass_under_a_budget() -> None:
    assert load_sweep(SMALL, ["training.steps=20", "model.size=nano"])
    rows = "parts={p: {rows: {a: {}, b: {training.batch_size: 48, training.steps: 14}}}}"
    assert "differ by 5.0%" in mistakes(rows, "training.steps=20", "evaluation.at_steps=[]")


def test_what_counts_is_the_compute_behind_the_last_measurement() -> None:
    rows = "parts={p: {rows: {a: {training.steps: 700}, b: {training.steps: 900}}}}"
    assert load_sweep(QUICKSTART, [rows, "evaluation.at_steps=[100, 350]"])
    assert "differ by 28.6%" in mistakes(rows, "evaluation.at_steps=[]")


def test_allowed_differences_are_published_with_the_plan() -> None:
    rows = "parts={p: {rows: {a: {}, b: {training.batch_size: 64}}}}"
    document = json.loads(plan_json(make_plan(load_sweep(QUICKSTART, [rows, "compute.allow_unequal=true"])), "x"))
    assert document["equal_compute"] is False
    assert json.loads(plan_json(make_plan(load_sweep(QUICKSTART)), "x"))["equal_compute"] is True


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (
            ["compute.budget=flow machine"],
            "is neither a number of FLOPs nor the label of a row; did you mean 'flow matching'",
        ),
        (["compute.budget=-5"], "should be greater than 0"),
        (["compute.budget=0"], "should be greater than 0"),
        (["compute.bugdet=5"], "did you mean 'budget'?"),
        (["compute=5"], "5 must be a mapping"),
        (["compute.measure_at=[0.5]"], "are shares of compute.budget, which is not given"),
        (["compute={budget: DFM, measure_at: [0.5]}"], "says when rows are measured, as evaluation.at_steps does"),
        (["compute={budget: DFM, measure_at: [1.5]}", "evaluation.at_steps=[]"], "should be less than or equal to 1"),
        (["compute.budget=1.0"], "1 FLOPs are less than a step of every training"),
        (["compute.budget=1.0e+300"], "more than 1,000,000,000"),
        (["compute.budget=2.0e+10", "evaluation.at_steps=[]"], "in training compute"),
        (["compute={budget: DFM, measure_at: [0.5]}", "evaluation.at_steps=[]"], "the last must be 1.0"),
        (["compute.budget=DFM", "data.dataset=fashion_mist"], "did you mean 'fashion_mnist'?"),
        (["compute.budget=1.0e+12", "data.dataset=fashion_mist"], "did you mean 'fashion_mnist'?"),
        (["compute={budget: DFM, measure_at: [1.0]}", "evaluation=null"], "evaluation"),
        (
            [
                "compute.budget=a",
                "parts={p: {rows: {a: {training.steps: 800}}}, q: {rows: {a: {training.steps: 900}}}}",
            ],
            "2 rows are called 'a' and differ in training compute",
        ),
        (
            [
                "compute={budget: a, measure_at: [1.0]}",
                "evaluation.at_steps=[]",
                "parts={p: {rows: {a: {}, b: {evaluation.at_steps: [10]}}}}",
            ],
            "compute.measure_at says when rows are measured",
        ),
        (["compute.budget=1.0e+12", "training.steps=5"], "steps follow from compute.budget"),
        (
            ["compute.budget=DFM", "parts={p: {rows: {DFM: {}, b: {training.steps: 5}}}}", "evaluation.at_steps=[]"],
            "training.steps (row 'b'): steps follow from compute.budget",
        ),
        (
            [f"parts={{p: {{rows: {{c: {{{CASCADE}}}}}}}}}"],
            "a cascade trains a network per stage: give the steps of each",
        ),
        (
            [f"parts={{p: {{rows: {{c: {{{CASCADE}, experts.compute_shares: [0.8, 0.2]}}}}}}}}"],
            "are shares of the sweep's compute.budget, which is not given",
        ),
        (
            [
                "compute.budget=1.0e+12",
                f"parts={{p: {{rows: {{c: {{{CASCADE}, experts.compute_shares: [0.8, 0.3]}}}}}}}}",
            ],
            "must be above 0 and sum to 1; they sum to 1.1",
        ),
        (
            [f"parts={{p: {{rows: {{c: {{{CASCADE}, training.stage_probabilities: [0.0, 1.0]}}}}}}}}"],
            "one network of a cascade cannot be sampled without the other's snapshot",
        ),
        (["published=5"], "must be a mapping"),
        (["published.same_setting=false"], "is given without table"),
        (["published={table: table2, metrics: {label_acuracy: is}}"], "did you mean 'label_accuracy'?"),
        (["parts={p: {published: {part: imagenet_512}, rows: {a: {}}}}"], "stands beside no table"),
        (["published.table=tabel2"], "did you mean 'table2'"),
        (["published={table: table2, metrics: {label_accuracy: fid_5k}}"], "fid_5k"),
        (["published.table=table2", "parts={p: {published: {part: imagenet}, rows: {a: {}}}}"], "parts.p.published"),
        (
            ["published.table=table2", "parts={p: {published: {part: imagenet_512, guidance: 7.0}, rows: {a: {}}}}"],
            "guidance of table2 imagenet_512",
        ),
        (["parts={p: {published: 3, rows: {a: {}}}}"], "must be a mapping with `part:` and `guidance:`"),
        (["parts={p: {settings: 3, rows: {a: {}}}}"], "`rows`, `grid` and `settings` must be mappings"),
    ],
)
def test_a_mistake_is_refused_with_its_reason(overrides: list[str], expected: str) -> None:
    assert expected in mistakes(*overrides)


def test_the_settings_of_a_part_hold_for_its_rows_unless_a_row_says_otherwise() -> None:
    part = "parts={p: {settings: {sampling.guidance: 1.5}, rows: {a: {}, b: {sampling.guidance: 3.0}}}}"
    spec = load_sweep(QUICKSTART, [part])
    assert [config.sampling.guidance for config in spec.configs] == [1.5, 3.0]


def published_keys(document: dict[str, Any]) -> list[Any]:
    return [document["published"], *(part["published"] for part in document["parts"])]


def test_the_plan_says_beside_which_published_values_it_stands() -> None:
    document = json.loads(plan_json(make_plan(load_sweep(SMALL)), "x"))
    table, first, second = published_keys(document)
    assert table["table"] == "table2"
    assert table["same_setting"] is False
    assert (first, second) == tuple({"part": "imagenet_512", "guidance": guidance} for guidance in (1.5, 1.0))
    assert published_keys(json.loads(plan_json(make_plan(load_sweep(QUICKSTART)), "x"))) == [None, None, None]


@pytest.mark.parametrize(
    ("own", "overrides", "refused_at"),
    [
        ("compute: {budget: 1.0e+12}", (), ""),
        ("compute: {budget: 1.0e+12}\ntraining: {steps: 9}", (), "sweep.yaml: training.steps"),
        ("training: {steps: 9}", ("compute.budget=1.0e+12",), ""),
        ("compute: {budget: 1.0e+12}", ("training.steps=9",), "command line: training.steps"),
        ("", ("compute.budget=1.0e+12", "training.steps=9"), "command line: training.steps"),
    ],
)
def test_a_budget_overrules_the_steps_of_weaker_layers_and_of_no_others(
    tmp_path: Path, own: str, overrides: tuple[str, ...], refused_at: str
) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(f"name: a\nbase: {ROOT}/sweeps/base/fashion_mnist_small.yaml\n{own}\n")
    if refused_at:
        assert f"{refused_at}: steps follow from compute.budget" in mistakes(*overrides, path=path)
    else:
        assert load_sweep(path, overrides).budget_flops == 1e12
