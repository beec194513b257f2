"""Answers with JSON documents that are encoded already."""

from __future__ import annotations

import hashlib
from http import HTTPStatus
from typing import TYPE_CHECKING

from flask import Response, g, request
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.http import parse_etags

from .cache import Outcome, cache_outcome
from .extensions import db

if TYPE_CHECKING:
    from flask import Flask

    from .pages import Page

JSON = "application/json"
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def init_app(app: Flask) -> None:
    app.after_request(_add_security_headers)
    app.after_request(_end_transaction)


def _end_transaction(response: Response) -> Response:
    """Give the connection back. If the database is lost by now, the answer is still right."""
    try:
        db.session.rollback()
    except SQLAlchemyError:
        db.session().invalidate()
    return response


def _add_security_headers(response: Response) -> Response:
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def document(body: bytes, status: int = 200, *, location: str | None = None) -> Response:
    """Answer with one JSON document."""
    response = Response(body, status, content_type=JSON)
    if location:
        response.headers["Location"] = location
    return response


def cached_document(body: bytes, links: str = "") -> Response:
    """Answer a read: 200, or 304 to a caller whose If-None-Match has this document's ETag."""
    etag = etag_of(body)
    if is_current(etag, request.headers.get("If-None-Match")):
        response = Response(b"", HTTPStatus.NOT_MODIFIED)
        del response.headers["Content-Type"], response.headers["Content-Length"]
    else:
        response = document(body)
    response.headers.extend(read_headers(etag, cache_outcome(), links))
    return response


def cached_page(page: Page) -> Response:
    """Answer with a page, and links to its neighbours."""
    g.page = page
    return cached_document(page.to_json(), page_links(request.path, page))


# The edge answers by the same functions, without a request of Flask's.


def etag_of(body: bytes) -> str:
    return f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'


def is_current(etag: str, if_none_match: str | None) -> bool:
    """Tell whether the caller has this ETag, by weak comparison (RFC 9110, section 13.1.2)."""
    if not if_none_match or if_none_match == etag:
        return if_none_match == etag
    return parse_etags(if_none_match).contains_weak(etag.strip('"'))


def read_headers(etag: str, outcome: Outcome | None, links: str) -> list[tuple[str, str]]:
    """Return what the answer to a cached read has besides its content."""
    headers = [("ETag", etag), ("Cache-Control", "no-cache")]
    if outcome:
        headers.append(("X-Cache", outcome.name))
    if outcome is Outcome.STALE:
        headers.append(("Warning", '110 - "Response is Stale"'))  # RFC 5861, section 4
    if links:
        headers.append(("Link", links))
    return headers


def page_links(path: str, page: Page) -> str:
    """Return the links to the neighbours of a page under `path` (RFC 8288), if it has any."""
    links = []
    if page.skip:
        links.append(_link(path, max(0, page.skip - page.limit), page.limit, "prev"))
    if page.more:
        links.append(_link(path, page.skip + page.limit, page.limit, "next"))
    return ", ".join(links)


def _link(path: str, skip: int, limit: int, relation: str) -> str:
    return f'<{path}?skip={skip}&limit={limit}>; rel="{relation}"'
