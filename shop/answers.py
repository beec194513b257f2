"""Make answers as status, headers and body, for the event loop and for the views of Flask."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

from shop.facts import Outcome

from .errors import PROBLEM_JSON, headers_of, members_of, problem_document
from .etags import is_current
from .limits.headers import refusal, usage_headers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shop.quotas import Usage

    from .facts import Facts
    from .problems import ShopError

    Headers = list[tuple[str, str]]

JSON = "application/json"
SECURITY_HEADERS = [
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
]


class Answer(NamedTuple):
    """An answer that is not bound to Flask."""

    status: HTTPStatus
    headers: Headers
    body: bytes


class Document(NamedTuple):
    """The encoded document of a read, with its ETag and links."""

    body: bytes
    etag: str
    links: str  # the value of its Link header, empty for none (RFC 8288)


def cached_read(
    document: Document, path: str, if_none_match: str | None, outcome: Outcome | None
) -> Answer:
    """Answer a cached read under `path`: 200, or 304 to a caller that has the document."""
    headers = [("ETag", document.etag), ("Cache-Control", "no-cache")]
    if outcome:
        headers.append(("X-Cache", outcome.name))
    if outcome is Outcome.STALE:
        headers.append(("Warning", '110 - "Response is Stale"'))  # RFC 5861, section 4
    if document.links:
        headers.append(("Link", document.links.replace("<?", f"<{path}?")))
    if is_current(document.etag, if_none_match):
        return Answer(HTTPStatus.NOT_MODIFIED, headers, b"")
    return Answer(HTTPStatus.OK, _content(JSON, document.body) + headers, document.body)


def private(status: HTTPStatus, body: bytes) -> Answer:
    """Answer with a document that no cache may keep."""
    return Answer(status, [*_content(JSON, body), ("Cache-Control", "no-store")], body)


def rate_limited(exceeded: Sequence[Usage], path: str, request_id: str) -> Answer:
    """Answer 429 with the policies that were exceeded."""
    status = HTTPStatus.TOO_MANY_REQUESTS
    detail, members, headers = refusal(exceeded)
    return problem(status, detail, path, request_id, members=members, headers=headers)


def problem(  # noqa: PLR0913  (each is part of the document)
    status: HTTPStatus,
    detail: str,
    path: str,
    request_id: str,
    *,
    members: Mapping[str, object],
    headers: Mapping[str, str],
) -> Answer:
    """Answer with a problem document (RFC 9457)."""
    body = problem_document(status, detail, path, request_id, members)
    return Answer(status, [*headers.items(), *_content(PROBLEM_JSON, body)], body)


def for_error(error: ShopError, path: str, request_id: str) -> Answer:
    """Answer a request, by its path and id, with the problem document of an error."""
    members, headers = members_of(error), headers_of(error)
    status = HTTPStatus(error.status)
    return problem(status, str(error), path, request_id, members=members, headers=headers)


def closing_headers(known: Facts) -> Headers:
    """Return the last headers of every answer: usage of quotas, security, and request id."""
    return [*usage_headers(known.usages), *SECURITY_HEADERS, ("X-Request-ID", known.request_id)]


def _content(content_type: str, body: bytes) -> Headers:
    return [("Content-Type", content_type), ("Content-Length", str(len(body)))]
