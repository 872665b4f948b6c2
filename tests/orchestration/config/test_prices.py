"""Money beside hours: in plan, estimate and report, by each node type that has a price."""

from __future__ import annotations

import pytest

from analysis.plan.read import parse_plan
from analysis.records.record import Record
from analysis.text.cost_tables import money_text
from orchestration.common.errors import UserError
from orchestration.config.prices import NodePrice, PricesConfig
from orchestration.control.budget_meter import HOUR
from orchestration.launch.summary import spent_text
from orchestration.plan.plan import make_plan
from orchestration.plan.plan_json import plan_json
from orchestration.spec.load import load_sweep
from tests.orchestration.conftest import QUICKSTART

PRICES = "prices={currency: EUR, node_types: {big: {per_hour: 32.0, accelerators: 8}, small: {per_hour: 1.5}}}"


def test_no_prices_say_nothing_and_several_types_give_a_range() -> None:
    assert PricesConfig().beside(HOUR) == ""
    big, small = NodePrice(32.0, 8), NodePrice(1.5)
    assert PricesConfig(node_types={"big": big}).beside(2 * HOUR) == " (USD 8.00 on big)"
    both = PricesConfig("EUR", {"big": big, "small": small})
    assert both.text(1000 * HOUR) == "EUR 1,500 on small to 4,000 on big"


def test_prices_stand_beside_hours_and_in_no_digest() -> None:
    plain, priced = make_plan(load_sweep(QUICKSTART)), load_sweep(QUICKSTART, [PRICES])
    plan = make_plan(priced)
    assert plan.tasks.keys() == plain.tasks.keys()
    assert spent_text(2 * HOUR, priced.runtime) == (
        "Spent so far: 2 accelerator-hours (EUR 3.00 on small to 8.00 on big)."
    )
    published = parse_plan(plan_json(plan, "sqlite:///x"))
    records = {digest: Record("done", {"accelerator_seconds": HOUR}) for digest in list(plan.tasks)[:3]}
    assert "3 accelerator-hours: EUR 12.00 on big, EUR 4.50 on small" in money_text(published, records)
    assert money_text(parse_plan(plan_json(plain, "sqlite:///x")), records) == ""


@pytest.mark.parametrize("price", ["{per_hour: -1.0}", "{per_hour: 1.0, accelerators: 0}", "{hour: 1.0}"])
def test_prices_that_are_none_are_refused_with_their_place(price: str) -> None:
    with pytest.raises(UserError, match=r"prices\.node_types\.big"):
        load_sweep(QUICKSTART, [f"prices={{node_types: {{big: {price}}}}}"])
