"""The sentences at the head of the page: the best of each part, of a search by its objectives."""

from __future__ import annotations

import json
from typing import Any

from analysis.plan.read import parse_plan
from analysis.report.summary import list_findings
from analysis.results.measurements import measure
from analysis.results.sections import make_sections
from analysis.text.text_tables import make_text_tables
from tests.analysis.text.test_text_tables import RECORDS
from tests.support.plans import plan_document


def findings(objectives: dict[str, str], values: dict[str, list[float]], num_trials: int = 2) -> list[Any]:
    """Findings of the small plan, its part a search whose trials are all among the best."""
    document = plan_document()
    trials = [
        {"row": row, "number": number, "settings": {}, "state": "complete", "values": given}
        for number, (row, given) in enumerate(values.items())
    ]
    search = {"objectives": objectives, "num_trials": num_trials, "best": list(values), "trials": trials}
    document["parts"][0]["search"] = search
    plan = parse_plan(json.dumps(document))
    sections = make_sections(plan, measure(plan, RECORDS), RECORDS)
    return list_findings(plan, sections, make_text_tables(plan, sections))


def test_the_headline_of_a_search_is_its_objective_with_the_tables_number() -> None:
    ((_, metric, value, row),) = findings({"fd": "minimize"}, {"DFM": [3.0]}, num_trials=1)
    assert metric == "leading in FD-Lite0, chosen among 1 trial"
    assert row == "DFM"
    assert value[0].isdigit()


def test_a_search_that_goes_on_says_so_and_a_cost_is_an_objective_too() -> None:
    first, second = findings(
        {"fd": "minimize", "num_evaluations": "minimize"}, {"DFM": [3.0, 40.0], "flow matching": [5.0, 20.0]}, 9
    )
    assert first[1] == "leading in FD-Lite0, num evaluations so far, chosen among 2 trials"
    assert first[2].endswith(", 40")
    assert second[2:] == (second[2], "flow matching")
    assert second[2].endswith(", 20")


def test_a_search_without_a_finished_trial_has_no_headline() -> None:
    assert findings({"fd": "minimize"}, {}) == []
