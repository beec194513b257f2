"""Each alert has a runbook, in one form, whose commands and metrics exist."""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING, Any

import click
import pytest
import test_metrics_document
from ruamel.yaml import YAML

from shop import create_app
from shop.config import ROOT

if TYPE_CHECKING:
    from pathlib import Path

RUNBOOKS = ROOT / "docs" / "runbooks"
PAGES = sorted(path for path in RUNBOOKS.glob("*.md") if path.name != "README.md")
HEADINGS = [
    "What it means", "What users see", "What to look at", "What to do",
    "How to know that it is over",
]  # fmt: skip
SEEN = re.compile(r"^Seen on \d{4}-\d\d-\d\d, [^\n]+:\n\n```\n(.+?)^```$", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"(?:^|`|\$ )flask ([a-z-]+(?: [a-z-]+)?)", re.MULTILINE)
METRIC = re.compile(r"\bshop_[a-z_]+[a-z]\b")
GREP = re.compile(r"metrics \| grep (?:-E )?'(.+?)'")


def alerts() -> list[dict[str, Any]]:
    groups = YAML(typ="safe").load(ROOT / "deploy" / "monitoring" / "alerts.yml")["groups"]
    return list(chain.from_iterable(group["rules"] for group in groups))


def test_each_alert_has_a_page_and_each_page_an_alert() -> None:
    named = [rule["annotations"]["runbook_url"] for rule in alerts()]
    assert sorted(named) == [str(path.relative_to(ROOT)) for path in PAGES]


def test_the_list_has_each_alert_under_its_severity() -> None:
    found: list[tuple[str, str, str]] = []
    severity = ""
    for line in (RUNBOOKS / "README.md").read_text().splitlines():
        if line.startswith("## "):
            severity = line.removeprefix("## ")
        elif row := re.match(r"\| \[(\w+)\]\(([a-z-]+\.md)\) \| .+ \|$", line):
            found.append((severity, row[1], f"docs/runbooks/{row[2]}"))
    assert sorted(found) == sorted(
        (rule["labels"]["severity"], rule["alert"], rule["annotations"]["runbook_url"])
        for rule in alerts()
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_has_its_alert_the_five_headings_and_what_was_seen(page: Path) -> None:
    text = page.read_text()
    names = {rule["annotations"]["runbook_url"]: rule["alert"] for rule in alerts()}
    assert text.startswith(f"# {names[str(page.relative_to(ROOT))]}\n")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == HEADINGS
    seen = SEEN.search(text)
    assert seen, "not followed yet"
    assert 3 <= len(seen[1].splitlines()) <= 12


def test_each_command_of_flask_exists() -> None:
    app = create_app({"DATABASE_URL": "postgresql://nowhere/none", "REDIS_ENABLED": "false"})
    for page in PAGES:
        for words in COMMAND.findall(page.read_text()):
            command: click.Command | None = app.cli
            for word in words.split():
                if isinstance(command, click.Group):
                    command = command.commands.get(word)
            assert command, f"{page.name}: flask {words}"


def test_each_metric_exists() -> None:
    known = set(test_metrics_document.metrics())
    known |= {f"{name}_{part}" for name in known for part in ("bucket", "count", "sum")}
    for page in PAGES:
        text = page.read_text()
        assert set(METRIC.findall(GREP.sub("", text))) <= known, page.name
        looked_for = [beginning for found in GREP.findall(text) for beginning in beginnings(found)]
        lost = [one for one in looked_for if not any(name.startswith(one) for name in known)]
        assert not lost, page.name


def beginnings(pattern: str) -> list[str]:
    """Return what the names begin with that a pattern of `metrics | grep` finds."""
    found = []
    for part in re.split(r"\|(?![^(]*\))", pattern):  # not those in brackets
        head, _, rest = part.removeprefix("^").partition("(")
        endings = rest.partition(")")[0].split("|")
        found += [re.split(r"\.\*| ", head)[0] + one for one in endings]
    return found
