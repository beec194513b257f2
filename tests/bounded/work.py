"""Count the work of a request: its calls, in Python and from Python into C, and its patterns."""

from __future__ import annotations

import re
import sys
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

STATEMENTS = {"psycopg2", "sqlalchemy"}  # they match statements, not what a client sends


@dataclass
class Work:
    calls: int = 0
    entered: Counter[str] = field(default_factory=Counter)  # functions of Python, by name
    patterns: set[tuple[re.Pattern[Any], str]] = field(default_factory=set)  # and their methods

    def note(self, frame: FrameType, event: str, called: Any) -> None:
        if event == "call":
            self.calls += 1
            self.entered[frame.f_code.co_qualname] += 1
        elif event == "c_call":
            self.calls += 1
            owner = getattr(called, "__self__", None)
            if isinstance(owner, re.Pattern) and _package(frame) not in STATEMENTS:
                self.patterns.add((owner, called.__name__))


def _package(frame: FrameType) -> str:
    """Return the package that uses a pattern, itself or through a function of `re`."""
    name: str = frame.f_globals.get("__name__", "")
    if name == "re" and frame.f_back:
        return _package(frame.f_back)
    return name.partition(".")[0]


@contextmanager
def counting() -> Iterator[Work]:
    work, before = Work(), sys.getprofile()
    sys.setprofile(work.note)
    try:
        yield work
    finally:
        sys.setprofile(before)
