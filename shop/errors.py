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
    """A request that cannot be carried out; the message is for its sender.

    `fields` tells what is wrong with each field, by its path, such as `lines.0.quantity`.
    """

    status: HTTPStatus

    def __init__(self, message: str, fields: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.fields = fields or {}


class NotFoundError(ShopError):
    status = HTTPStatus.NOT_FOUND


class ConflictError(ShopError):
    status = HTTPStatus.CONFLICT


class SessionEndedError(ShopError):
    """The session has ended since the request began."""

    status = HTTPStatus.UNAUTHORIZED

    def __init__(self) -> None:
        super().__init__("This session has ended: open another with POST /sessions.")


class PreconditionError(ShopError):
    status = HTTPStatus.PRECONDITION_FAILED


class InvalidError(ShopError):
    """The input is wrong in a way that only the database can tell."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY


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
    errors = [{"field": field, "detail": detail} for field, detail in error.fields.items()]
    headers = {"WWW-Authenticate": 'Bearer realm="shop", error="invalid_token"'}
    unauthorized = error.status == HTTPStatus.UNAUTHORIZED
    return problem(error.status, str(error), errors=errors, headers=headers if unauthorized else {})


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
        for path, texts in _leaves(fields):
            yield {"field": ".".join(path), "detail": " ".join(map(str, texts))}


def _leaves(messages: Mapping[Any, Any]) -> Iterator[tuple[list[str], list[str]]]:
    """Yield the path to each field with messages. Those on a whole object name the object."""
    for name, found in messages.items():
        if isinstance(found, dict):
            for path, texts in _leaves(found):
                yield [str(name), *(part for part in path if part != "_schema")], texts
        else:
            yield [str(name)], [found] if isinstance(found, str) else found


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
