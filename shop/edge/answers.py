"""The answers that the edge gives, made by the functions that Flask's are made by."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from shop.errors import PROBLEM, problem_document
from shop.etags import is_current
from shop.limits.headers import refusal, usage_headers
from shop.pages import Page, has_more
from shop.responses import JSON, SECURITY_HEADERS, page_links, read_headers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shop.cache import Outcome
    from shop.limits.decision import Usage

    from .addresses import Address
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
    found: Sequence[Any],
    outcome: Outcome | None,
) -> Answer | None:
    """Answer with what everybody may see of the documents that were found, or 304.

    Return None for a row that not everybody may see: Flask knows what to say of it.
    """
    page = None
    if address.limit:
        page = Page(found[1], address.skip, address.limit, has_more(found[0]))
    body = page.to_json() if page else found[0]
    etag = address.last_etag(body)
    if etag is None:  # it may have what only some may see, which conditions must not tell of
        documents = page.documents if page else found
        public = address.rows.published(documents)
        if len(public) < len(documents):
            if not page:
                return None
            body = page._replace(documents=public).to_json()
        etag = address.new_etag(body)
    links = page_links(asked.path, page) if page else ""
    headers = read_headers(etag, outcome, links) + _closing_headers(asked, used)
    if is_current(etag, asked.if_none_match):
        return Answer(HTTPStatus.NOT_MODIFIED, headers, b"")
    return Answer(HTTPStatus.OK, _content_headers(JSON, body) + headers, body)


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
