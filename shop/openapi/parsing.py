"""How a request is read: its body as exact JSON, and the ids in its path."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NoReturn

from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import (
    BadRequest,
    HTTPException,
    NotFound,
    RequestEntityTooLarge,
    UnsupportedMediaType,
)
from werkzeug.routing import IntegerConverter

from shop.config import BODY_MAX
from shop.fields import INTEGER_MAX
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


def read_body(req: Request) -> bytes:
    """Return the body of a request. Raises BadRequest, RequestEntityTooLarge."""
    try:
        body = req.get_data()
    except HTTPException:
        raise
    except Exception:  # noqa: BLE001  (each server has its own error for broken chunks)
        raise BadRequest("The body cannot be read.") from None
    # Of a body without a length werkzeug reads that much, and does not tell that there is more.
    if req.content_length is None and len(body) >= BODY_MAX:
        raise RequestEntityTooLarge
    return body


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


class RowId(IntegerConverter):
    """The id of a row in a path. What cannot be one is not found, whatever the method."""

    regex = "[1-9][0-9]{0,9}"
    SCHEMA = {"type": "integer", "minimum": 1, "maximum": INTEGER_MAX}  # noqa: RUF012

    def to_python(self, value: str) -> int:
        # The bounds of werkzeug's own converter answer 405 where a path has several routes.
        if int(value) > INTEGER_MAX:
            raise NotFound
        return int(value)
