"""The table of metrics in docs/operations.md has those of the code, with their labels."""

from __future__ import annotations

import ast
import re

from ruamel.yaml import YAML

from shop.config import ROOT

DOCUMENT = ROOT / "docs" / "operations.md"
KINDS = ("Counter", "Gauge", "Histogram", "CounterMetricFamily", "GaugeMetricFamily")
ALERTS = ROOT / "deploy" / "monitoring" / "alerts.yml"
NAME = r"`((?:shop|process)_\w+)(?:\{([\w,]+)\})?`"


def metrics() -> dict[str, list[str]]:
    """Return the labels of each metric of `shop`, by its name in Prometheus."""
    found = {}
    for path in (ROOT / "shop").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(ast.Name(kind), [ast.Constant(str(name)), _, *labels], named) if (
                    kind in KINDS
                ):
                    labels += [one.value for one in named if one.arg == "labels"]
                    name += "_total" if kind.startswith("Counter") else ""
                    found[name] = ast.literal_eval(labels[0]) if labels else []
    return found


def test_each_metric_is_in_the_table_with_its_labels() -> None:
    firsts = re.findall(r"^\| (`(?:shop|process)_.*?`) \|", DOCUMENT.read_text(), re.MULTILINE)
    rows = [row for first in firsts for row in re.findall(NAME, first)]
    told = {name: labels.split(",") if labels else [] for name, labels in rows}
    assert told == metrics()


def test_the_table_of_alerts_is_that_of_the_rules() -> None:
    rules = [one for group in YAML(typ="safe").load(ALERTS)["groups"] for one in group["rules"]]
    text = (ROOT / "docs" / "monitoring.md").read_text()
    told = re.findall(r"^\| `(\w+)` \| (page|ticket) \| ([\w ]+) \|", text, re.MULTILINE)
    assert told == [
        (one["alert"], one["labels"]["severity"], one.get("for", "at once")) for one in rules
    ]
