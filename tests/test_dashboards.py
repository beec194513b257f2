"""The dashboards are what `make dashboards` writes, and what Grafana can show."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from dev.dashboards.__main__ import DASHBOARDS, DIRECTORY
from dev.dashboards.panels import COLUMNS, SCHEMA_VERSION, SOURCE


def test_the_files_are_those_of_make_dashboards() -> None:
    found = {path.name: json.loads(path.read_text()) for path in DIRECTORY.iterdir()}
    assert found == {name: one.json() for name, one in DASHBOARDS.items()}


@pytest.fixture(params=sorted(DASHBOARDS))
def dashboard(request: pytest.FixtureRequest) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((DIRECTORY / request.param).read_text())
    return loaded


def test_each_dashboard_has_an_address_of_its_own() -> None:
    assert len({one.uid for one in DASHBOARDS.values()}) == len(DASHBOARDS)


def test_a_dashboard_asks_the_chosen_prometheus(dashboard: dict[str, Any]) -> None:
    assert dashboard["schemaVersion"] == SCHEMA_VERSION
    [variable] = dashboard["templating"]["list"]
    assert (variable["type"], variable["query"]) == ("datasource", "prometheus")
    asked = [panel for panel in dashboard["panels"] if "targets" in panel]
    sources = [one["datasource"] for one in asked + [t for p in asked for t in p["targets"]]]
    assert all(
        source == SOURCE == {**SOURCE, "uid": f"${{{variable['name']}}}"} for source in sources
    )


def test_each_panel_has_a_place_and_a_number_of_its_own(dashboard: dict[str, Any]) -> None:
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [panel["gridPos"] for panel in panels]
    assert all(one["x"] >= 0 and one["x"] + one["w"] <= COLUMNS for one in places)
    for one, other in itertools.combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert beside or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]


def test_each_panel_says_what_it_shows(dashboard: dict[str, Any]) -> None:
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    titles = [panel["title"] for panel in panels]
    assert len(titles) >= 10
    for panel in panels:
        assert panel["description"].endswith("."), panel["title"]
        if panel["type"] != "text":
            assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
            assert all(target["legendFormat"] for target in panel["targets"]), panel["title"]
            assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
