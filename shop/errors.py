"""Answer every failure with application/problem+json (RFC 9457); `shop.problems` has the types."""

from __future__ import annotations

import json
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import orjson
from flask import Response, request
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from . import problems
from .config import LINES_MAX, PATH_SHOWN_MAX
from .database.failures import UNAVAILABLE, database_problem
from .facts import bearer_token, current_facts
from .fields import WHOLE_OBJECT
from .log_throttle import once_a_minute
from .problems import ShopError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from flask import Flask

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1
PROBLEM_JSON = "application/problem+json"
ERRORS_MAX = 20  # of a problem
# Problems for errors of the framework, by status. Any other status needs no `type`.
KIND_BY_STATUS: dict[int, type[ShopError]] = {
    kind.status: kind
    for kind in (
        problems.BadRequestError,
        problems.UnknownAddressError,
        problems.MethodNotAllowedError,
        problems.BodyTooLargeError,
        problems.UnsupportedMediaTypeError,
        problems.InvalidFieldsError,
    )
}

_encode_any = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def problem_response(
    status: int,
    detail: str,
    *,
    members: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Answer with a problem document; `members` has its `type` and `title`."""
    body = problem_document(status, detail, request.path, current_facts().request_id, members or {})
    return Response(body, status, headers, content_type=PROBLEM_JSON)


def problem_document(
    status: int, detail: str, path: str, request_id: str, members: Mapping[str, Any]
) -> bytes:
    """Return the problem document for a request, by its path and id."""
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": members.get("title") or HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": path[:PATH_SHOWN_MAX],
        "request_id": request_id,
    }
    document |= members
    try:
        return orjson.dumps(document)
    except TypeError:  # a name may have half of a surrogate pair, which is no character
        return _encode_any(document).encode(errors="replace")


def init_app(app: Flask) -> None:
    app.register_error_handler(ShopError, error_response)
    app.register_error_handler(HTTPException, _http_exception)
    app.register_error_handler(PoolTimeoutError, _no_connection)
    app.register_error_handler(DBAPIError, _database_error)
    app.register_error_handler(IntegrityError, _conflict)
    app.register_error_handler(Exception, _fault)


def error_response(error: ShopError, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with the problem document of an error."""
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers = {"WWW-Authenticate": _challenge()}
    headers = headers_of(error) or headers
    return problem_response(error.status, str(error), members=members_of(error), headers=headers)


def headers_of(error: ShopError) -> dict[str, str]:
    """Return the headers of every answer with this error."""
    if isinstance(error, problems.NotFoundError):
        return {"Cache-Control": "no-cache"}  # a cache may keep a 404 (RFC 9110, section 15.5.5)
    if error.status == HTTPStatus.SERVICE_UNAVAILABLE:
        return {"Retry-After": str(RETRY_SECONDS)}
    return {}


def members_of(error: ShopError) -> dict[str, Any]:
    """Return `type`, `title` and the further members of an error's document."""
    return {
        "type": error.type(),
        "title": error.title(),
        **error.values,
        **_bounded_errors(error.fields),
    }


def _bounded_errors(fields: Mapping[problems.Path, problems.FieldError]) -> dict[str, Any]:
    """Return entries for the wrong fields, up to a bound, and the number of omitted fields.

    The bound is higher for fields in a list, so that each line of an order can have an entry.
    """
    entries: list[dict[str, Any]] = []
    for name, wrong in fields.items():
        path = (name,) if isinstance(name, str) else name
        in_a_list = any(isinstance(part, int) for part in path)
        if len(entries) < (LINES_MAX if in_a_list else ERRORS_MAX):
            entries.append(_entry(".".join(map(str, path)), wrong))
    omitted = len(fields) - len(entries)
    return ({"errors": entries} if entries else {}) | (
        {"errors_omitted": omitted} if omitted else {}
    )


def _entry(path: str, wrong: problems.FieldError) -> dict[str, Any]:
    more = {"detail": wrong} if isinstance(wrong, str) else wrong
    return {"field": problems.clip(path), **more}


def _challenge() -> str:
    """Return WWW-Authenticate (RFC 6750, section 3), with an error if the request has a token."""
    sent = bearer_token(request.headers.get("Authorization", ""))
    wrong = {"error": "invalid_token"} if sent else {}
    return WWWAuthenticate("bearer", {"realm": "shop", **wrong}).to_header()


def _http_exception(error: HTTPException) -> Response | HTTPException:
    if error.code is None or error.code < HTTPStatus.BAD_REQUEST:
        return error  # a redirect of the router
    headers = dict(error.get_headers())  # Allow, Retry-After
    headers.pop("Content-Type", None)
    kind = KIND_BY_STATUS.get(error.code)
    if kind is None:
        return problem_response(error.code, error.description or "", headers=headers)
    # webargs keeps validation messages here, by the part of the request.
    if messages := getattr(error, "data", {}).get("messages"):
        wrong: dict[problems.Path, problems.FieldError] = {
            path: " ".join(texts)
            for fields in messages.values()
            for path, texts in _field_errors(fields)
        }
        return error_response(kind("The request has fields that are not valid.", wrong))
    if isinstance(error, RequestEntityTooLarge):
        limit = request.max_content_length
        detail = f"The body may have {limit} bytes."
        return error_response(problems.BodyTooLargeError(detail, limit=limit))
    if kind is problems.UnknownAddressError:
        return error_response(kind("There is no such address."))
    return error_response(kind(error.description or ""), headers)


def _field_errors(messages: Mapping[Any, Any]) -> Iterator[tuple[tuple[str | int, ...], list[str]]]:
    """Yield the path to each field with its messages; a whole object can have messages, too."""
    for name, found in messages.items():
        here = () if name is WHOLE_OBJECT else (name,)
        if isinstance(found, dict):
            for path, texts in _field_errors(found):
                yield (*here, *path), texts
        else:
            yield here, [found] if isinstance(found, str) else list(map(str, found))


def _no_connection(error: PoolTimeoutError) -> Response:
    if once_a_minute("no connection"):
        logger.error("All connections of this worker are in use: %s", error)
    kind, detail = UNAVAILABLE
    return error_response(kind(detail))


def _database_error(error: DBAPIError) -> Response:
    meant = database_problem(error)
    if meant is None:
        return _fault(error)
    kind, detail = meant
    reached = "reached" if meant is UNAVAILABLE else "used"
    if once_a_minute(f"database {reached}: {getattr(error.orig, 'pgcode', None)}"):
        logger.error("The database cannot be %s: %s", reached, error.orig)
    return error_response(kind(detail))


def _conflict(error: IntegrityError) -> Response:
    logger.warning("The database refused a write: %s", error.orig)
    return error_response(problems.ConflictError("This conflicts with what is stored."))


def _fault(error: Exception) -> Response:
    logger.error("Unexpected error", exc_info=error)
    return error_response(problems.InternalError("The service made an error; it is logged."))
