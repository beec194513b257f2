"""The API's document (OpenAPI 3.1) and how requests are parsed to it.

Routes declare what is theirs: schemas, and the problems that they can answer with. What holds
for every call (limits, request ids, malformed requests, faults) is added here.
"""

from __future__ import annotations

import json
from decimal import Decimal
from http import HTTPStatus
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import flask
import flask_smorest
from marshmallow import Schema, fields
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import (
    BadRequest,
    HTTPException,
    NotFound,
    RequestEntityTooLarge,
    UnsupportedMediaType,
)
from werkzeug.routing import IntegerConverter

from .config import BODY_MAX
from .errors import PROBLEM
from .fields import INTEGER_MAX
from .version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask, Request


class FieldErrorSchema(Schema):
    field = fields.String(required=True)
    detail = fields.String(required=True)


class ProblemSchema(Schema):
    """A problem document (RFC 9457)."""

    type = fields.String(required=True)
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    detail = fields.String(required=True)
    instance = fields.String(required=True)
    request_id = fields.String(required=True)
    errors = fields.List(fields.Nested(FieldErrorSchema))


class QuotaExceededSchema(ProblemSchema):
    """A problem of the type quota-exceeded (draft-ietf-httpapi-ratelimit-headers-10)."""

    violated_policies = fields.List(fields.String(), data_key="violated-policies", required=True)


class JSONParser(FlaskParser):
    """Read a body as JSON whose numbers stay exact."""

    def load_json(self, req: Request, schema: Schema) -> Any:  # noqa: ARG002
        if not req.is_json:
            raise UnsupportedMediaType("Send JSON, with Content-Type: application/json.")
        try:
            text = read_body(req).decode()
            return json.loads(text, parse_float=Decimal, parse_constant=_no_constant)
        except (ValueError, RecursionError, ArithmeticError):
            raise BadRequest("The body is not valid JSON.") from None


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


LIMITED = (
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "RateLimit-Policy",
    "RateLimit",
)
CACHED = ("X-Cache", "ETag", "Cache-Control", "Warning")

INTEGER = {"type": "integer", "minimum": 0}
HEADERS: dict[str, tuple[str, dict[str, Any]]] = {
    "X-Request-ID": ("The request's id, also in the logs.", {"type": "string"}),
    "X-RateLimit-Limit": ("The quota of the policy nearest to it.", INTEGER),
    "X-RateLimit-Remaining": ("What is left of it.", INTEGER),
    "X-RateLimit-Reset": ("Seconds until some of what is used is free again.", INTEGER),
    "RateLimit-Policy": (
        "Every policy: its quota (q) in a window of w seconds.",
        {"type": "string"},
    ),
    "RateLimit": (
        "Every policy: what remains (r), and the seconds until there is more (t).",
        {"type": "string"},
    ),
    "Retry-After": ("Seconds to wait.", INTEGER),
    "X-Cache": ("How the documents were had.", {"enum": ["HIT", "MISS", "BYPASS", "STALE"]}),
    "Warning": (
        "110 with X-Cache: STALE, where CACHE_STALE_IF_ERROR allows it.",
        {"type": "string"},
    ),
    "ETag": ("The version of the body, for If-None-Match.", {"type": "string"}),
    "Cache-Control": ("no-cache: ask again each time.", {"type": "string"}),
    "Link": ("Neighbouring pages: rel=prev, rel=next (RFC 8288).", {"type": "string"}),
    "Idempotent-Replayed": (
        "true: this is the answer to an earlier request with the same Idempotency-Key.",
        {"type": "string"},
    ),
    "Location": ("The address of what was made.", {"type": "string"}),
    "WWW-Authenticate": ("How to send a key.", {"type": "string"}),
}
PROBLEM_HEADERS = {
    401: ("WWW-Authenticate",),
    429: ("Retry-After",),
    503: ("Retry-After",),
}
PROBLEM_SCHEMAS = {429: QuotaExceededSchema}
IF_NONE_MATCH = (
    "If-None-Match",
    "An ETag: if the answer still has it, the answer is 304 without a body.",
)
IF_MATCH = (
    "If-Match",
    "The ETag that was read: if it has changed since, the answer is 412, and nothing is done.",
)
IDEMPOTENCY_KEY = (
    "Idempotency-Key",
    "New for each request: sent again within 24 hours, it gets the first answer once more.",
)


SECURITY = {
    "key": "An API key with the scope.",
    "session": "The token of a session, from POST /sessions.",
}


class RowId(IntegerConverter):
    """The id of a row in a path. What cannot be one is not found, whatever the method."""

    regex = "[1-9][0-9]{0,9}"
    SCHEMA = {"type": "integer", "minimum": 1, "maximum": INTEGER_MAX}  # noqa: RUF012

    def to_python(self, value: str) -> int:
        # The bounds of werkzeug's own converter answer 405 where a path has several routes.
        if int(value) > INTEGER_MAX:
            raise NotFound
        return int(value)


class Blueprint(flask_smorest.Blueprint):  # type: ignore[misc]
    """A blueprint whose routes document themselves."""

    ARGUMENTS_PARSER = JSONParser()
    REPLAYED = {"Idempotent-Replayed": "Idempotent-Replayed"}  # noqa: RUF012

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._prepare_doc_cbks.append(self._complete)

    def problems(self, *statuses: int) -> Callable[[Any], Any]:
        """Document the problems that a route can answer with, besides what any route can."""

        def decorate(view: Any) -> Any:
            for status in statuses:
                view = self.alt_response(status, schema=ProblemSchema)(view)
            return view

        return decorate

    def conditional(self, view: Any) -> Any:
        """Document a write that can depend on what the caller has read."""
        view = self.doc(parameters=[_header(*IF_MATCH)])(view)
        return self.problems(412)(view)

    def once(self, view: Any) -> Any:
        """Document a write that is carried out once for each Idempotency-Key."""
        view = self.doc(parameters=[_header(*IDEMPOTENCY_KEY)])(view)
        return self.problems(400, 409, 422)(view)

    def cached(self, schema: type[Schema], *headers: str) -> Callable[[Any], Any]:
        """Document a cached read: its answer, its headers, and 304."""
        names = _refer(*CACHED, *headers)

        def decorate(view: Any) -> Any:
            view = self.response(200, schema, headers=names)(view)
            return self.alt_response(304, headers=names, success=True)(view)

        return decorate

    @staticmethod
    def _complete(doc: dict[str, Any], _info: dict[str, Any], **_context: Any) -> dict[str, Any]:
        """Add what any call can answer, as problem documents, and the headers that all have."""
        responses = doc.setdefault("responses", {})
        if HTTPStatus.NOT_MODIFIED in map(int, responses):
            doc.setdefault("parameters", []).append(_header(*IF_NONE_MATCH))
        statuses = {429, 500, 503}
        if "requestBody" in doc:
            statuses |= {400, 413, 415}
        for status in statuses | {
            int(status) for status in responses if int(status) >= HTTPStatus.BAD_REQUEST
        }:
            responses[status] = {
                "description": HTTPStatus(status).phrase,
                "content": {PROBLEM: {"schema": PROBLEM_SCHEMAS.get(status, ProblemSchema)}},
                "headers": _refer(*PROBLEM_HEADERS.get(status, ())),
            }
        for response in responses.values():
            response["headers"] = response.get("headers", {}) | _refer("X-Request-ID", *LIMITED)
        return doc


def _header(name: str, description: str) -> dict[str, Any]:
    schema = {"type": "string"}
    return {"name": name, "in": "header", "description": description, "schema": schema}


def _refer(*names: str) -> dict[str, str]:
    return {name: name for name in names}


class Api(flask_smorest.Api):  # type: ignore[misc]
    """The API and its document; errors are answered by `shop.errors`."""

    ERROR_SCHEMA = ProblemSchema
    DEFAULT_ERROR_RESPONSE_NAME = None

    def init_app(self, app: Flask, **options: Any) -> None:
        app.config |= {
            "API_TITLE": "shop",
            "API_VERSION": VERSION,
            "OPENAPI_VERSION": "3.1.0",
        }
        app.url_map.converters["row_id"] = RowId
        super().init_app(app, **options)
        self.register_converter(RowId, lambda _: RowId.SCHEMA)
        self.spec.options["info"] = {
            "description": "An e-commerce catalogue and its orders: the catalogue is public, "
            "carts belong to sessions, all else needs a key.",
            "license": {"name": "MIT", "identifier": "MIT"},
        }
        for name, description in SECURITY.items():
            scheme = {"type": "http", "scheme": "bearer", "description": description}
            self.spec.components.security_scheme(name, scheme)
        for name, (description, schema) in HEADERS.items():
            self.spec.components.header(name, {"description": description, "schema": schema})
        app.register_blueprint(docs)

    def _register_error_handlers(self) -> None:
        """Leave errors to `shop.errors`."""


docs = flask.Blueprint("docs", __name__)
DOCS_POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:"
SWAGGER_UI = Path(str(resources.files("flask_swagger_ui") / "dist"))


@docs.get("/openapi.json")
def document() -> dict[str, Any]:
    """Answer with the document of the whole API."""
    apis = flask.current_app.extensions["flask-smorest"]["apis"]
    spec: dict[str, Any] = apis[""]["ext_obj"].spec.to_dict()
    return spec


@docs.get("/docs")
def page() -> flask.Response:
    """Show a page to read about the API and to try it."""
    response = flask.make_response(flask.render_template("docs.html"))
    response.headers["Content-Security-Policy"] = DOCS_POLICY
    return response


@docs.get("/docs/assets/<path:name>")
def asset(name: str) -> flask.Response:
    """Serve the page's scripts and styles, from the package that brings them."""
    return flask.send_from_directory(SWAGGER_UI, name, max_age=86_400)
