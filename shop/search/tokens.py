"""Split the text of a search into tokens: words and quoted phrases, wanted or excluded.

The parser does not read the database.
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

# Keyboards write these for a plain quotation mark.
QUOTATION_MARKS = dict.fromkeys(map(ord, "“”„‟«»＂"), '"')  # noqa: RUF001
TOKEN = re.compile(r'(?P<minus>(?<!\S)-)?(?:"(?P<phrase>[^"]*)(?P<closed>"?)|(?P<word>[^\s"]+))')
# Unicode categories whose characters count as spaces: control characters, which PostgreSQL or a
# terminal may refuse, and halves of surrogate pairs.
BLANK_CATEGORIES = {"Cc", "Cs"}


class Token(NamedTuple):
    """A word, or a phrase in quotation marks."""

    text: str
    is_phrase: bool = False
    is_excluded: bool = False


class ParsedText(NamedTuple):
    """The tokens of a search text: the excluded ones first, then the wanted ones in order."""

    tokens: tuple[Token, ...]
    ends_with_prefix: bool = False  # the last wanted word is a prefix, unless a quote closes it


def parse_text(q: str) -> ParsedText:
    """Parse words, "phrases", and -excluded ones of both. Every text is valid."""
    printed = "".join(" " if unicodedata.category(one) in BLANK_CATEGORIES else one for one in q)
    tokens: list[Token] = []
    ends_with_prefix = False
    for match in TOKEN.finditer(printed.translate(QUOTATION_MARKS)):
        phrase, word = match["phrase"], match["word"]
        token = Token(word or phrase, word is None, match["minus"] is not None)
        if not token.is_excluded:
            ends_with_prefix = not match["closed"]
        tokens.append(token)
    tokens.sort(key=lambda token: not token.is_excluded)
    return ParsedText(tuple(tokens), ends_with_prefix)
