"""Read a client's record in tests, in either of its forms (`shop/limits/records.py`)."""

from __future__ import annotations

import re
from typing import NamedTuple

_LINE = re.compile(r"^(\S+) 0*(\d+)/(\d+) in \d+ s, (\d{7}) refused: (.*)$", re.MULTILINE)
_ENTRY = re.compile(r"[1-9]\d{15}:(?!0000000)\d{7}")  # no note, and no room


class Counted(NamedTuple):
    """The usage of one policy in a record."""

    used: str  # "used/quota"
    refused: int
    entries: list[str]


def counted(text: str | None) -> dict[str, Counted]:
    return {
        name: Counted(f"{used}/{quota}", int(refused), _ENTRY.findall(entries))
        for name, used, quota, refused, entries in _LINE.findall(text or "")
    }


def used(text: str | None) -> dict[str, str]:
    return {name: one.used for name, one in counted(text).items()}
