"""The answers that the edge gives, made by the functions that Flask's are made by."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from shop.errors import PROBLEM, problem_document
from shop.etags import is_current
from shop.limits.headers import refusal, usage_headers
from shop.responses import JSON, SECURITY_HEADERS, read_headers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shop.cache import Outcome
    from shop.limits.decision import Usage

    from .address import Address
    from .asked import Asked

SECURITY = list(SECURITY_HEADERS.items())


class Answer(NamedTuple):
    status: HTTPStatus
    headers: list[tuple[str, str]]
    body: bytes


def compose(
    asked: Asked,
    address: Address,
    used: Sequence[Usage],
    found: list[Any],
    outcome: Outcome | None,
) -> Answer | None:
    """Answer with what everybody may see of the documents that were found, or 304.

    Return None where that is nothing.
    """
    made = address.compose(found)
    if made is None:
        return None
    headers = read_headers(made.etag, outcome, made.links, asked.path)
    headers += _closing_headers(asked, used)
    if is_current(made.etag, asked.if_none_match):
        return Answer(HTTPStatus.NOT_MODIFIED, headers, b"")
    return Answer(HTTPStatus.OK, _content_headers(JSON, made.body) + headers, made.body)


def refuse(asked: Asked, used: Sequence[Usage], against: Sequence[Usage]) -> Answer:
    """Answer 429 with the policies that were exceeded."""
    status = HTTPStatus.TOO_MANY_REQUESTS
    detail, members, retry = refusal(against)
    body = problem_document(status, detail, asked.path, asked.identifier, members)
    headers = [*retry.items(), *_content_headers(PROBLEM, body), *_closing_headers(asked, used)]
    return Answer(status, headers, body)


def _content_headers(content_type: str, body: bytes) -> list[tuple[str, str]]:
    return [("Content-Type", content_type), ("Content-Length", str(len(body)))]


def _closing_headers(asked: Asked, used: Sequence[Usage]) -> list[tuple[str, str]]:
    """Return what every answer has, in the order in which Flask's hooks add it."""
    return [*usage_headers(used), *SECURITY, ("X-Request-ID", asked.identifier)]
