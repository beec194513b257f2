r"""The protocol by which readers and writers share Redis: no reader finds what a writer replaced.

There are two kinds of names. An *entry* (`products:id:7`) holds a document. A *generation*
(`products:list:generation`, `products:prices:all:generation`) holds a random value. Every entry
that depends on a generation has that value in its stamp: all entries of a family, or those with a
tag. A name is in one of these states:

    entry       STAMP UNTIL\nDOCUMENT                 an empty document: there is no such row
    lease       lease STAMP TOKEN UNTIL\n[DOCUMENT]   one reader computes; may keep the expired one
    suspended   writers TOKEN=UNTIL ...              writers are about to commit, or have died
    generation  16 hexadecimal digits

STAMP is EPOCH:ORIGIN:GENERATION, or with tags EPOCH:ORIGIN:GENERATION.GENERATION and so on; the
generation of the family comes first. The epoch is the replication id of the server that holds the
entry. A server takes a new one each time that it starts or becomes a master, so a server that was
restarted, restored or promoted begins without a valid entry. The origin names the database that
computed the document (`installation.py`). UNTIL is in milliseconds of that server's clock.
docs/cache.md has the proof.
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
    FILL_IF_ADMITTED,
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

LEASE_SECONDS = 3.0  # longer than a SELECT; a reader that died holds others up for no longer
MISSING_ID_SECONDS = 30.0  # the time to live of the entry of an id that does not exist
MISSING_IDS_MAX = 10_000  # such entries of a family that are stored in one such period
# Entries whose keys clients can make up without end are admitted by family and period: so many at
# the first request, then so many in all, at the second request for the same entry.
ADMISSION_SECONDS = 60.0
ADMITTED_FREELY, ADMITTED_MAX = 1000, 2000
BLOOM_BYTES, BLOOM_BITS = 16_384, 4  # of the filter of a period, and of an entry within it


class EntryState(Enum):
    """The state that a reader finds under an entry's name, and what it may do."""

    HIT = b"H"  # answer the document
    LEASED = b"L"  # compute, and fill
    HELD = b"W"  # wait: another reader computes
    SUSPENDED = b"S"  # compute, and store nothing


class FillResult(Enum):
    """The outcome of storing a document."""

    REFUSED = 0  # the lease is gone
    STORED = 1
    NOT_ADMITTED = 2


class Entry(NamedTuple):
    """The state of an entry that was read."""

    lease: bytes  # with which to fill a LEASED entry
    state: EntryState
    document: bytes  # of a HIT; otherwise an expired one, empty if there is none


def origin_of_lease(lease: bytes) -> bytes:
    """Return the origin that a document must have to be stored under a lease."""
    return lease.split(b":", 2)[1]


class Protocol:
    """The steps of the protocol: each is one round trip, on a cluster one for each name.

    Each step raises RedisUnavailable.
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
        return [Entry(lease, EntryState(reply[:1]), reply[1:]) for reply in replies]

    def peek(self, generations: Sequence[str], key: str) -> bytes | None:
        """Return the document of an entry if it is a hit, else None; leave no lease."""
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

        Return how many were stored; the others were refused, because their lease is gone.
        """
        stored = 0
        for keys in self._connection.script_batches(list(documents)):
            arguments: list[object] = [self._keep_expired]
            for key in keys:
                lease, ttl, document = documents[key]
                arguments += (lease, _milliseconds(ttl), document)
            stored += sum(self._eval(FILL, keys, arguments))
        return stored

    def fill_if_admitted(
        self, key: str, lease: bytes, ttl: float, document: bytes, admission: str
    ) -> FillResult:
        """Store one document in place of its lease if it is admitted, else give the lease back.

        `admission` is the family's name for what it has admitted.
        """
        filling = (self._keep_expired, lease, _milliseconds(ttl), document)
        admitting = _admission_arguments(key)
        if not self._connection.is_cluster:
            return FillResult(
                self._eval(FILL_IF_ADMITTED, [key, admission], (*filling, *admitting))
            )
        if self._eval(ADMIT_ENTRY, [admission], admitting):
            [stored] = self._eval(FILL, [key], filling)
            return FillResult(stored)
        self._eval(GIVE_BACK, [key], [lease])
        return FillResult.NOT_ADMITTED

    def give_back(self, leases: Mapping[str, bytes]) -> None:
        """End leases without a document, so that other readers compute at once: `{key: lease}`."""
        for keys in self._connection.script_batches(list(leases)):
            self._eval(GIVE_BACK, keys, [leases[key] for key in keys])

    def suspend(self, names: Sequence[str], writer: str) -> None:
        """Drop entries and leases, and allow none until `release`."""
        arguments = (writer, _milliseconds(SUSPENSION_SECONDS))
        for batch in self._connection.script_batches(names):
            self._eval(SUSPEND, batch, arguments)

    def release(self, names: Sequence[Key], *writers: str) -> None:
        """Empty the names, and let readers fill them unless other writers hold them."""
        for batch in self._connection.script_batches(names):
            self._eval(RELEASE, batch, writers)

    def admit_missing(self, counter: str, more: int) -> bool:
        """Tell whether `more` entries of ids that do not exist may be stored now."""
        arguments = (more, MISSING_IDS_MAX, _milliseconds(MISSING_ID_SECONDS))
        return bool(self._eval(ADMIT, [counter], arguments))

    def _eval(self, script: str, keys: Sequence[Key], arguments: Sequence[object]) -> Any:
        """Run a script that does no harm when it runs twice, or late."""
        return self._connection.eval(script, keys, arguments, again=arguments)


def new_token() -> str:
    """Return a random value that nobody has used before."""
    return secrets.token_hex(8)


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def _admission_arguments(key: str) -> list[object]:
    """Return the arguments of the script's `admit` for an entry."""
    form = struct.Struct(f"<8s{BLOOM_BITS}I")
    digest, *places = form.unpack(blake2b(key.encode(), digest_size=form.size).digest())
    bits = [place % (8 * BLOOM_BYTES) for place in places]
    period = _milliseconds(ADMISSION_SECONDS)
    return [BLOOM_BYTES, period, ADMITTED_FREELY, ADMITTED_MAX, digest, *bits]
