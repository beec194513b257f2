"""What is known of one request: one object, made when it arrives and handed along."""

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

    Place = tuple[str, bool, str]  # path, whether the id of a row follows, query

ENVIRONMENT = "shop.facts"  # the WSGI environment's name for those that were made ahead of Flask
SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Asked(NamedTuple):
    """What a usual read says that matters to its answer."""

    place: Place
    row: str  # the id that its path ends with, if it does
    path: str
    if_none_match: str | None
    session: str | None  # the hash of its token, if one is sent


@dataclass(frozen=True)
class Caller:
    """A client, as logs and limits name it, and what it may do."""

    client: str
    address: str | None = None  # None: the holder of a key, whatever address it comes from
    scopes: frozenset[str] = frozenset()
    authenticated: bool = False
    tier: str = "standard"
    sent_unknown_key: bool = False
    session_id: int | None = None


class Outcome(IntEnum):
    """How a request's documents were had; the least favourable one counts."""

    HIT = 1
    MISS = 2
    BYPASS = 3
    STALE = 4


class Observer(Protocol):
    """Is told what an answer is made of."""

    def read(self, reading: Any) -> None:
        """Take documents that were read from the cache (`shop.cache.Reading`)."""

    def show(self, page: Any) -> None:
        """Take the page that the answer is (`shop.pages.Page`)."""


@dataclass(slots=True)
class Facts:
    """Each part is written by whoever finds it out, and read by everybody after that."""

    identifier: str  # of the request, for logs and answers
    arrived: float = field(default_factory=time.perf_counter)
    asked: Asked | None = None  # if it came by way of the loop, and is a usual read
    caller: Caller | None = None
    unidentified: Exception | None = None  # why the credential could not be looked up
    decided: Sequence[Usage] | None = None  # by the loop, of what Flask would charge
    held: Held | None = None  # a charge that may be repaid
    charges: Sequence[Charge] = ()
    usages: Sequence[Usage] = ()
    refused: str | None = None  # by which policies
    outcome: Outcome | None = None  # how the documents were had, the least favourable one
    failed: Exception | None = None  # why the loop could not have it computed
    observer: Observer | None = None  # if somebody wants to know what the answer is made of


def facts() -> Facts:
    """Return those of the current request, or of a command's application context."""
    context = app_ctx.g  # what `g` leads to: the way there costs more than the look
    found: Facts | None = context.get("facts")
    if found is None:
        context.facts = found = _arriving() if has_request_context() else Facts(sane_id(None))
    return found


def _arriving() -> Facts:
    ahead: Facts | None = request.environ.get(ENVIRONMENT)
    return ahead or Facts(sane_id(request.headers.get("X-Request-ID")))


def is_request() -> bool:
    """Tell whether this is a request's work, and no command's or clock's."""
    if has_request_context():
        return True
    known: Facts | None = app_ctx.g.get("facts") if has_app_context() else None
    return known is not None and known.asked is not None


def bearer(authorization: str) -> str:
    """Return the token that a header Authorization sends (RFC 6750), empty without one."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def sane_id(given: str | None) -> str:
    """Return an id that a caller gave, or a new one."""
    if given and SANE_ID.fullmatch(given):
        return given
    return f"{random.getrandbits(128):032x}"
