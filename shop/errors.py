"""Answer every failure with application/problem+json (RFC 9457); the kinds: `shop.problems`."""

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
from .config import LINES_MAX, PATH_SHOWN
from .database.failures import UNAVAILABLE, meaning
from .facts import bearer, facts
from .fields import WHOLE
from .log_throttle import once_a_minute
from .problems import ShopError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from flask import Flask

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1
PROBLEM = "application/problem+json"
ERRORS_MAX = 20  # of a problem
# Problems for errors of the framework, by status. Any other status needs no `type`.
OF_STATUS: dict[int, type[ShopError]] = {
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


def problem(
    status: int,
    detail: str,
    *,
    members: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Answer with a problem document; `type` and `title` are among its members."""
    body = problem_document(status, detail, request.path, facts().identifier, members or {})
    return Response(body, status, headers, content_type=PROBLEM)


def problem_document(
    status: int, detail: str, path: str, identifier: str, members: Mapping[str, Any]
) -> bytes:
    """Return the document of a problem for a request with this path and id."""
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": members.get("title") or HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": path[:PATH_SHOWN],
        "request_id": identifier,
    }
    document |= members
    try:
        return orjson.dumps(document)
    except TypeError:  # half of a surrogate pair, which a name may have, is no character
        return _encode_any(document).encode(errors="replace")


def init_app(app: Flask) -> None:
    app.register_error_handler(ShopError, answer)
    app.register_error_handler(HTTPException, _http_exception)
    app.register_error_handler(PoolTimeoutError, _no_connection)
    app.register_error_handler(DBAPIError, _database_error)
    app.register_error_handler(IntegrityError, _conflict)
    app.register_error_handler(Exception, _fault)


def answer(error: ShopError, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with the problem document of an error."""
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers = {"WWW-Authenticate": _challenge()}
    headers = headers_of(error) or headers
    return problem(error.status, str(error), members=members_of(error), headers=headers)


def headers_of(error: ShopError) -> dict[str, str]:
    """Return the headers of every answer with this error."""
    if isinstance(error, problems.NotFoundError):
        return {"Cache-Control": "no-cache"}  # or it may be kept (RFC 9110, section 15.5.5)
    if error.status == HTTPStatus.SERVICE_UNAVAILABLE:
        return {"Retry-After": str(RETRY_SECONDS)}
    return {}


def members_of(error: ShopError) -> dict[str, Any]:
    """Return the members of an error's document that not every problem has."""
    return {
        "type": error.type(),
        "title": error.title(),
        **error.values,
        **_few_errors(error.fields),
    }


def _few_errors(fields: Mapping[problems.Path, problems.FieldError]) -> dict[str, Any]:
    """Return an entry for each wrong field, up to a bound, and the number of those left out.

    The bound is higher for fields in a list: an order may have so many lines.
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
    return {"field": problems.clipped(path), **more}


def _challenge() -> str:
    """Return WWW-Authenticate (RFC 6750, section 3), with an error if a token was sent."""
    sent = bearer(request.headers.get("Authorization", ""))
    wrong = {"error": "invalid_token"} if sent else {}
    return WWWAuthenticate("bearer", {"realm": "shop", **wrong}).to_header()


def _http_exception(error: HTTPException) -> Response | HTTPException:
    if error.code is None or error.code < HTTPStatus.BAD_REQUEST:
        return error  # a redirect of the router
    headers = dict(error.get_headers())  # Allow, Retry-After
    headers.pop("Content-Type", None)
    kind = OF_STATUS.get(error.code)
    if kind is None:
        return problem(error.code, error.description or "", headers=headers)
    # webargs keeps validation messages here, under the place that the data came from.
    if messages := getattr(error, "data", {}).get("messages"):
        wrong: dict[problems.Path, problems.FieldError] = {
            path: " ".join(texts) for path, texts in _field_errors(messages)
        }
        return answer(kind("The request has fields that are not valid.", wrong))
    if isinstance(error, RequestEntityTooLarge):
        limit = request.max_content_length
        detail = f"The body may have {limit} bytes."
        return answer(problems.BodyTooLargeError(detail, limit=limit))
    if kind is problems.UnknownAddressError:
        return answer(kind("There is no such address."))
    return answer(kind(error.description or ""), headers)


def _field_errors(messages: Mapping[str, Any]) -> Iterator[tuple[tuple[str | int, ...], list[str]]]:
    for fields in messages.values():
        yield from _leaves(fields)


def _leaves(messages: Mapping[Any, Any]) -> Iterator[tuple[tuple[str | int, ...], list[str]]]:
    """Yield the path to each field with messages. Those on a whole object name the object."""
    for name, found in messages.items():
        here = () if name is WHOLE else (name,)
        if isinstance(found, dict):
            for path, texts in _leaves(found):
                yield (*here, *path), texts
        else:
            yield here, [found] if isinstance(found, str) else list(map(str, found))


def _no_connection(error: PoolTimeoutError) -> Response:
    if once_a_minute("no connection"):
        logger.error("All connections of this worker are in use: %s", error)
    kind, detail = UNAVAILABLE
    return answer(kind(detail))


def _database_error(error: DBAPIError) -> Response:
    meant = meaning(error)
    if meant is None:
        return _fault(error)
    kind, detail = meant
    reached = "reached" if meant is UNAVAILABLE else "used"
    if once_a_minute(f"database {reached}: {getattr(error.orig, 'pgcode', None)}"):
        logger.error("The database cannot be %s: %s", reached, error.orig)
    return answer(kind(detail))


def _conflict(error: IntegrityError) -> Response:
    logger.warning("The database refused a write: %s", error.orig)
    return answer(problems.ConflictError("This conflicts with what is stored."))


def _fault(error: Exception) -> Response:
    logger.error("Unexpected error", exc_info=error)
    return answer(problems.InternalError("The service made an error; it is logged."))
