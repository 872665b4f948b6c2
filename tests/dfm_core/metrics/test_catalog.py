"""The catalog of metrics."""

from __future__ import annotations

from dfm_core.metrics.catalog import METRICS


def test_every_card_is_filed_under_its_own_name() -> None:
    assert all(card.name == name for name, card in METRICS.items())


def test_titles_and_floors_are_unique() -> None:
    assert len({card.title for card in METRICS.values()}) == len(METRICS)
    assert len({card.floor for card in METRICS.values()}) == len(METRICS)
