"""Parse the ASGI scope of a request."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from shop.caller import SESSION_TOKEN
from shop.config import CONDITION_MAX
from shop.facts import ReadRequest, bearer_token
from shop.sessions.service import hash_token

if TYPE_CHECKING:
    from collections.abc import Mapping

URL_LONGEST = 2048  # characters, of path and query
HOST = re.compile(r"[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*(:[0-9]{1,5})?")
ROW = re.compile(r"(/.*/)([1-9][0-9]{0,9})")


def read_headers(scope: Mapping[str, Any]) -> dict[bytes, bytes]:
    """Return the headers by name. Headers of one name are joined, as in WSGI."""
    pairs: list[tuple[bytes, bytes]] = scope["headers"]
    headers = dict(pairs)
    if len(headers) < len(pairs):
        headers = {}
        for name, value in pairs:
            headers[name] = headers[name] + b"," + value if name in headers else value
    return headers


def parse_read_request(
    scope: Mapping[str, Any], headers: Mapping[bytes, bytes]
) -> ReadRequest | None:
    """Parse a usual read; return None for any other request."""
    raw_path: bytes = scope["raw_path"]
    query: bytes = scope["query_string"]
    if (
        scope["method"] not in {"GET", "HEAD"}
        or headers.get(b"content-length", b"0") != b"0"
        or b"transfer-encoding" in headers
        or b"upgrade" in headers  # to a WebSocket, of which Flask has no routes
        or b"%" in raw_path
        or raw_path.startswith(b"//")  # which Flask reads as one
        or len(raw_path) + len(query) > URL_LONGEST
        or not _is_usual_host(headers.get(b"host", b""))
    ):
        return None
    condition = headers.get(b"if-none-match")
    if condition is not None and len(condition) > CONDITION_MAX:
        return None
    authorization, session = headers.get(b"authorization"), None
    if authorization is not None:
        token = bearer_token(authorization.decode("latin-1"))
        if not SESSION_TOKEN.fullmatch(token):
            return None
        session = hash_token(token)
    path, parameters = raw_path.decode("latin-1"), query.decode("latin-1")
    row = ROW.fullmatch(path)
    return ReadRequest(
        (row[1], True, parameters) if row else (path, False, parameters),
        row[2] if row else "",
        path,
        condition.decode("latin-1") if condition is not None else None,
        session,
    )


@lru_cache(maxsize=256)
def _is_usual_host(host: bytes) -> bool:
    return HOST.fullmatch(host.decode("latin-1")) is not None
