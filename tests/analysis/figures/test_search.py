"""What is drawn of a search."""

from __future__ import annotations

import json
import math
from typing import Any

from analysis.comparison.joined_sweep import JoinedSweep
from analysis.drawing.chart import BarPanel, Chart, Panel
from analysis.figures.search import collect_search
from analysis.plan.read import parse_plan
from tests.support.plans import plan_document


def trial(number: int, values: list[float], state: str = "complete", **settings: Any) -> dict[str, Any]:
    keys = {"sampling.tau": 0.5 + number / 100, "sampling.solver": "euler" if number % 2 else "heun", **settings}
    return {
        "row": f"trial {number}",
        "number": number,
        "settings": keys,
        "state": state,
        "values": values,
        "is_feasible": True,
    }


def charts_of(trials: list[dict[str, Any]], objectives: dict[str, str] | None = None) -> dict[str, Chart]:
    document = plan_document(parts={"p": ("a",)})
    document["parts"][0]["search"] = {
        "objectives": objectives or {"fd": "minimize"},
        "num_trials": 9,
        "best": ["trial 1"],
        "trials": trials,
    }
    groups = collect_search(JoinedSweep.of(parse_plan(json.dumps(document)), {}))
    return {chart.name: chart for group in groups for chart in group.charts}


def panels(chart: Chart) -> list[Panel]:
    return [panel for panel in chart.panels if isinstance(panel, Panel)]


def test_the_history_follows_the_best_feasible_value_in_the_order_of_the_numbers() -> None:
    broken = {**trial(3, [0.5]), "is_feasible": False}
    found = [trial(2, [4.0]), trial(0, [5.0]), broken, trial(1, [2.0]), trial(4, [], "pruned"), trial(5, [math.inf])]
    (panel,) = panels(charts_of(found)["search-1-p-history"])
    points, best = panel.lines
    assert (points.x, points.y) == ((0.0, 1.0, 2.0, 3.0), (5.0, 2.0, 4.0, 0.5))
    assert best.y == (5.0, 2.0, 2.0, 2.0)
    maximal = charts_of([trial(0, [1.0]), trial(1, [3.0]), trial(2, [2.0])], {"accuracy": "maximize"})
    assert panels(maximal["search-1-p-history"])[0].lines[1].y == (1.0, 3.0, 3.0)


def test_slices_show_every_key_that_varies_with_the_best_marked() -> None:
    found = [trial(number, [float(number)], same=1) for number in range(1, 4)]
    found[2]["settings"]["only.here"] = 1
    tau, solver = panels(charts_of(found)["search-1-p-slices-1"])
    assert (tau.x_label, solver.x_names) == ("tau", ("euler", "heun"))
    assert [(line.label, line.x, line.y) for line in solver.lines] == [
        ("a trial", (1.0, 0.0), (2.0, 3.0)),
        ("best", (0.0,), (1.0,)),
    ]


def test_importances_come_with_enough_trials_for_each_objective() -> None:
    few = charts_of([trial(number, [float(number)]) for number in range(19)])
    assert "search-1-p-importances" not in few
    enough = [trial(number, [float(number), 24.0 + number % 3]) for number in range(24)]
    chart = charts_of(enough, {"fd": "minimize", "num_evaluations": "minimize"})["search-1-p-importances"]
    first, second = (panel for panel in chart.panels if isinstance(panel, BarPanel))
    assert (first.x_label, first.bars[0].label) == ("share of the variance of FD-Lite0", "tau")
    assert "% (noise: up to " in first.bars[0].text
    assert second.x_label == "share of the variance of num evaluations"


def test_a_search_without_two_complete_trials_has_no_figure() -> None:
    assert charts_of([trial(0, [1.0]), trial(1, [], "running"), trial(2, [math.nan])]) == {}
