"""The bodies of requests: how large they may be, and JSON that says one thing exactly."""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections import Counter
from decimal import Decimal
from json import JSONDecoder
from typing import TYPE_CHECKING, Any, NoReturn

from flask.globals import request_ctx
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import (
    BadRequest,
    HTTPException,
    RequestEntityTooLarge,
)

from shop.config import BODY_MAX
from shop.fields import Input
from shop.problems import InvalidJSONError, UnsupportedMediaTypeError, clip

if TYPE_CHECKING:
    from flask import Request
    from marshmallow import Schema


# As it is written: a lenient reader of the header takes what is no charset for none.
CHARSET = re.compile(r";\s*charset\b([^;]*)", re.IGNORECASE)
UTF_8 = re.compile(r'\s*=\s*("?)utf-?8\1\s*', re.IGNORECASE)


class JSONParser(FlaskParser):
    """Read a body as JSON whose numbers stay exact."""

    def get_default_request(self) -> Request:
        return request_ctx.request  # what `request` leads to: the way there costs more than a look

    def load_json(self, req: Request, schema: Schema) -> Any:  # noqa: ARG002
        _require_json(req)
        try:
            # A byte order mark before the text may be ignored (RFC 8259, section 8.1).
            return _decode(read_body(req).removeprefix(BOM_UTF8).decode())
        except (ValueError, RecursionError, ArithmeticError):
            raise InvalidJSONError("The body is not valid JSON in UTF-8.") from None


def _require_json(req: Request) -> None:
    """Raise UnsupportedMediaTypeError for a body that is declared as anything but plain JSON."""
    if req.mimetype != "application/json":
        raise UnsupportedMediaTypeError("Send JSON, with Content-Type: application/json.")
    charsets = CHARSET.findall(req.content_type or "")
    if charsets and [UTF_8.fullmatch(charset) is not None for charset in charsets] != [True]:
        raise UnsupportedMediaTypeError("Send JSON in UTF-8: it is read in no other charset.")
    if (req.content_encoding or "identity").lower() != "identity":
        raise UnsupportedMediaTypeError("Send the body as it is: no Content-Encoding is undone.")


def limit_body(req: Request, longest: int) -> None:
    """Hold a request to the limit of its route, whether the route reads a body or not.

    The body of a GET or a DELETE means nothing (RFC 9110, section 9.3), and is never read. Raises
    RequestEntityTooLarge for a length that is above the limit, before anything is read.
    """
    req.max_content_length = longest
    if (req.content_length or 0) > longest:
        raise RequestEntityTooLarge


def read_body(req: Request) -> bytes:
    """Return the body of a request. Raises BadRequest, RequestEntityTooLarge."""
    try:
        body = req.get_data()
    except HTTPException:
        raise
    except Exception:  # noqa: BLE001  (each server has its own error for broken chunks)
        raise BadRequest("The body cannot be read.") from None
    # Of a body without a length werkzeug reads that much, and does not tell that there is more.
    longest = req.max_content_length or BODY_MAX
    if req.content_length is None and len(body) >= longest and req.input_stream.read(1):
        raise RequestEntityTooLarge
    return body


def require_no_fields(req: Request) -> None:
    """Refuse a body, but for an empty object, where a route takes none."""
    if read_body(req):
        JSONParser().parse(Input(), req, location="json")


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of its members. Readers differ in which of two values of a name they take."""
    found = dict(members)
    if len(found) < len(members):
        names = Counter(name for name, _ in members)
        twice = next(name for name in names if names[name] > 1)
        raise InvalidJSONError(f'An object in the body has the name "{clip(twice)}" twice.')
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_decode = JSONDecoder(
    parse_float=Decimal, parse_constant=_no_constant, object_pairs_hook=_object
).decode
