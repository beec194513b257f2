"""`make picture`: draw what imports what in `shop/` into docs/architecture.md.

The boxes stand from the top of the house to its ground. An arrow that others imply is left out.
"""

from __future__ import annotations

import re
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

from shop.features import features

from .imports import imports_by_package

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

DOCUMENT = Path(__file__).parent.parent / "docs" / "architecture.md"
PICTURE = re.compile(r"(<!-- picture of (\w+) -->\n)(.*?)(<!-- end -->\n)", re.DOTALL)
NAMES_PER_LINE = 4  # names on a line of a box

# The boxes of the house, and the packages and modules in each.
HOUSE: dict[str, Collection[str]] = {
    "factory": ["__init__"],
    "edge": [],
    "tracing": [],
    "ops": [],
    "features": [*features(), "identification"],
    "answers": [
        *("answers", "application", "cors", "idempotency", "index_page", "ops_page", "options"),
        *("pages", "problem_pages", "responses"),
    ],
    "extensions": [],
    "limits": [],
    "api": ["cli", "errors", "features", "logs", "openapi"],
    "cache": [],
    "client": ["caller", "client_address"],
    "redis": [],
    "database": [],
    "settings": ["config", "database_url", "environment", "trace_settings"],
    "ground": [
        *("etags", "exemplars", "facts", "fields", "ipv4_in_ipv6", "log_throttle", "money"),
        *("origins", "output", "problems", "prometheus", "quotas", "requests", "shared_counts"),
        *("shared_files", "version", "without_opentelemetry", "worker_states"),
    ],
}


def draw_house() -> str:
    boxes = {one: box for box, inside in HOUSE.items() for one in (inside or [box])}
    below: dict[str, set[str]] = {box: set() for box in HOUSE}
    for package, others in imports_by_package().items():
        below[boxes[package]] |= {boxes[one] for one in others if one in boxes}
    return _draw({box: others - {box} for box, others in below.items()}, HOUSE)


def draw_features() -> str:
    """Draw which features a feature may import."""
    below = {name: set(feature.needs) for name, feature in features().items()}
    return _draw(dict(sorted(below.items())), {})


def update_pictures(document: str) -> str:
    """Return the document with new pictures."""
    pictures = {"house": draw_house(), "features": draw_features()}
    return PICTURE.sub(lambda found: f"{found[1]}{pictures[found[2]]}{found[4]}", document)


def _draw(below: Mapping[str, set[str]], inside: Mapping[str, Collection[str]]) -> str:
    lines = [f'    {box}["{_label(box, inside.get(box, []))}"]' for box in below]
    for box, others in _without_implied_arrows(below).items():
        lines += [f"    {box} --> {other}" for other in below if other in others]
    return "\n".join(["```mermaid", "flowchart TD", *lines, "```", ""])


def _label(box: str, inside: Collection[str]) -> str:
    names = sorted({*inside} - {box, "__init__"})
    rows = [
        ", ".join(names[at : at + NAMES_PER_LINE]) for at in range(0, len(names), NAMES_PER_LINE)
    ]
    return "<br>".join([f"<b>{box}</b>", *rows])


def _without_implied_arrows(below: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Leave out each arrow that other arrows imply. Raises CycleError for a circle."""
    reached: dict[str, set[str]] = {}
    for box in TopologicalSorter(below).static_order():
        reached[box] = below[box].union(*(reached[other] for other in below[box]))
    return {
        box: others - set().union(*(reached[other] for other in others))
        for box, others in below.items()
    }


if __name__ == "__main__":
    DOCUMENT.write_text(update_pictures(DOCUMENT.read_text()))
