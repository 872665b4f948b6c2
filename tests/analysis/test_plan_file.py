"""The published plan: what orchestration writes is what the analysis reads, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from analysis.errors import UserError
from analysis.plan_file import PartCounterpart, TableCounterpart, parse_plan, read_plan
from orchestration.plan import make_plan as plan_sweep
from orchestration.plan import plan_json
from orchestration.spec import load_sweep
from tests.analysis.builders import make_plan, plan_document

ROOT = Path(__file__).parents[2]


def test_the_plan_that_orchestration_publishes_is_read_whole() -> None:
    published = plan_sweep(load_sweep(ROOT / "sweeps/quickstart.yaml"))
    plan = parse_plan(plan_json(published, "sqlite:///x.db"))
    assert plan.sweep == "quickstart"
    assert plan.digests == set(published.tasks)
    assert [(t.part, t.row, t.seed, t.train, t.evaluations) for t in plan.trials] == [
        (t.part, t.row, t.seed, t.trains[-1], t.evaluations) for t in published.trials
    ]
    assert all(task.metrics == {metric.name for metric in plan.metrics} for task in plan.evaluations.values())


def test_a_plan_of_another_format_is_refused_with_both_numbers() -> None:
    text = json.dumps({**plan_document(), "format": 7})
    with pytest.raises(UserError, match=r"x\.json: plan format 7, this analysis reads format 1; submit"):
        parse_plan(text, "x.json")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1}', '{"format": 1, "tasks": []}'])
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
