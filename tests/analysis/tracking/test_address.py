"""Addresses in published plans, whose writers can put anything there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from analysis.errors import TrackingUnreachableError
from analysis.plan.read import parse_plan
from analysis.tracking.address import check_reachable, last_evaluations, run_url, runs_url, ui_command, without_password
from tests.support.plans import plan_document


@pytest.mark.parametrize("uri", ["http://[bad", "http://host:99999", "postgresql://host:port/name", "sqlite:///\0"])
def test_what_is_no_address_is_unreachable_and_can_be_shown(uri: str) -> None:
    with pytest.raises(TrackingUnreachableError):
        check_reachable(uri)
    assert without_password(uri) == uri
    assert isinstance(run_url(uri, "1", "r"), str)
    assert ui_command(uri) is None or uri in str(ui_command(uri))


@pytest.mark.parametrize("name", ["a?b", "a#b", "a%2Fb", "a b"])
def test_a_database_is_found_by_its_url_whatever_its_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"{name}.db"
    path.touch()
    check_reachable(f"sqlite:///{path.as_uri().removeprefix('file://')}")


def test_a_server_is_one_in_any_case() -> None:
    assert run_url("HTTP://Host:5000/", "1", "r") == "http://Host:5000/#/experiments/1/runs/r"
    assert ui_command("HTTPS://host") is None


def test_the_link_to_the_runs_opens_the_view_for_model_training_with_a_filter() -> None:
    wanted = "tags.`dfm.kind` = 'evaluate' and params.step = '20'"
    url = runs_url("https://someone:secret@host/mlflow/", "7", wanted)
    page, _, query = url.partition("?")
    assert page == "https://host/mlflow/#/experiments/7/runs"
    assert parse_qs(query) == {"workflowType": ["machine_learning"], "searchFilter": [wanted]}
    assert runs_url("sqlite:////a.db", "1").startswith("http://127.0.0.1:5000/#/experiments/1/runs?")
    assert runs_url("sqlite:////a.db", "") == ""


def test_the_last_evaluations_are_filtered_by_step_where_all_rows_end_at_one() -> None:
    plan = parse_plan(json.dumps(plan_document()))
    last = plan.trials[0].evaluations[-1][0]
    assert last_evaluations(plan) == f"tags.`dfm.kind` = 'evaluate' and params.step = '{last}'"
    first, *others = plan.trials
    shorter = replace(plan, trials=(replace(first, evaluations=first.evaluations[:1]), *others))
    assert last_evaluations(shorter) == "tags.`dfm.kind` = 'evaluate'"
