"""The published plan: what orchestration writes is what the analysis reads, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.errors import UserError
from analysis.plan.model import PartCounterpart, TableCounterpart
from analysis.plan.read import parse_plan, read_plan
from analysis.records.record import MISSING
from analysis.report.sample_grids import collect_sample_grids
from orchestration.plan.plan import make_plan as plan_sweep
from orchestration.plan.plan_json import plan_json
from orchestration.spec.load import load_sweep
from tests.support.plans import SAMPLING, evaluate_digest, make_plan, plan_document, protocol

ROOT = Path(__file__).parents[3]


def test_the_plan_that_orchestration_publishes_is_read_whole() -> None:
    published = plan_sweep(load_sweep(ROOT / "sweeps/quickstart.yaml"))
    plan = parse_plan(plan_json(published, "sqlite:///x.db"))
    assert plan.sweep == "quickstart"
    assert set(plan.kinds) == set(published.tasks)
    label = {part.name: part.label_in_sweep for part in plan.parts}
    assert [(t.part, label[t.part](t.row), t.seed, t.train, t.evaluations) for t in plan.trials] == [
        (t.part, t.row, t.seed, t.trains[-1], t.evaluations) for t in published.trials
    ]
    assert all(task.metrics == {metric.name for metric in plan.metrics} for task in plan.evaluations.values())


def test_a_plan_of_another_format_is_refused_with_both_numbers() -> None:
    text = json.dumps({**plan_document(), "format": 7})
    with pytest.raises(UserError, match=r"x\.json: plan format 7, this analysis reads format 2; submit"):
        parse_plan(text, "x.json")


def test_a_plan_of_the_format_before_says_how_to_go_on() -> None:
    text = json.dumps({**plan_document(), "format": 1})
    with pytest.raises(UserError, match=r"plan format 1, .* format 2; submit the sweep again with this version, or"):
        parse_plan(text)


def test_protocols_floors_and_samplings_are_read() -> None:
    plan = make_plan()
    task = plan.evaluations[evaluate_digest("DFM", 200)]
    assert task.protocols["fd"].values == protocol("fd")
    assert (task.protocols["fd"].num_samples, task.protocols["fd"].guidance) == (500, 1.0)
    assert task.sampling == SAMPLING
    assert task.floor == "floor"
    assert plan.floors["floor"].protocols["fd"].values == protocol("fd", ema_decay=0.0)
    assert (plan.titles["probe"]["probe"], plan.titles["reference"]["reference"]) == (
        "labels, lite0",
        "real images, lite0",
    )


def test_an_evaluation_may_have_no_floor() -> None:
    document = plan_document()
    document["tasks"][evaluate_digest("DFM", 200)]["floor"] = None
    assert parse_plan(json.dumps(document)).evaluations[evaluate_digest("DFM", 200)].floor is None


def test_a_task_of_a_kind_yet_unknown_is_left_alone() -> None:
    document = plan_document()
    document["tasks"]["new"] = {"kind": "distil", "title": "x", "inputs": [], "payload": {}}
    assert parse_plan(json.dumps(document)) == make_plan()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"floor": "absent"}, "the floor 'absent' of 'DFM @ 200' is no floor task"),
        ({"floor": "reference"}, "the floor 'reference' of 'DFM @ 200' is no floor task"),
        ({"floor": ["floor"]}, "not a sweep's plan"),
        ({"protocols": {"fd": {"metric": "fd"}}}, "a protocol lacks network, weights_sha256, preprocessing, num_sam"),
        ({"protocols": {"fd": None}}, "a protocol is a JSON object, not null"),
        ({"protocols": []}, "not a sweep's plan"),
        ({"protocols": {"fd": protocol("fd", num_samples="500")}}, "num_samples .* is a whole number, not '500'"),
        ({"protocols": {"fd": protocol("fd", num_samples=True)}}, "num_samples .* is a whole number, not True"),
        ({"protocols": {"fd": protocol("fd", guidance=None)}}, "guidance .* is a finite number, not None"),
        ({"sampling": 3}, "not a sweep's plan"),
    ],
)
def test_an_evaluation_that_is_not_whole_is_refused(change: dict[str, object], message: str) -> None:
    document = plan_document()
    document["tasks"][evaluate_digest("DFM", 200)] |= change
    with pytest.raises(UserError, match=message):
        parse_plan(json.dumps(document))


@pytest.mark.parametrize("key", ["floor", "protocols", "sampling"])
def test_an_evaluation_without_a_key_is_refused_by_its_name(key: str) -> None:
    document = plan_document()
    del document["tasks"][evaluate_digest("DFM", 200)][key]
    with pytest.raises(UserError, match=f"lacks key '{key}'"):
        parse_plan(json.dumps(document))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 2}', '{"format": 2, "tasks": []}'])
def test_what_is_not_a_plan_is_refused_by_name(text: str) -> None:
    with pytest.raises(UserError, match=r"x\.json: not a sweep's plan"):
        parse_plan(text, "x.json")


def test_an_absent_plan_says_to_submit_the_sweep(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'small' has no published plan here; submit it first"):
        read_plan(str(tmp_path), "small")


def test_a_plan_names_the_papers_table_and_the_part_beside_each_of_its_own() -> None:
    document = plan_document(
        parts={"main": ("dfm",), "mine": ("dfm",)},
        published={"table": "table2", "metrics": {"fd": "fid_50k"}, "same_setting": False},
        counterparts={"main": {"part": "imagenet_512", "guidance": 1.5}},
    )
    plan = parse_plan(json.dumps({**document, "equal_compute": False}))
    assert plan.published == TableCounterpart("table2", {"fd": "fid_50k"}, same_setting=False)
    assert [part.published for part in plan.parts] == [PartCounterpart("imagenet_512", 1.5), None]
    assert not plan.equal_compute


def test_a_plan_from_before_the_comparison_is_read_as_having_none() -> None:
    document = plan_document()
    del document["published"], document["equal_compute"]
    for part in document["parts"]:
        del part["published"]
    plan = parse_plan(json.dumps(document))
    assert (plan.published, plan.parts[0].published, plan.equal_compute) == (None, None, True)
    assert plan == make_plan()


@pytest.mark.parametrize("published", [{"table": "table2"}, "table2", {"table": "t", "metrics": 1, "same_setting": 1}])
def test_a_counterpart_that_is_not_whole_is_refused(published: object) -> None:
    with pytest.raises(UserError, match=r"x\.json: not a sweep's plan"):
        parse_plan(json.dumps({**plan_document(), "published": published}), "x.json")


def test_a_plan_is_read_from_a_url() -> None:
    import fsspec

    fsspec.filesystem("memory").pipe_file("/bucket/plans/small.json", json.dumps(plan_document()).encode())
    assert read_plan("memory://bucket", "small") == make_plan()


def test_trainings_of_the_same_title_are_told_apart_by_their_rows() -> None:
    document = plan_document()
    for task in document["tasks"].values():
        task["title"] = "dfm, seed=0" if task["kind"] == "train" else task["title"]
    labels = parse_plan(json.dumps(document)).training_labels()
    assert list(labels.values()) == ["dfm, seed=0 (paradigm / flow matching)", "dfm, seed=0 (paradigm / DFM)"]


@pytest.mark.parametrize("sweep", ["../../etc", "/etc", "a/b", "", ".hidden"])
def test_a_plan_whose_sweep_is_a_path_is_refused(sweep: str) -> None:
    with pytest.raises(UserError, match="is not a sweep's name"):
        parse_plan(json.dumps(plan_document() | {"sweep": sweep}))


def test_a_digest_that_is_a_path_names_no_file_elsewhere() -> None:
    plan = make_plan()
    grids = collect_sample_grids(
        replace(plan, titles={"reference": {"../../x": "real"}}), {"../../x": replace(MISSING, image=b"png")}
    )
    assert [grid.path for grid in grids] == ["samples/real-x.png"]
