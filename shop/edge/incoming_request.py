"""A request as it has arrived on the loop."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shop.client_address import client_address
from shop.config import PATH_SHOWN_MAX
from shop.facts import Facts, valid_request_id
from shop.logs import AnsweredRequest, log_request
from shop.ops.metrics import count_request

from .asgi_scope import read_headers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shop.answers import Answer
    from shop.client_address import NetworkPath

    Scope = Mapping[str, Any]


@dataclass(slots=True)
class IncomingRequest:
    scope: Scope  # ASGI's
    headers: Mapping[bytes, bytes]
    client: str  # the client address
    facts: Facts

    @classmethod
    def of(cls, scope: Scope, network: NetworkPath) -> IncomingRequest:
        headers = read_headers(scope)
        request_id = valid_request_id(headers.get(b"x-request-id", b"").decode("latin-1"))
        peer = scope["client"]
        forwarded = headers.get(b"x-forwarded-for", b"").decode("latin-1")
        client = client_address(peer[0] if peer else "", forwarded, network)
        return cls(scope, headers, client, Facts(request_id))

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
        """The origin of the page that sends the request, empty without one."""
        return self.headers.get(b"origin", b"").decode("latin-1")

    @property
    def in_log(self) -> dict[str, str]:
        ids = {"request_id": self.facts.request_id, "trace_id": self.facts.trace_id}
        return {name: value for name, value in ids.items() if value}


def report_answer(
    incoming: IncomingRequest, answer: Answer, client: str, route: str | None = None
) -> None:
    """Write an answer of the loop to the metrics and to the access log."""
    facts, scope = incoming.facts, incoming.scope
    answered = AnsweredRequest(
        scope["method"],
        route,
        scope["path"][:PATH_SHOWN_MAX],
        int(answer.status),
        time.perf_counter() - facts.arrived,
        facts.outcome.name if facts.outcome else None,
        client,
        facts.refused_by,
        facts.request_id,
        facts.trace_id,
    )
    count_request(answered)
    log_request(answered)
