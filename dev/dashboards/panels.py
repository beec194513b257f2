"""Panels and dashboards, as Grafana's JSON has them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

COLUMNS = 24  # of Grafana's grid
SCHEMA_VERSION = 39
SOURCE = {"type": "prometheus", "uid": "${source}"}
# A gunicorn that starts, with what it runs: a deployment, or a crash.
STARTS = (
    'process_start_time_seconds{job="shop"} * 1000'
    " * on (instance) group_left (version, revision) shop_build_info"
)
WITH_EXEMPLARS = "shop_http_request_seconds_bucket"

Json = dict[str, Any]


@dataclass
class Panel:
    """A panel with its queries: pairs of an expression and a legend."""

    kind: str
    title: str
    description: str
    queries: list[tuple[str, str]] = field(default_factory=list)
    unit: str = "short"
    width: int = 8
    height: int = 8
    defaults: Json = field(default_factory=dict)
    options: Json = field(default_factory=dict)
    transformations: list[Json] = field(default_factory=list)

    def json(self, number: int, x: int, y: int) -> Json:
        """Return the panel with its id, at a place of the grid."""
        place = {"h": self.height, "w": self.width, "x": x, "y": y}
        panel = {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "gridPos": place,
            "options": self.options,
        }
        if not self.queries:
            return panel
        shape = {"table": {"instant": True, "range": False, "format": "table"}}
        shape["heatmap"] = {"format": "heatmap"}
        targets = [
            {
                "refId": chr(ord("A") + place),
                "datasource": SOURCE,
                "expr": expression,
                "legendFormat": legend,
                **({"exemplar": True} if WITH_EXEMPLARS in expression else {}),
                **shape.get(self.kind, {}),
            }
            for place, (expression, legend) in enumerate(self.queries)
        ]
        fields = {"defaults": {"unit": self.unit, **self.defaults}, "overrides": []}
        panel |= {"datasource": SOURCE, "fieldConfig": fields, "targets": targets}
        if self.transformations:
            panel["transformations"] = self.transformations
        return panel


@dataclass
class Dashboard:
    uid: str
    title: str
    description: str
    rows: dict[str, list[Panel]]

    def json(self) -> Json:
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": ["shop"],
            "schemaVersion": SCHEMA_VERSION,
            "version": 1,
            "editable": False,
            "graphTooltip": 1,
            "refresh": "10s",
            "time": {"from": "now-1h", "to": "now"},
            "timezone": "browser",
            "links": [_links()],
            "templating": {"list": [_source_variable()]},
            "annotations": {"list": [_starts()]},
            "panels": list(_placed(self.rows)),
        }


def graph(  # noqa: PLR0913  (each is one property of a panel)
    title: str,
    description: str,
    unit: str,
    *queries: tuple[str, str],
    width: int = 8,
    stacked: bool = False,
    most: float | None = None,
) -> Panel:
    """Return lines over time; `most` is the end of the axis."""
    custom = {"fillOpacity": 10, "showPoints": "never"}
    if stacked:
        custom |= {"fillOpacity": 40, "stacking": {"mode": "normal", "group": "A"}}
    defaults: Json = {"min": 0, "custom": custom}
    if most is not None:
        defaults["max"] = most
    options = {
        "legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"]},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return Panel("timeseries", title, description, list(queries), unit, width, 8, defaults, options)


def stat(  # noqa: PLR0913  (each is one property of a panel)
    title: str,
    description: str,
    unit: str,
    query: tuple[str, str],
    *steps: tuple[float | None, str],
    width: int = 4,
    text: str = "auto",
) -> Panel:
    """Return the last value as a number; `steps` are colours from a value on."""
    thresholds = {
        "mode": "absolute",
        "steps": [{"value": value, "color": color} for value, color in steps or [(None, "blue")]],
    }
    options = {"reduceOptions": {"calcs": ["lastNotNull"]}, "graphMode": "none", "textMode": text}
    defaults = {"thresholds": thresholds}
    return Panel("stat", title, description, [query], unit, width, 4, defaults, options)


def bars(title: str, description: str, unit: str, query: tuple[str, str], width: int = 8) -> Panel:
    """Return one horizontal bar for each series."""
    options = {"reduceOptions": {"calcs": ["lastNotNull"]}, "orientation": "horizontal"}
    return Panel("bargauge", title, description, [query], unit, width, 8, {"min": 0}, options)


def heatmap(
    title: str, description: str, unit: str, query: tuple[str, str], width: int = 8
) -> Panel:
    """Return a histogram over time."""
    options = {"calculate": False, "yAxis": {"unit": unit}}
    return Panel("heatmap", title, description, [query], unit, width, 8, {}, options)


def text(title: str, description: str, content: str, width: int = 24) -> Panel:
    options = {"mode": "markdown", "content": content}
    return Panel("text", title, description, width=width, height=5, options=options)


def _placed(rows: dict[str, list[Panel]]) -> list[Json]:
    """Return the panels of each row from left to right, in as many lines as they need."""
    placed: list[Json] = []
    x = y = height = 0
    for title, panels in rows.items():
        y, x, height = y + height, 0, 0
        row = {"id": len(placed) + 1, "type": "row", "title": title, "collapsed": False}
        placed.append({**row, "gridPos": {"h": 1, "w": COLUMNS, "x": 0, "y": y}, "panels": []})
        y += 1
        for panel in panels:
            if x + panel.width > COLUMNS:
                y, x, height = y + height, 0, 0
            placed.append(panel.json(len(placed) + 1, x, y))
            x, height = x + panel.width, max(height, panel.height)
    return placed


def _links() -> Json:
    return {
        "type": "dashboards",
        "title": "shop",
        "tags": ["shop"],
        "asDropdown": True,
        "keepTime": True,
        "includeVars": True,
    }


def _source_variable() -> Json:
    return {
        "name": "source",
        "label": "Prometheus",
        "type": "datasource",
        "query": "prometheus",
        "current": {},
        "options": [],
        "refresh": 1,
    }


def _starts() -> Json:
    return {
        "name": "starts",
        "datasource": SOURCE,
        "enable": True,
        "iconColor": "purple",
        "expr": STARTS,
        "step": "60s",
        "useValueForTime": "true",
        "titleFormat": "{{instance}} starts",
        "textFormat": "{{version}} {{revision}}",
    }
