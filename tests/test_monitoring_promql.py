"""The test of the series relies on this: an expression that names what is not there is told."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from monitoring.expressions import Expression, faults
from monitoring.promql import Parser, UnknownSeriesError

if TYPE_CHECKING:
    from monitoring.promql import Catalog

KNOWN: Catalog = {
    "shop_reads_total": {"function": {"a"}, "result": {"hit", "miss"}, "instance": {"x"}},
    "shop_waiting": {"instance": {"x"}},
    "shop_seconds_bucket": {"le": {"1"}, "route": {"/"}},
}


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ('sum by (function) (rate(shop_reads_total{result="hit"}[5m])) > 0', {"function"}),
        ('sum(rate(shop_reads_total{result=~"h.*"}[5m])) or vector(0)', set()),
        ("histogram_quantile(0.9, sum by (le) (shop_seconds_bucket))", set()),
        ("time() - max by (instance) (shop_waiting)", {"instance"}),
        ('label_replace(shop_waiting, "of", "us", "", "") > 0.9', {"instance", "of"}),
        (
            "shop_waiting * 2 * on (instance) group_left (result) shop_reads_total",
            {"instance", "result"},
        ),
    ],
)
def test_a_right_expression_has_the_labels_that_prometheus_gives_it(
    text: str, labels: set[str]
) -> None:
    assert Parser(text, KNOWN).labels().keys() == labels


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("shop_unknown", "names shop_unknown"),
        ('shop_reads_total{kind="hit"}', "asks for kind"),
        ('shop_reads_total{result="hits"}', "asks for result=hits"),
        ('shop_reads_total{result=~"5.."}', "asks for result=~5.."),
        ("sum by (route) (shop_reads_total)", "aggregates by ['route']"),
        (
            "sum by (function) (shop_reads_total) / sum(shop_reads_total)",
            "joins ['function'] and []",
        ),
        ("shop_waiting and on (function) shop_reads_total", "joins on ['function']"),
        ("histogram_quantile(0.9, sum(shop_seconds_bucket))", "without le"),
    ],
)
def test_a_wrong_expression_is_told(text: str, reason: str) -> None:
    with pytest.raises(UnknownSeriesError, match=re.escape(reason)):
        Parser(text, KNOWN).labels()


def test_a_legend_that_shows_what_the_result_lacks_is_told() -> None:
    one = Expression("here", "sum(shop_waiting)", {"instance"})
    assert faults(KNOWN, [one]) == ["here: shows ['instance'], which its result lacks"]
