"""The facts of one request: one object, made when the request arrives and handed along."""

from __future__ import annotations

import random
import re
import time
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from flask import has_app_context, has_request_context, request
from flask.globals import app_ctx

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .quotas import Charge, Held, Usage

    UrlKey = tuple[str, bool, str]  # path, whether a row's id follows it, query

ENVIRONMENT = "shop.facts"  # the WSGI environment's name for those that were made ahead of Flask
SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class ReadRequest(NamedTuple):
    """The parts of a usual read on which its answer depends."""

    url_key: UrlKey
    row: str  # the id at the end of the path, empty without one
    path: str
    if_none_match: str | None
    session: str | None  # hash of the token that was sent


@dataclass(frozen=True)
class Caller:
    """A client: its name in logs and limits, and its permissions."""

    client: str
    address: str | None = None  # None: the holder of a key, whatever address it comes from
    scopes: frozenset[str] = frozenset()
    authenticated: bool = False
    tier: str = "standard"
    sent_unknown_key: bool = False
    session_id: int | None = None


class Outcome(IntEnum):
    """The result of a request's reads; the least favourable one counts."""

    HIT = 1
    MISS = 2
    BYPASS = 3
    STALE = 4


class Observer(Protocol):
    """Takes the documents and the page that an answer is made of."""

    def read(self, reading: Any) -> None:
        """Take documents that were read from the cache (`shop.cache.DocumentRead`)."""

    def show(self, page: Any) -> None:
        """Take the page that the answer is (`shop.pages.Page`)."""


@dataclass(slots=True)
class Facts:
    """The facts of a request. The code that finds a fact writes it, and all others read it."""

    identifier: str  # of the request, for logs and answers
    arrived: float = field(default_factory=time.perf_counter)
    read_request: ReadRequest | None = None  # of a usual read that came by way of the loop
    caller: Caller | None = None
    unidentified: Exception | None = None  # why the credential could not be looked up
    decided: Sequence[Usage] | None = None  # the decision of the loop: Flask charges nothing then
    held: Held | None = None  # a charge that may be repaid
    charges: Sequence[Charge] = ()
    usages: Sequence[Usage] = ()
    refused: str | None = None  # names of the policies that refuse it
    outcome: Outcome | None = None  # of its reads
    has_committed: bool = False  # a write: the request is not tried again
    failed: Exception | None = None  # the error of the thread that computed it for the loop
    observer: Observer | None = None  # of the documents of the answer


def facts() -> Facts:
    """Return the facts of the current request, or of a command's application context."""
    context = app_ctx.g  # `flask.g` leads here by a proxy, which takes longer than the lookup
    found: Facts | None = context.get("facts")
    if found is None:
        context.facts = found = _arriving() if has_request_context() else Facts(sane_id(None))
    return found


def _arriving() -> Facts:
    ahead: Facts | None = request.environ.get(ENVIRONMENT)
    return ahead or Facts(sane_id(request.headers.get("X-Request-ID")))


def is_request() -> bool:
    """Return whether a request is being carried out, not a command or a task."""
    if has_request_context():
        return True
    known: Facts | None = app_ctx.g.get("facts") if has_app_context() else None
    return known is not None and known.read_request is not None


def bearer(authorization: str) -> str:
    """Return the token that a header Authorization sends (RFC 6750), empty without one."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def sane_id(given: str | None) -> str:
    """Return the id that a caller gave, if it is a valid one, or a new one."""
    if given and SANE_ID.fullmatch(given):
        return given
    return f"{random.getrandbits(128):032x}"
