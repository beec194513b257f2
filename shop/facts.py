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

    from .quotas import Charge, HeldCharge, Usage

    UrlKey = tuple[str, bool, str]  # path, whether a row's id follows it, query

ENVIRON_KEY = "shop.facts"  # in the WSGI environment; has the facts that the loop has made
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class ReadRequest(NamedTuple):
    """The parts of a usual read request on which its answer depends."""

    url_key: UrlKey
    row: str  # the id at the end of the path, empty without one
    path: str
    if_none_match: str | None
    session: str | None  # hash of its token


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
    """Notes the documents and the page that an answer is made of."""

    def read(self, reading: Any) -> None:
        """Note documents that were read from the cache (`shop.cache.DocumentRead`)."""

    def show(self, page: Any) -> None:
        """Note the page that is the answer (`shop.pages.Page`)."""


@dataclass(slots=True)
class Facts:
    """The facts of a request. The code that finds a fact writes it, and all others read it."""

    request_id: str  # for logs and answers
    trace_id: str | None = None  # for logs, if there is a trace of this request
    arrived: float = field(default_factory=time.perf_counter)
    read_request: ReadRequest | None = None  # of a usual read that came by way of the loop
    caller: Caller | None = None
    lookup_error: Exception | None = None  # of the lookup of the credential
    loop_usages: Sequence[Usage] | None = None  # the loop has charged: Flask charges nothing
    held_charge: HeldCharge | None = None
    charges: Sequence[Charge] = ()
    usages: Sequence[Usage] = ()
    refused_by: str | None = None  # names of policies
    outcome: Outcome | None = None  # of its reads
    has_committed: bool = False  # a write: the request is not tried again
    read_error: Exception | None = None  # of the thread that has read for the loop
    observer: Observer | None = None


def current_facts() -> Facts:
    """Return the facts of the current request, or of a command."""
    context = app_ctx.g  # `flask.g` leads here by a proxy, which takes longer than the lookup
    found: Facts | None = context.get("facts")
    if found is None:
        found = _make_facts() if has_request_context() else Facts(valid_request_id())
        context.facts = found
    return found


def _make_facts() -> Facts:
    ahead: Facts | None = request.environ.get(ENVIRON_KEY)
    return ahead or Facts(valid_request_id(request.headers.get("X-Request-ID")))


def is_request() -> bool:
    """Return whether a request is being carried out, not a command or a task."""
    if has_request_context():
        return True
    known: Facts | None = app_ctx.g.get("facts") if has_app_context() else None
    return known is not None and known.read_request is not None


def bearer_token(authorization: str) -> str:
    """Return the token that a header Authorization sends (RFC 6750), empty without one."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def valid_request_id(given: str | None = None) -> str:
    """Return the request id that a client gave if it is valid, else a new one."""
    if given and REQUEST_ID.fullmatch(given):
        return given
    return f"{random.getrandbits(128):032x}"
