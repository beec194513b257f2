"""What Redis keeps of a client: one record, with a window for each policy.

    rate_limit:127.0.0.1

    default 42/100 in 60 s, 0000003 refused: 1795460923155123:0000001 1795460924001000:0000003 …
    write 3/30 in 60 s, 0000000 refused: 1795460923155123:0000003

A line has the policy, what was used of its quota when something was last charged, and how often
it refused since the record began. Then come the entries of its window (`window.py`), each with
its time, in microseconds of that server's clock, and its cost. The record expires with its last
entry. After an outage a last line has the identifiers of payments. It is one key, so that one
script decides all policies of a request, on a cluster too.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from .window import SECOND, Window

PREFIX = "rate_limit:"


class Line(NamedTuple):
    """What a client has used of a policy now."""

    policy: str
    used: int
    quota: int
    period: int  # seconds
    reset: float  # seconds until some of it is free again; 0 if nothing is used
    refused: int  # since the client last paused for a whole period


_LINE = re.compile(
    rb"([!-~]+) \d+/(0*[1-9]\d{0,8}) in (\d{1,9}) s, (\d{7}) refused: ((?:\d{16}:\d{7} )*)\n"
)
_ENTRY = re.compile(rb"(\d{16}):(\d{7}) ")


def key(client: str) -> str:
    return f"{PREFIX}{client}"


def read(record: bytes, now: int) -> list[Line]:
    """Read what LOOK has found; what is no record has no lines."""
    lines = []
    for policy, quota, period, refused, log in _LINE.findall(record):
        entries = [(min(int(stamp), now), int(cost)) for stamp, cost in _ENTRY.findall(log)]
        window = Window(int(period) * SECOND, entries)
        window.advance(now)
        reset = window.reset(now) / SECOND
        numbers = (window.used, int(quota), int(period), reset, int(refused))
        lines.append(Line(policy.decode(), *numbers))
    return lines
