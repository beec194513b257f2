r"""How readers and writers share Redis, so that no reader finds what a writer has replaced.

Two kinds of names. An *entry* (`products:id:7`) holds a document; a *generation*
(`products:list:generation`, `products:prices:all:generation`) holds a random value that every
entry which depends on it carries in its stamp: all entries of a family, or those with a tag. A
name is in one of these states:

    entry       STAMP UNTIL\nDOCUMENT                 an empty document: there is no such row
    lease       lease STAMP TOKEN UNTIL\n[DOCUMENT]   one reader computes; may hold the expired one
    suspended   writers TOKEN=UNTIL ...              writers are about to commit, or have died
    generation  16 hexadecimal digits

STAMP is EPOCH:ORIGIN:GENERATION, or with tags EPOCH:ORIGIN:GENERATION.GENERATION and so on: that of
the family first. The epoch is the replication id of the server that holds the entry: a new one each
time that it starts or becomes a master, so that one which was restarted, restored or promoted
begins with nothing valid. The origin names whose document it is (`installation.py`). UNTIL is in
milliseconds of that server's clock. docs/cache.md has the proof.
"""

from __future__ import annotations

import secrets
import struct
from enum import Enum
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

from .scripts import (
    ADMIT,
    ADMIT_ENTRY,
    FILL,
    FILL_BOUNDED,
    GENERATION,
    GIVE_BACK,
    PEEK,
    PEEK_ENTRY,
    PEEK_GENERATION,
    READ,
    READ_ENTRY,
    RELEASE,
    SUSPEND,
    SUSPENSION_SECONDS,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shop.redis import RedisConnection
    from shop.redis.pool import Key

LEASE_SECONDS = 3.0  # longer than a SELECT; the most that a reader which died holds others up
MISSING_SECONDS = 30.0  # that an id is known not to exist
MISSING_MAX = 10_000  # ids of a family that are noted as missing in one such period
# Of entries that anybody can name, by values of their own: how many of a family are stored at once
# in a period, the others when they are asked for again, and how many at most.
ADMISSION_SECONDS = 60.0
ADMITTED_FREELY, ADMITTED_MAX = 1000, 2000
FILTER_BYTES, FILTER_BITS = 16_384, 4  # of what was asked for, and of each such entry


class State(Enum):
    """The state that a reader finds under an entry's name, and what it may do."""

    HIT = b"H"  # answer the document
    LEASED = b"L"  # compute and fill
    HELD = b"W"  # wait: another reader computes
    SUSPENDED = b"S"  # compute, and keep it to yourself


class Fill(Enum):
    """The outcome of storing a document."""

    REFUSED = 0  # its lease is gone
    STORED = 1
    NOT_ADMITTED = 2


class Entry(NamedTuple):
    lease: bytes  # to fill it with, if it is LEASED
    state: State
    document: bytes  # other than in a HIT, an expired one; empty if there is none


def origin_of(lease: bytes) -> bytes:
    """Return of which origin a document has to be that is to be stored under a lease."""
    return lease.split(b":", 2)[1]


class Protocol:
    """The steps, each one round trip (on a cluster one for each name).

    Each raises RedisUnavailable.
    """

    def __init__(self, connection: RedisConnection, keep_expired: int) -> None:
        """`keep_expired`: seconds that a document is kept after its time to live."""
        self._connection = connection
        self._keep_expired = keep_expired * 1000

    def read(self, generations: Sequence[str], keys: Sequence[str]) -> list[Entry]:
        """Read entries that depend on generations, and lease those that are missing."""
        if not self._connection.is_cluster:
            return self._read(READ, [*generations, *keys], len(generations))
        found = [
            self._connection.eval(GENERATION, [name], [new_token()], again=[new_token()])
            for name in generations
        ]
        current = b".".join(found) if all(found) else b""
        return [entry for key in keys for entry in self._read(READ_ENTRY, [key], current)]

    def _read(self, script: str, keys: Sequence[str], generations: int | bytes) -> list[Entry]:
        first, second = new_token(), new_token()
        patience, origin = _milliseconds(LEASE_SECONDS), self._connection.origin
        lease, *replies = self._connection.eval(
            script,
            keys,
            (first, patience, "", origin, generations),
            again=(second, patience, first, origin, generations),
        )
        return [Entry(lease, State(reply[:1]), reply[1:]) for reply in replies]

    def peek(self, generations: Sequence[str], key: str) -> bytes | None:
        """Return the document of an entry if it is a hit, else None, and leave nothing."""
        found: bytes | None
        origin = self._connection.origin
        if not self._connection.is_cluster:
            found = self._eval(PEEK, [*generations, key], (origin,))
        else:
            current = [self._eval(PEEK_GENERATION, [name], ()) or b"" for name in generations]
            found = self._eval(PEEK_ENTRY, [key], (origin, b".".join(current)))
        return found

    def fill(self, documents: Mapping[str, tuple[bytes, float, bytes]]) -> int:
        """Store documents in place of leases: `{key: (lease, ttl in seconds, document)}`.

        Returns how many were stored; the others were refused, because their lease is gone.
        """
        stored = 0
        for keys in self._connection.script_batches(list(documents)):
            arguments: list[object] = [self._keep_expired]
            for key in keys:
                lease, ttl, document = documents[key]
                arguments += (lease, _milliseconds(ttl), document)
            stored += sum(self._eval(FILL, keys, arguments))
        return stored

    def fill_bounded(
        self, key: str, lease: bytes, ttl: float, document: bytes, admission: str
    ) -> Fill:
        """Store one document in place of its lease if it is admitted, else give the lease back.

        `admission` is the name under which a family counts what it has admitted.
        """
        filling = (self._keep_expired, lease, _milliseconds(ttl), document)
        admitting = _admitting(key)
        if not self._connection.is_cluster:
            return Fill(self._eval(FILL_BOUNDED, [key, admission], (*filling, *admitting)))
        if self._eval(ADMIT_ENTRY, [admission], admitting):
            [stored] = self._eval(FILL, [key], filling)
            return Fill(stored)
        self._eval(GIVE_BACK, [key], [lease])
        return Fill.NOT_ADMITTED

    def give_back(self, leases: Mapping[str, bytes]) -> None:
        """Let other readers compute at once what this one could not: `{key: lease}`."""
        for keys in self._connection.script_batches(list(leases)):
            self._eval(GIVE_BACK, keys, [leases[key] for key in keys])

    def suspend(self, names: Sequence[str], writer: str) -> None:
        """Drop entries and leases, and let none come, until `release`."""
        arguments = (writer, _milliseconds(SUSPENSION_SECONDS))
        for some in self._connection.script_batches(names):
            self._eval(SUSPEND, some, arguments)

    def release(self, names: Sequence[Key], *writers: str) -> None:
        """Drop what is under the names, and let readers fill them unless other writers are left."""
        for some in self._connection.script_batches(names):
            self._eval(RELEASE, some, writers)

    def admit_missing(self, counter: str, more: int) -> bool:
        """Tell whether so many more rows may be noted as missing now."""
        arguments = (more, MISSING_MAX, _milliseconds(MISSING_SECONDS))
        return bool(self._eval(ADMIT, [counter], arguments))

    def _eval(self, script: str, keys: Sequence[Key], arguments: Sequence[object]) -> Any:
        """Run a script that does no harm if it runs twice, or late."""
        return self._connection.eval(script, keys, arguments, again=arguments)


def new_token() -> str:
    """Return a value that was never used before."""
    return secrets.token_hex(8)


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def _admitting(key: str) -> list[object]:
    """Return what is asked about the admission of an entry."""
    form = struct.Struct(f"<8s{FILTER_BITS}I")
    digest, *places = form.unpack(blake2b(key.encode(), digest_size=form.size).digest())
    bits = [place % (8 * FILTER_BYTES) for place in places]
    period = _milliseconds(ADMISSION_SECONDS)
    return [FILTER_BYTES, period, ADMITTED_FREELY, ADMITTED_MAX, digest, *bits]
