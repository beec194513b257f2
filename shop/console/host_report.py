"""The report of one host: one gunicorn with its workers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from .notable import FAILED_MAX, SLOW_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .notable import NotableAnswer


@dataclass(kw_only=True)
class HostReport:
    host: str  # its name and port
    master: int  # its process id
    version: str
    started_at: float  # UNIX times
    made_at: float
    workers: int = 1
    gauges: dict[str, int] = field(default_factory=dict)
    totals: dict[str, int] = field(default_factory=dict)  # counts since gunicorn started
    recent: dict[str, int] = field(default_factory=dict)  # counts of `recent_seconds`
    recent_seconds: float = 0.0
    minutes: list[tuple[int, dict[str, int]]] = field(default_factory=list)
    failed: list[NotableAnswer] = field(default_factory=list)
    slow: list[NotableAnswer] = field(default_factory=list)

    def encode(self) -> bytes:
        return orjson.dumps(self)

    @classmethod
    def decode(cls, document: bytes | None) -> HostReport | None:
        """Return the report in a document; None if it has another form, as of another version."""
        try:
            fields: dict[str, Any] = orjson.loads(document or b"")
            return cls(**fields)
        except (ValueError, TypeError):
            return None

    def add_answers(self, failed: Iterable[NotableAnswer], slow: Iterable[NotableAnswer]) -> None:
        """Add the latest notable answers of a worker; those that are there already stay once."""
        self.failed = _latest([*self.failed, *failed], FAILED_MAX)
        self.slow = _latest([*self.slow, *slow], SLOW_MAX)


def _latest(answers: list[NotableAnswer], count: int) -> list[NotableAnswer]:
    known = {(one["request_id"], one["at"]): one for one in answers}
    return sorted(known.values(), key=lambda one: one["at"])[-count:]
