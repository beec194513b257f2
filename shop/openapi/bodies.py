"""Read the bodies of requests: check their size, and parse exact, unambiguous JSON."""

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


# The charset is read from the header itself: werkzeug would take a malformed one for none.
CHARSET = re.compile(r";\s*charset\b([^;]*)", re.IGNORECASE)
UTF_8 = re.compile(r'\s*=\s*("?)utf-?8\1\s*', re.IGNORECASE)


class JSONParser(FlaskParser):
    """Read a body as JSON whose numbers stay exact."""

    def get_default_request(self) -> Request:
        return request_ctx.request  # faster than `request`, which leads here

    def load_json(self, req: Request, schema: Schema) -> Any:  # noqa: ARG002
        _check_content_type(req)
        try:
            # A byte order mark before the text may be ignored (RFC 8259, section 8.1).
            return _decode(read_body(req).removeprefix(BOM_UTF8).decode())
        except (ValueError, RecursionError, ArithmeticError):
            raise InvalidJSONError("The body is not valid JSON in UTF-8.") from None


def _check_content_type(req: Request) -> None:
    """Raise UnsupportedMediaTypeError unless the headers declare plain JSON in UTF-8."""
    if req.mimetype != "application/json":
        raise UnsupportedMediaTypeError("Send JSON, with Content-Type: application/json.")
    charsets = CHARSET.findall(req.content_type or "")
    if charsets and [UTF_8.fullmatch(charset) is not None for charset in charsets] != [True]:
        raise UnsupportedMediaTypeError("Send JSON in UTF-8: it is read in no other charset.")
    if (req.content_encoding or "identity").lower() != "identity":
        raise UnsupportedMediaTypeError("Send the body as it is: no Content-Encoding is undone.")


def limit_body(req: Request, longest: int) -> None:
    """Set the size limit of a request's body, whether its route reads the body or not.

    The body of a GET or a DELETE has no meaning (RFC 9110, section 9.3), and is never read. Raises
    RequestEntityTooLarge for a longer Content-Length, before anything is read.
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
    # Without a Content-Length, werkzeug reads up to the limit, and does not tell if more follows.
    longest = req.max_content_length or BODY_MAX
    if req.content_length is None and len(body) >= longest and req.input_stream.read(1):
        raise RequestEntityTooLarge
    return body


def refuse_fields(req: Request) -> None:
    """Refuse a body where a route takes none; an empty object is allowed."""
    if read_body(req):
        JSONParser().parse(Input(), req, location="json")


def _parse_object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object. Refuse a repeated name: parsers differ in the value that they take."""
    parsed = dict(members)
    if len(parsed) < len(members):
        names = Counter(name for name, _ in members)
        twice = next(name for name in names if names[name] > 1)
        raise InvalidJSONError(f'An object in the body has the name "{clip(twice)}" twice.')
    return parsed


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_decode = JSONDecoder(
    parse_float=Decimal, parse_constant=_refuse_constant, object_pairs_hook=_parse_object
).decode
