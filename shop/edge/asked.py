"""What a request asks for, read from its WSGI environment."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from shop.config import CONDITION_MAX
from shop.logs import sane_id
from shop.sessions.service import TOKEN, hash_of

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    Place = tuple[str, bool, str]  # path, whether the id of a row follows, query

ADDRESS_LONGEST = 2048  # characters, of path and query
HOST = re.compile(r"[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*(:[0-9]{1,5})?")
ROW = re.compile(r"(/.*/)([1-9][0-9]{0,9})")


class Asked(NamedTuple):
    """What a request says that matters to its answer."""

    place: Place
    row: str  # the id that its path ends with, if it does
    path: str
    if_none_match: str | None
    identifier: str
    session: str | None  # the hash of its token, if one is sent


def read_request(environ: WSGIEnvironment) -> Asked | None:
    """Return what matters of a request, None if it is unusual."""
    path, query = environ["PATH_INFO"], environ.get("QUERY_STRING", "")
    if (
        environ["REQUEST_METHOD"] not in {"GET", "HEAD"}
        or environ.get("CONTENT_LENGTH", "0") not in {"0", ""}
        or "HTTP_TRANSFER_ENCODING" in environ
        or "HTTP_UPGRADE" in environ  # to a WebSocket, of which Flask has no routes
        or environ.get("SCRIPT_NAME")
        or path.startswith("//")  # which Flask reads as one
        or len(path) + len(query) > ADDRESS_LONGEST
        or not HOST.fullmatch(environ.get("HTTP_HOST", ""))
        or len(environ.get("HTTP_IF_NONE_MATCH", "")) > CONDITION_MAX
    ):
        return None
    authorization, session = environ.get("HTTP_AUTHORIZATION"), None
    if authorization is not None:
        scheme, _, token = authorization.partition(" ")
        if scheme != "Bearer" or not TOKEN.fullmatch(token):
            return None
        session = hash_of(token)
    row = ROW.fullmatch(path)
    return Asked(
        (row[1], True, query) if row else (path, False, query),
        row[2] if row else "",
        path,
        environ.get("HTTP_IF_NONE_MATCH"),
        sane_id(environ.get("HTTP_X_REQUEST_ID")),
        session,
    )
