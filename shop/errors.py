"""Every failure as application/problem+json (RFC 9457).

Services raise the errors of this module; nothing below a route knows a status.
"""

from __future__ import annotations

import json
import logging
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from flask import Response, request
from sqlalchemy.exc import IntegrityError
from werkzeug.exceptions import HTTPException

from .config import DATABASE_UNAVAILABLE
from .logs import request_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from flask import Flask

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1
PROBLEM = "application/problem+json"

_encode = json.JSONEncoder(separators=(",", ":")).encode


class ShopError(Exception):
    """A request that cannot be carried out; the message is for its sender."""

    status: HTTPStatus


class NotFoundError(ShopError):
    status = HTTPStatus.NOT_FOUND


class ConflictError(ShopError):
    status = HTTPStatus.CONFLICT


class InvalidError(ShopError):
    """One field is wrong in a way that only the database can tell."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@contextmanager
def violations(errors: Mapping[str, ShopError]) -> Iterator[None]:
    """Raise `errors[constraint]` for the constraint that a statement violates."""
    try:
        yield
    except IntegrityError as error:
        constraint = getattr(getattr(error.orig, "diag", None), "constraint_name", None)
        raise errors.get(constraint or "", error) from error


def problem(
    status: int,
    detail: str,
    *,
    errors: list[dict[str, str]] | None = None,
    members: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Answer with a problem document.

    `errors` has one entry for each wrong field; `members` are those of a problem with a type of
    its own, which is one of them.
    """
    more = {"errors": errors} if errors else members or {}
    body = problem_document(status, detail, request.path, request_id(), more)
    return Response(body, status, headers, content_type=PROBLEM)


def problem_document(
    status: int, detail: str, path: str, identifier: str, members: Mapping[str, Any]
) -> bytes:
    """Return the document of a problem with the request that has this path and id."""
    document = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": path,
        "request_id": identifier,
    }
    return _encode({**document, **members}).encode()


def init_app(app: Flask) -> None:
    app.register_error_handler(ShopError, _shop_error)
    app.register_error_handler(HTTPException, _http_exception)
    for unavailable in DATABASE_UNAVAILABLE:
        app.register_error_handler(unavailable, _database_unavailable)
    app.register_error_handler(IntegrityError, _conflict)
    app.register_error_handler(Exception, _fault)


def _shop_error(error: ShopError) -> Response:
    detail = str(error)
    fields = [{"field": error.field, "detail": detail}] if isinstance(error, InvalidError) else None
    return problem(error.status, detail, errors=fields)


def _http_exception(error: HTTPException) -> Response | HTTPException:
    if error.code is None or error.code < HTTPStatus.BAD_REQUEST:
        return error  # a redirect of the router
    # webargs keeps validation messages here, under the place that the data came from.
    messages = getattr(error, "data", {}).get("messages")
    if messages:
        detail = "The request has fields that are not valid."
        return problem(error.code, detail, errors=list(_field_errors(messages)))
    headers = dict(error.get_headers())  # Allow, Retry-After, WWW-Authenticate
    headers.pop("Content-Type", None)
    return problem(error.code, error.description or "", headers=headers)


def _field_errors(messages: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    for fields in messages.values():
        for field, texts in fields.items():
            yield {"field": str(field), "detail": " ".join(map(str, _flat(texts)))}


def _flat(texts: Any) -> Iterator[str]:
    if isinstance(texts, dict):
        texts = [one for value in texts.values() for one in _flat(value)]
    yield from [texts] if isinstance(texts, str) else texts


def _database_unavailable(error: Exception) -> Response:
    logger.error("The database cannot be reached: %s", getattr(error, "orig", error))
    detail = "The database cannot be reached now."
    return problem(
        HTTPStatus.SERVICE_UNAVAILABLE, detail, headers={"Retry-After": str(RETRY_SECONDS)}
    )


def _conflict(error: IntegrityError) -> Response:
    logger.warning("The database refused a write: %s", error.orig)
    return problem(HTTPStatus.CONFLICT, "This conflicts with what is stored.")


def _fault(error: Exception) -> Response:
    logger.error("Unexpected error", exc_info=error)
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "The service made an error; it is logged.")
