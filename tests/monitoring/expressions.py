"""Collect every expression of rules and dashboards, with what else it has to have labels for."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML

from shop.config import ROOT

from .promql import Parser, UnknownSeriesError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .promql import Catalog

MONITORING = ROOT / "deploy" / "monitoring"
DOCUMENT = ROOT / "docs" / "monitoring.md"
VARIABLES = {"$__rate_interval": "5m", "$__interval": "5m", "$__range": "1h"}


@dataclass
class Expression:
    place: str
    text: str
    shown: set[str] = field(default_factory=set)  # labels that a legend or a message shows
    record: str = ""  # the name of its result, if it is a recording rule


def expressions() -> Iterator[Expression]:
    """Yield recording rules first: the others use their results."""
    for rule in _rules("recording.yml"):
        yield Expression(rule["record"], rule["expr"], record=rule["record"])
    for rule in _rules("alerts.yml"):
        shown = re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values()))
        yield Expression(rule["alert"], rule["expr"], set(shown))
    for path in sorted((MONITORING / "grafana" / "dashboards").glob("*.json")):
        yield from _of_dashboard(path.stem, json.loads(path.read_text()))
    for block in re.findall(r"```promql\n(.*?)```", DOCUMENT.read_text(), re.DOTALL):
        for line in block.splitlines():
            if line and not line.startswith("#"):
                yield Expression(DOCUMENT.name, line)


def _rules(name: str) -> Iterator[dict[str, Any]]:
    for group in YAML(typ="safe").load(MONITORING / name)["groups"]:
        yield from group["rules"]


def _of_dashboard(name: str, dashboard: dict[str, Any]) -> Iterator[Expression]:
    for mark in dashboard["annotations"]["list"]:
        shown = _braced(mark["titleFormat"] + mark["textFormat"])
        yield Expression(f"{name}, {mark['name']}", _without_variables(mark["expr"]), shown)
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            text = _without_variables(target["expr"])
            yield Expression(f"{name}, {panel['title']}", text, _braced(target["legendFormat"]))


def _braced(text: str) -> set[str]:
    return set(re.findall(r"\{\{(\w+)\}\}", text))


def _without_variables(text: str) -> str:
    for name, value in VARIABLES.items():
        text = text.replace(name, value)
    return text


def faults(catalog: Catalog, found: Iterable[Expression]) -> list[str]:
    """Return what each expression names in vain; add the results of recording rules."""
    wrong = []
    for one in found:
        try:
            labels = Parser(one.text, catalog).labels()
        except UnknownSeriesError as error:
            wrong.append(f"{one.place}: {error}")
            continue
        if missing := one.shown - labels.keys():
            wrong.append(f"{one.place}: shows {sorted(missing)}, which its result lacks")
        if one.record:
            catalog[one.record] = labels
    return wrong
