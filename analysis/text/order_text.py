"""Sentences on the agreement of our order of rows with the paper's. Pure."""

from __future__ import annotations

from analysis.comparison.compare import MetricComparison
from analysis.comparison.row_order import Order
from analysis.comparison.verdicts import OTHER_SETTING
from analysis.text.caveats import some_of

_NO_TAU = "No Kendall's tau: fewer than three rows have both values, or one side ties them all."


def order_verdict(metric: MetricComparison) -> str:
    """Say if the order agrees, and which values do not compare with the paper's, and why."""
    named = _not_comparable(metric)
    if named and all(row.setting_difference for row in metric.rows if row.published is not None):
        return f"not comparable: {'; '.join(named)}."
    if not metric.comparable:
        sentence = "no order to compare, since our own rows do not compare by it."
    else:
        sentence = order_sentence(metric.order)
        sentence += f" {tau_sentence(metric)}" if metric.order else ""
    return f"{sentence} Not comparable: {'; '.join(named)}." if named else sentence


def _not_comparable(metric: MetricComparison) -> list[str]:
    """Return the reasons why our values do not compare with the paper's of the same setting, with their rows."""
    reasons: dict[str, list[str]] = {}
    for row in metric.rows:
        if row.verdict is not None and row.verdict.name == "not comparable" and row.verdict.reason != OTHER_SETTING:
            reasons.setdefault(row.verdict.reason, []).append(row.label)
    num_published = sum(row.published is not None for row in metric.rows)
    return [why if len(rows) == num_published else f"{why} ({some_of(rows)})" for why, rows in reasons.items()]


def tau_sentence(metric: MetricComparison) -> str:
    """Write "Kendall's tau 0.67 (n = 4 rows; 95% interval -0.33 to 1.00, of seeds and samples)."."""
    tau = metric.agreement
    if tau is None:
        return _NO_TAU
    known = tau.low is not None and tau.high is not None
    interval = f"; 95% interval {tau.low:.2f} to {tau.high:.2f}, of {tau.basis}" if known else ""
    chance = f"; as far from 0 by chance: p = {tau.p_value:.2g}"
    return f"Kendall's tau {tau.tau:.2f} (n = {tau.num_rows} rows{interval}{chance}; the paper's values as exact)."


def order_sentence(order: Order | None) -> str:
    """Write "4 of 6 pairs agree, 1 disagrees, 1 is not resolved by our seeds ...; the best agrees (dfm).".

    By one seed, or by an exploratory metric, only what the means say: nothing is resolved.
    """
    if order is None:
        return "no order to compare, since fewer than two rows have both values."
    if not order.num_pairs:
        return "no order to compare, since the paper prints the same number for all rows."
    if not order.makes_claims:
        text = f"by the means alone {order.num_alike} of {order.num_pairs} pairs agree"
        return f"{text}{_tied(order)}; {_best_by_means(order)}."
    text = f"{order.num_agree} of {order.num_pairs} pairs agree"
    if order.num_disagree:
        text += f", {order.num_disagree} {'disagrees' if order.num_disagree == 1 else 'disagree'}"
    if order.num_unresolved:
        alike = f"(by the means alone {order.num_alike} of {order.num_pairs} agree)"
        text += f", {order.num_unresolved} not resolved by our seeds {alike}"
    return f"{text}{_tied(order)}; {_best(order)}."


def _tied(order: Order) -> str:
    return f", {order.num_tied} left out as tied in the paper" if order.num_tied else ""


def _best(order: Order) -> str:
    if not order.best_resolved:
        return f"the best is not resolved by our seeds ({_best_by_means(order)})"
    ours, published = ", ".join(order.best_ours), ", ".join(order.best_published)
    if order.best_agrees:
        return f"the best agrees ({ours})"
    return f"the best does not agree ({published} in the paper; {ours} here)"


def _best_by_means(order: Order) -> str:
    ours, published = ", ".join(order.best_ours), ", ".join(order.best_published)
    return f"best mean: {ours}" if ours == published else f"best mean: {ours}, in the paper {published}"
