"""The record of a client in Redis: one key, with a window for each policy.

    rate_limit:127.0.0.1

    default 0000042/100 in 60 s, 0000003 refused: 1795460923155123:0000001 1795460924001000:0000003…
    write 0000003/30 in 60 s, 0000000 refused: 1795460923155123:0000003

A line has the policy, what was used of its quota when something was last charged, and how often
it refused since the record began. Then come the entries of its window (`window.py`), each with
its time, in microseconds of that server's clock, and its cost. The record expires with the
hundredth of the period that its last entry is in. After an outage a last line has the identifiers
of payments. A record is one key, so that one script decides all policies of a request, on a cluster
too.

From its second write on a line has notes before its entries, and room after them, so that it can be
written in place (`in_place.py`). Notes and room have the form of entries that cost nothing, for a
reader that takes a line for a list of entries.

    0000002992434873:0000003 0000512012004009:0000000 0795460923155123:0000000 …
    … 9999999999999999:0000000

The notes are: the hundredth that the newest entry is in, and its cost; the length of the record in
bytes, how many entries have room in the line, and the places of the oldest and the newest, from 0,
in 6, 3, 3 and 3 digits; the time of the oldest, without its first digit. The times of notes are
long ago, so that as entries they have ended. The times of the room are in the future: a script of
the version before takes that for a clock that was set back, puts the entries in order, and adds
them up anew. It needs at least one such entry. Dropped entries stay before the oldest one until the
record is written anew. Notes do not count if the record has another length: it was changed by hand.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from .window import SECOND, Window

PREFIX = "rate_limit:"


class RecordLine(NamedTuple):
    """A client's usage of a policy now, read from a line of its record."""

    policy: str
    used: int
    quota: int
    period: int  # seconds
    reset: float  # seconds until some of it is free again; 0 if nothing is used
    refused: int  # since the client last paused for a whole period


_RECORD_LINE = re.compile(
    rb"([!-~]+) \d+/(0*[1-9]\d{0,8}) in (\d{1,9}) s, (\d{7}) refused: ((?:\d{16}:\d{7} )*)\n"
)
_ENTRY = re.compile(rb"(\d{16}):(\d{7}) ")


def key(client: str) -> str:
    return f"{PREFIX}{client}"


def read(record: bytes, now: int) -> list[RecordLine]:
    """Return the lines of a record that LOOK has found; other values have none."""
    lines = []
    for policy, quota, period, refused, log in _RECORD_LINE.findall(record):
        entries = [
            (min(int(stamp), now), int(cost)) for stamp, cost in _ENTRY.findall(log) if int(cost)
        ]
        window = Window(int(period) * SECOND, entries)
        window.advance(now)
        reset = window.reset(now) / SECOND
        numbers = (window.used, int(quota), int(period), reset, int(refused))
        lines.append(RecordLine(policy.decode(), *numbers))
    return lines
