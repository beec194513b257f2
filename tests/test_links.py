"""The documents name what is there: their links lead to a heading, their paths to a file."""

from __future__ import annotations

import re
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted(chain(ROOT.glob("*.md"), ROOT.glob("docs/**/*.md")))
# Those about the code; others also name what was there once, or is to be made.
OF_CODE = (
    "architecture", "cache", "commerce", "kubernetes", "limits", "operations", "performance",
    "redis", "search", "topologies",
)  # fmt: skip
LINK = re.compile(r"\]\((?!https?:)([^)\s#]*)(?:#([^)\s]+))?\)")
TARGET = re.compile(r"(?:`|^(?:\$ )?)make ([a-z]+(?:-[a-z]+)*)", re.MULTILINE)
RUN = re.compile(r"\b((?:shop|dev(?!/null)|tests|bench|migrations)/[\w/.-]*\w)")
NAMED = re.compile(r"`((?:shop|dev|tests|bench|migrations|deploy)/[\w/.-]+?)/?`")


def anchors(document: Path) -> set[str]:
    """Return the headings of a document, as GitHub names them in links."""
    titles = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_each_link_leads_to_a_file_and_a_heading(document: Path) -> None:
    dead = []
    for name, anchor in LINK.findall(document.read_text(encoding="utf-8")):
        target = (document.parent / name).resolve() if name else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(f"{name}#{anchor}")
    assert not dead


@pytest.mark.parametrize("name", OF_CODE)
def test_each_path_is_of_a_file(name: str) -> None:
    text = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    assert not [path for path in NAMED.findall(text) if not (ROOT / path).exists()]


@pytest.mark.parametrize("name", [".ci/run", "Dockerfile", "docker-compose.production.yaml"])
def test_each_path_that_is_run_is_of_a_file(name: str) -> None:
    paths = RUN.findall((ROOT / name).read_text(encoding="utf-8"))
    assert paths
    assert not [path for path in paths if not (ROOT / path).exists()]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_each_target_is_of_the_makefile(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(TARGET.findall(document.read_text(encoding="utf-8"))) <= targets
