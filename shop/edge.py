"""Cached reads in one round trip to Redis, ahead of Flask.

A wrapper of the WSGI application. One script charges the limits of a request and reads what it
asks for; the answer (200, 304 or 429) is the one that Flask would give, made by the same functions.

What an address needs is learnt from Flask's own answer: where it was routed, what it was charged,
which documents it was made of. It is learnt only if the edge would have answered the same, header
for header. The rows of a route are one address: each ends with the id that its key ends with.

Whatever is no plain hit goes on into Flask: another method, a body, an API key, a miss, a writer
under way, a Redis that is away. What has been charged by then is not charged again.
"""

from __future__ import annotations

import logging
import re
import time
from dataclasses import dataclass
from http import HTTPStatus
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

from flask import g, request
from flask_caching.signals import cache_memoize_hit
from prometheus_client import Counter

from .cache import MemoizedMany, MemoizedOne, Outcome, cache_outcome
from .cache.metrics import reads
from .cache.protocol import HITS
from .errors import PROBLEM, problem_document
from .extensions import cache
from .keys.caller import client_address
from .limits import record
from .limits.decision import names, refusing, usages
from .limits.extension import DECIDED
from .limits.headers import refusal, usage_headers
from .limits.scripts import DECIDE
from .logs import ARRIVED, IDENTIFIER, Answered, ahead, log_request, request_id, sane_id
from .ops.metrics import count_request
from .pages import Page, has_more
from .redis import RedisUnavailable, redis_connection
from .responses import (
    JSON,
    SECURITY_HEADERS,
    etag_of,
    is_current,
    page_links,
    read_headers,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from _typeshed.wsgi import StartResponse, WSGIEnvironment
    from flask import Flask, Response

    from .cache import Memoized
    from .limits.decision import Charge, Usage

    Place = tuple[str, bool, str]  # path, whether ids of rows follow, query

logger = logging.getLogger(__name__)
cache_logger = logging.getLogger("shop.cache")

ADDRESSES_MAX = 512  # that a process knows
ADDRESS_LONGEST = 256  # characters, of path and query
BODY_REMEMBERED = range(2048, 65_536)  # bytes of a body whose ETag is kept with it

REQUESTS = Counter(
    "shop_edge_requests",
    "Requests by what the edge did: hit, not_modified, refused, or passed on into Flask.",
    ["result"],
)
ANSWERED = {
    HTTPStatus.OK: REQUESTS.labels("hit"),
    HTTPStatus.NOT_MODIFIED: REQUESTS.labels("not_modified"),
    HTTPStatus.TOO_MANY_REQUESTS: REQUESTS.labels("refused"),
}
PASSED = REQUESTS.labels("passed")

SECURITY = list(SECURITY_HEADERS.items())
STATUS_LINES = {status: f"{status.value} {status.phrase}".upper() for status in ANSWERED}
HOST = re.compile(r"[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*(:[0-9]{1,5})?")
ROW = re.compile(r"(/.*/)([1-9][0-9]{0,9})")

# KEYS: the record of a client; an entry's generation and name; if that is a page, the generation
# of its rows. ARGV: 1 if limits are enforced; the prefix of rows; for each policy what DECIDE asks.
# Returns what DECIDE returns; if all that was asked for are hits, the entry's document; for a page
# the documents of its rows.
# What can fail comes before anything is charged.
ANSWER = f"""
local function decide(KEYS, ARGV)
{DECIDE}
end
{HITS}
local usages = {{}}
if #ARGV > 2 then
  usages = decide({{KEYS[1]}}, {{unpack(ARGV, 3)}})
  for i = 1, #usages, 4 do
    if usages[i] == 0 and ARGV[1] == '1' then
      return {{usages}}
    end
  end
end
local found = hits(KEYS[2], {{KEYS[3]}})
if not (found and KEYS[4]) then
  return {{usages, found and found[1]}}
end
local keys = {{}}
for id in string.gmatch(string.match(found[1], '^{{"ids":%[([%d,]+)%]') or '', '%d+') do
  keys[#keys + 1] = ARGV[2] .. id
end
local rows = #keys > 0 and hits(KEYS[4], keys) or nil
return {{usages, rows and found[1], rows}}
"""


@dataclass
class Address:
    """What was learnt of an address."""

    route: str
    charges: Sequence[Charge]
    entry: Memoized
    key: str  # of the entry; of a row only what comes before its id
    rows: MemoizedMany | None = None  # of a page
    skip: int = 0
    limit: int = 0
    last: tuple[bytes, str] = (b"", "")  # a body and its ETag

    def etag(self, body: bytes) -> str:
        """Return the ETag of a body. It is cheaper to see that it was the last than to hash it."""
        last, etag = self.last
        if body != last:
            etag = etag_of(body)
            if len(body) in BODY_REMEMBERED:
                self.last = (body, etag)
        return etag


class Asked(NamedTuple):
    """What a request says that matters to its answer."""

    place: Place
    row: str  # the id that its path ends with, if it does
    path: str
    if_none_match: str | None
    identifier: str


class Answer(NamedTuple):
    status: HTTPStatus
    headers: list[tuple[str, str]]
    body: bytes


class Edge:
    """What a process has learnt, ahead of the application that it learnt it from."""

    def __init__(self, app: Flask) -> None:
        settings = app.config["SETTINGS"]
        self._flask = app.wsgi_app
        self._connection = redis_connection(app)
        self._watch = app.extensions["cache"][cache].watch
        self._counter = app.extensions["shop.limits"].counter
        self._enforced = settings.rate_limit_mode == "enforce"
        self._proxies = settings.trusted_proxies
        self._addresses: dict[Place, Address] = {}
        self._learning = Lock()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        token = ahead.set(environ)
        try:
            answer = self._answer(environ)
        except Exception:  # Flask will answer
            logger.exception("Unexpected error ahead of Flask")
            answer = None
        finally:
            ahead.reset(token)
        if answer is None:
            PASSED.inc()
            return self._flask(environ, start_response)
        start_response(STATUS_LINES[answer.status], answer.headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [answer.body]

    def _answer(self, environ: WSGIEnvironment) -> Answer | None:
        """Return the answer, if it can be had without Flask."""
        environ[ARRIVED] = started = time.perf_counter()
        asked = read_request(environ)
        address = self._addresses.get(asked.place) if asked else None
        if not (asked and address and self._is_ready()):
            return None
        environ[IDENTIFIER] = asked.identifier
        client = client_address(environ, self._proxies)
        try:
            told, *found = self._ask(client, address, asked.row)
        except RedisUnavailable as error:
            self._counter.begin_alone(error)
            return None
        used = self._counter.heard(client, address.charges, told) if told else []
        environ[DECIDED] = used
        against = [usage for usage in used if not usage.passes and self._enforced]
        if not (against or found):
            return None
        refusing(client, used, enforced=self._enforced)
        if against:
            answer = refuse(asked, used, against)
        else:
            answer = compose(asked, address, used, found, Outcome.HIT)
            count_hits(address, found)
        ANSWERED[answer.status].inc()
        request = Answered(
            method=environ["REQUEST_METHOD"],
            route=address.route,
            path=asked.path,
            status=answer.status,
            seconds=time.perf_counter() - started,
            cache=Outcome.HIT.name if found else None,
            client=client,
            refused=names(against) or None,
            request_id=asked.identifier,
        )
        count_request(request)
        log_request(request)
        return answer

    def _is_ready(self) -> bool:
        """Tell whether Redis counts, answers, and may be believed, and nobody asks for each key."""
        return (
            self._connection.available
            and not self._counter.is_alone
            and self._watch.is_fresh()
            and not cache_memoize_hit.receivers
            and not cache_logger.isEnabledFor(logging.DEBUG)
        )

    def _ask(self, client: str, address: Address, row: str) -> list[Any]:
        """Return what ANSWER does. Raises RedisUnavailable."""
        keys = [record.key(client), address.entry.generation_key, address.key + row]
        arguments: list[object] = ["1" if self._enforced else "", ""]
        if address.rows:
            keys.append(address.rows.generation_key)
            arguments[1] = address.rows.prefix
        for charge in address.charges:
            arguments += charge
        answer: list[Any] = self._connection.eval(ANSWER, keys, arguments)
        return answer

    def expect(self) -> None:
        """Before a request that can be learnt from: let its reads be noted."""
        asked = read_request(request.environ)
        if asked and asked.place not in self._addresses:
            g.cache_reads = []

    def learn(self, response: Response) -> Response:
        """Learn from an answer of Flask's, if the edge can give the same."""
        asked = read_request(request.environ) if g.get("cache_reads") else None
        understood = understand(asked) if asked else None
        if asked and understood:
            address, found = understood
            asked = asked._replace(identifier=request_id())
            same = compose(asked, address, usages(), found, cache_outcome())
            if (same.status, same.headers) == (response.status_code, list(response.headers)):
                with self._learning:
                    while len(self._addresses) >= ADDRESSES_MAX:
                        del self._addresses[next(iter(self._addresses))]  # the oldest
                    self._addresses[asked.place] = address
        return response


def read_request(environ: WSGIEnvironment) -> Asked | None:
    """Return what matters of a request, None if it is unusual."""
    path, query = environ["PATH_INFO"], environ.get("QUERY_STRING", "")
    if (
        environ["REQUEST_METHOD"] not in {"GET", "HEAD"}
        or environ.get("CONTENT_LENGTH", "0") not in {"0", ""}
        or "HTTP_AUTHORIZATION" in environ
        or "HTTP_TRANSFER_ENCODING" in environ
        or "HTTP_UPGRADE" in environ  # to a WebSocket, of which Flask has no routes
        or environ.get("SCRIPT_NAME")
        or path.startswith("//")  # which Flask reads as one
        or len(path) + len(query) > ADDRESS_LONGEST
        or not HOST.fullmatch(environ.get("HTTP_HOST", ""))
    ):
        return None
    row = ROW.fullmatch(path)
    return Asked(
        (row[1], True, query) if row else (path, False, query),
        row[2] if row else "",
        path,
        environ.get("HTTP_IF_NONE_MATCH"),
        sane_id(environ.get("HTTP_X_REQUEST_ID")),
    )


def understand(asked: Asked) -> tuple[Address, list[Any]] | None:
    """Return how the current answer was made, and of which documents."""
    route = request.url_rule.rule if request.url_rule else ""
    charges = g.get("rate_limit_charges", [])
    match g.cache_reads:
        case [(MemoizedMany() as rows, [key], documents)] if key == rows.prefix + asked.row:
            return Address(route, charges, rows, rows.prefix), [documents[0]]
        case [
            (MemoizedOne() as ids, [key], page),
            (MemoizedMany() as rows, _, documents),
        ] if not asked.row and "page" in g:
            address = Address(route, charges, ids, key, rows, g.page.skip, g.page.limit)
            return address, [page[0], [documents[i] for i in sorted(documents)]]
    return None


def compose(
    asked: Asked,
    address: Address,
    used: Sequence[Usage],
    found: Sequence[Any],
    outcome: Outcome | None,
) -> Answer:
    """Answer with the documents that were found, or 304."""
    body, links = found[0], ""
    if address.rows:
        page = Page(found[1], address.skip, address.limit, has_more(found[0]))
        body, links = page.to_json(), page_links(asked.path, page)
    etag = address.etag(body)
    headers = read_headers(etag, outcome, links) + closing_headers(asked, used)
    if is_current(etag, asked.if_none_match):
        return Answer(HTTPStatus.NOT_MODIFIED, headers, b"")
    return Answer(HTTPStatus.OK, content_headers(JSON, body) + headers, body)


def refuse(asked: Asked, used: Sequence[Usage], against: Sequence[Usage]) -> Answer:
    status = HTTPStatus.TOO_MANY_REQUESTS
    detail, members, retry = refusal(against)
    body = problem_document(status, detail, asked.path, asked.identifier, members)
    headers = [*retry.items(), *content_headers(PROBLEM, body), *closing_headers(asked, used)]
    return Answer(status, headers, body)


def content_headers(content_type: str, body: bytes) -> list[tuple[str, str]]:
    return [("Content-Type", content_type), ("Content-Length", str(len(body)))]


def closing_headers(asked: Asked, used: Sequence[Usage]) -> list[tuple[str, str]]:
    """Return what every answer has, in the order in which Flask's hooks add it."""
    return [*usage_headers(used), *SECURITY, ("X-Request-ID", asked.identifier)]


def count_hits(address: Address, found: Sequence[Any]) -> None:
    reads(address.entry.name, "hit").inc()
    if address.rows:
        reads(address.rows.name, "hit").inc(len(found[1]))


def init_app(app: Flask) -> None:
    """Put an edge in front of the application, if one can help it.

    On a cluster a script does not reach every key; without Redis there is nothing to read.
    """
    connection = redis_connection(app)
    if not app.config["SETTINGS"].edge_enabled or connection.is_cluster or not connection.enabled:
        return
    edge = Edge(app)
    app.before_request(edge.expect)
    app.after_request_funcs[None].insert(0, edge.learn)  # it runs last: the answer is whole
    app.wsgi_app = edge  # type: ignore[method-assign]
