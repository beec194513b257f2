"""Flask responses with encoded JSON documents."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from flask import Response, request
from flask.json.provider import DefaultJSONProvider
from sqlalchemy.exc import SQLAlchemyError

from . import answers
from .answers import JSON
from .config import CONDITION_MAX
from .etags import etag_of
from .extensions import db
from .facts import current_facts
from .problems import InvalidConditionError

if TYPE_CHECKING:
    from flask import Flask

    from .idempotency import WriteAnswer
    from .pages import Page


class JSONWithoutNewline(DefaultJSONProvider):
    """Encodes the result of a view like all other documents: compact, without a newline."""

    compact = True

    def response(self, *args: Any, **fields: Any) -> Response:
        response = super().response(*args, **fields)
        assert isinstance(response, Response)  # noqa: S101  (as the application makes them)
        response.set_data(response.get_data().rstrip(b"\n"))
        return response


def init_app(app: Flask) -> None:
    app.json = JSONWithoutNewline(app)
    app.after_request(_drop_type_of_no_content)
    app.after_request(_close_headers)
    app.after_request(_end_transaction)


def _end_transaction(response: Response) -> Response:
    """Give the connection back. The answer stays right if the database is lost meanwhile."""
    if not db.session.registry.has():
        return response
    try:
        db.session.rollback()
    except SQLAlchemyError:
        db.session().invalidate()
    return response


def _drop_type_of_no_content(response: Response) -> Response:
    if response.status_code == HTTPStatus.NO_CONTENT:
        del response.headers["Content-Type"]
    return response


def _close_headers(response: Response) -> Response:
    """Add the headers of every answer that the view has not set."""
    there = {name for name, _ in response.headers}  # a lookup of a missing header costs more
    for name, value in answers.closing_headers(current_facts()):
        if name not in there:
            response.headers.add(name, value)
    return response


def document(body: bytes, status: int = 200, *, location: str | None = None) -> Response:
    """Answer with one JSON document."""
    response = Response(body, status, content_type=JSON)
    if location:
        response.headers["Location"] = location
    return response


def private(body: bytes, status: int = 200, *, location: str | None = None) -> Response:
    """Answer with a document for the caller alone, and forbid caches to keep it."""
    response = document(body, status, location=location)
    response.headers["Cache-Control"] = "no-store"
    return response


def private_page(body: bytes, last: int | None) -> Response:
    """Answer with a page of rows; with `last`, the id of its last row, link to the next page."""
    response = private(body)
    if last:
        query = urlencode(request.args.to_dict() | {"after": last})
        response.headers["Link"] = f'<{request.path}?{query}>; rel="next"'
    return response


def versioned(body: bytes, status: int = 200, *, location: str | None = None) -> Response:
    """Answer a write with the new document, and with its ETag for If-Match."""
    response = document(body, status, location=location)
    response.headers["ETag"] = etag_of(body)
    return response


def if_match() -> str | None:
    """Return If-Match of the request. Raises InvalidConditionError."""
    return _bounded("If-Match", request.headers.get("If-Match"))


def _bounded(name: str, condition: str | None) -> str | None:
    """Return a condition. Raises InvalidConditionError if it is too long."""
    if condition and len(condition) > CONDITION_MAX:
        raise InvalidConditionError(f"{name} has at most {CONDITION_MAX} characters.")
    return condition


def idempotent_answer(
    answer: WriteAnswer, status: int = 200, *, location: str | None = None
) -> Response:
    """Answer a write with an Idempotency-Key, and tell whether the answer is replayed."""
    response = private(answer.body, status, location=location)
    if answer.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return response


def cached_document(body: bytes, links: str = "") -> Response:
    """Answer a read: 200, or 304 to a caller whose If-None-Match has this document's ETag.

    Raises InvalidConditionError for an If-None-Match that is too long.
    """
    if_none_match = _bounded("If-None-Match", request.headers.get("If-None-Match"))
    found = answers.Document(body, etag_of(body), links)
    answer = answers.cached_read(found, request.path, if_none_match, current_facts().outcome)
    response = Response(answer.body, answer.status, answer.headers)
    if answer.status == HTTPStatus.NOT_MODIFIED:
        del response.headers["Content-Type"], response.headers["Content-Length"]
    return response


def cached_page(page: Page) -> Response:
    """Answer with a page, composed by its layout, and links to its neighbours."""
    if observer := current_facts().observer:
        observer.show(page)
    body, links = page.compose()
    return cached_document(body, links)


def for_caller_alone(response: Response) -> Response:
    """Forbid shared caches to keep an answer for this caller (RFC 9111, section 5.2.2.7).

    Some are set up to keep answers to requests with Authorization (section 3.5).
    """
    response.headers["Cache-Control"] = "private, no-cache"
    return response
