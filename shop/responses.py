"""Answers with JSON documents that are encoded already."""

from __future__ import annotations

import hashlib
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from flask import Response, request
from sqlalchemy.exc import SQLAlchemyError

from .cache import Outcome, cache_outcome
from .extensions import db

if TYPE_CHECKING:
    from flask import Flask

    from .pages import Page

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
    response = Response(body, status, content_type="application/json")
    if location:
        response.headers["Location"] = location
    return response


def cached_document(body: bytes) -> Response:
    """Answer a read: 200, or 304 to a caller whose If-None-Match has this document's ETag."""
    response = document(body)
    etag = hashlib.blake2b(body, digest_size=12).hexdigest()
    response.set_etag(etag)
    response.headers["Cache-Control"] = "no-cache"
    if outcome := cache_outcome():
        response.headers["X-Cache"] = outcome.name
        if outcome is Outcome.STALE:
            response.headers["Warning"] = '110 - "Response is Stale"'  # RFC 5861, section 4
    if request.if_none_match.contains_weak(etag):
        response.status_code = HTTPStatus.NOT_MODIFIED
        response.data = b""
        del response.headers["Content-Type"], response.headers["Content-Length"]
    return response


def cached_page(page: Page) -> Response:
    """Answer with a page, and links to its neighbours (RFC 8288)."""
    response = cached_document(page.to_json())
    links = []
    if page.skip:
        links.append(_link(max(0, page.skip - page.limit), page.limit, "prev"))
    if page.more:
        links.append(_link(page.skip + page.limit, page.limit, "next"))
    if links:
        response.headers["Link"] = ", ".join(links)
    return response


def _link(skip: int, limit: int, relation: str) -> str:
    return f'<{request.path}?{urlencode({"skip": skip, "limit": limit})}>; rel="{relation}"'
