"""The bodies of requests: how large they may be, and JSON that says one thing exactly."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NoReturn

from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import (
    BadRequest,
    HTTPException,
    RequestEntityTooLarge,
    UnsupportedMediaType,
)

from shop.config import BODY_MAX
from shop.problems import InvalidJSONError

if TYPE_CHECKING:
    from flask import Request
    from marshmallow import Schema


class JSONParser(FlaskParser):
    """Read a body as JSON whose numbers stay exact."""

    def load_json(self, req: Request, schema: Schema) -> Any:  # noqa: ARG002
        if not req.is_json:
            raise UnsupportedMediaType("Send JSON, with Content-Type: application/json.")
        try:
            text = read_body(req).decode()
            return json.loads(text, parse_float=Decimal, parse_constant=_no_constant)
        except (ValueError, RecursionError, ArithmeticError):
            raise InvalidJSONError("The body is not valid JSON.") from None


def limit_body(req: Request, longest: int) -> None:
    """Hold a request to the limit of its route, whether the route reads a body or not.

    Raises RequestEntityTooLarge for a length that is above it, before anything is read.
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


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
