"""The pictures in docs/architecture.md are those of the code."""

from __future__ import annotations

import re

from dev import picture


def test_the_document_has_the_pictures_of_the_code() -> None:
    """`make picture` draws them anew."""
    document = picture.DOCUMENT.read_text()
    assert picture.drawn_anew(document) == document


def test_pictures_that_are_old_are_drawn_anew() -> None:
    document = picture.DOCUMENT.read_text()
    old, arrows = re.subn("    cache --> redis\n", "", document)
    assert arrows == 1
    assert picture.drawn_anew(old) == document
