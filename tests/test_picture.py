"""The pictures in docs/architecture.md are those of the code."""

from __future__ import annotations

import re

import pytest

from dev import picture
from shop.config import ROOT


def test_the_document_has_the_pictures_of_the_code() -> None:
    """`make picture` draws them anew."""
    document = picture.DOCUMENT.read_text()
    assert picture.update_pictures(document) == document


def test_pictures_that_are_old_are_drawn_anew() -> None:
    document = picture.DOCUMENT.read_text()
    old, arrows = re.subn("    cache --> redis\n", "", document)
    assert arrows == 1
    assert picture.update_pictures(old) == document


def ways() -> dict[str, list[str]]:
    """Return the lines of each way through the code, by its name."""
    told = (
        picture.DOCUMENT.read_text().partition("## Three ways through it")[2].partition("\n## ")[0]
    )
    named = re.split(r"^\*\*(A .*?)\*\*", told, flags=re.MULTILINE)[1:]
    return {
        name: re.findall(r"^\d+\. (.*)", text, re.MULTILINE)
        for name, text in zip(named[::2], named[1::2], strict=True)
    }


def test_a_way_has_ten_lines_at_most() -> None:
    assert list(ways()) == ["A hit", "A miss", "A write"]
    assert all(5 < len(lines) <= 10 for lines in ways().values())


@pytest.mark.parametrize("way", ["A hit", "A miss", "A write"])
def test_each_place_on_a_way_exists(way: str) -> None:
    for line in ways()[way]:
        places = re.findall(r"`([\w/]+\.py)` `([\w.]+)`", line)
        assert places, line
        for path, name in places:
            source = (ROOT / "shop" / path).read_text()
            for one in name.split("."):
                assert re.search(rf"^ *(?:async )?(?:def|class) {one}\b", source, re.MULTILINE), (
                    line
                )
