"""A request as it has arrived on the loop."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shop.client_address import client_address
from shop.config import PATH_SHOWN
from shop.facts import Facts, sane_id
from shop.logs import Answered, log_request
from shop.ops.metrics import count_request

from .asked import read_headers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shop.answers import Answer
    from shop.client_address import Way

    Scope = Mapping[str, Any]


@dataclass(slots=True)
class Arrival:
    scope: Scope  # ASGI's
    headers: Mapping[bytes, bytes]
    client: str  # its address
    known: Facts

    @classmethod
    def of(cls, scope: Scope, way: Way) -> Arrival:
        headers = read_headers(scope)
        identifier = sane_id(headers.get(b"x-request-id", b"").decode("latin-1"))
        peer = scope["client"]
        forwarded = headers.get(b"x-forwarded-for", b"").decode("latin-1")
        client = client_address(peer[0] if peer else "", forwarded, way)
        return cls(scope, headers, client, Facts(identifier))

    @property
    def method(self) -> str:
        method: str = self.scope["method"]
        return method

    @property
    def path(self) -> str:
        path: str = self.scope["path"]
        return path

    @property
    def origin(self) -> str:
        """Of the page that sends it, empty without one."""
        return self.headers.get(b"origin", b"").decode("latin-1")

    @property
    def in_log(self) -> dict[str, str]:
        return {"request_id": self.known.identifier}


def tell(arrival: Arrival, answer: Answer, client: str, route: str | None = None) -> None:
    """Count an answer that the loop has made, and log it."""
    known, scope = arrival.known, arrival.scope
    request = Answered(
        scope["method"],
        route,
        scope["path"][:PATH_SHOWN],
        int(answer.status),
        time.perf_counter() - known.arrived,
        known.outcome.name if known.outcome else None,
        client,
        known.refused,
        known.identifier,
    )
    count_request(request)
    log_request(request)
