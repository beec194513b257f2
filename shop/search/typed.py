"""Parses a text that is searched for, without a look at the database."""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

QUOTES = dict.fromkeys(map(ord, "“”„‟«»＂"), '"')  # noqa: RUF001  (keyboards write these)
PIECE = re.compile(r'(?P<minus>(?<!\S)-)?(?:"(?P<phrase>[^"]*)(?P<closed>"?)|(?P<word>[^\s"]+))')
# Controls, which PostgreSQL or a terminal may not take, and halves of surrogate pairs.
UNTYPED = {"Cc", "Cs"}


class Piece(NamedTuple):
    """A word, or what is in quotes."""

    text: str
    is_phrase: bool = False
    is_without: bool = False


class Typed(NamedTuple):
    """The typed text, parsed: excluded terms first, then wanted terms in order.

    The last word that is looked for may go on, unless it ends with a quote.
    """

    pieces: tuple[Piece, ...]
    goes_on: bool = False


def read(q: str) -> Typed:
    """Return the words of `q`, its "phrases" and what it is -without. Nothing is an error."""
    typed = "".join(" " if unicodedata.category(one) in UNTYPED else one for one in q)
    pieces: list[Piece] = []
    goes_on = False
    for found in PIECE.finditer(typed.translate(QUOTES)):
        phrase, word = found["phrase"], found["word"]
        piece = Piece(word or phrase, word is None, found["minus"] is not None)
        if not piece.is_without:
            goes_on = not found["closed"]
        pieces.append(piece)
    pieces.sort(key=lambda piece: not piece.is_without)
    return Typed(tuple(pieces), goes_on)
