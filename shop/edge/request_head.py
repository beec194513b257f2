"""Check the head of a request (RFC 9112), where the parser does not.

The functions raise the error that refuses the request.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from shop.config import LARGE_BODY_MAX
from shop.problems import (
    UnknownMethodError,
    UnknownTransferCodingError,
    UnreadableRequestError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shop.problems import ShopError

    Headers = Sequence[tuple[bytes, bytes]]

# RFC 9112, section 3.2: a name, an address, [an address], and a port (RFC 3986, section 3.2.2).
HOST = re.compile(
    rb"(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)(?::[0-9]{0,5})?"
)
ORIGIN = re.compile(rb"https?://[^/?#]*", re.IGNORECASE)
# A first line with another method than the usual ones, wherever it begins in what has come.
USUAL = rb"(?:GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) "
LINE = re.compile(rb"(?:^|\n)(?!%b)[A-Za-z0-9!#$%%&'*+.^_`|~-]+ [!-~]+ HTTP/1\.[01]\r\n" % USUAL)


def check_version(version: str) -> None:
    if version not in {"1.0", "1.1"}:
        raise UnreadableRequestError("The service speaks HTTP/1.1 and HTTP/1.0.")


def check_host(headers: Headers, version: str) -> None:
    hosts = [value for name, value in headers if name == b"host"]
    if len(hosts) != 1 and (hosts or version == "1.1"):
        raise UnreadableRequestError("A request has one header Host.")
    if hosts and not _is_host(hosts[0]):
        raise UnreadableRequestError("The header Host names no host.")


def parse_target(url: bytes, method: str) -> bytes:
    """Return the path and the query of a request target (RFC 9112, section 3.2)."""
    if method == "CONNECT":
        raise UnknownMethodError("The service connects nobody to another.")
    if not url.startswith(b"/"):
        if absolute := ORIGIN.match(url):
            url = url[absolute.end() :]
            url = url if url.startswith(b"/") else b"/" + url
        elif url != b"*" or method != "OPTIONS":
            raise UnreadableRequestError("The request has no target that can be read.")
    if b"#" in url:
        raise UnreadableRequestError("The target of a request has no fragment.")
    return url


def body_length(headers: Headers, version: str) -> int:
    """Return the announced bytes of the body; for one in chunks, the most that it may have."""
    length = 0
    for name, value in headers:
        if name == b"content-length":
            length = int(value)
        elif name == b"transfer-encoding":
            if version == "1.0":
                raise UnreadableRequestError("HTTP/1.0 has no Transfer-Encoding.")
            if value.lower() != b"chunked":
                raise UnknownTransferCodingError("The service decodes chunked bodies alone.")
            length = LARGE_BODY_MAX
    return length


def framing_header(headers: Headers) -> bytes:
    """Return the header that says where the body ends."""
    for name, value in headers:
        if name in {b"content-length", b"transfer-encoding"}:
            return name + b": " + value
    return b"Content-Length: 0"


def unreadable_error() -> UnreadableRequestError:
    return UnreadableRequestError("This is no request of HTTP/1.1 that can be read.")


def unknown_method_error(data: bytes) -> ShopError:
    """Return the error for a method that the parser does not know: unknown, or unreadable."""
    if LINE.search(data):
        return UnknownMethodError("The service knows no such method.")
    return unreadable_error()


@lru_cache(maxsize=1024)
def _is_host(value: bytes) -> bool:
    return HOST.fullmatch(value) is not None
