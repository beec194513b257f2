"""Blueprints whose routes document themselves."""

from __future__ import annotations

from copy import deepcopy
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import flask_smorest
from flask import current_app
from flask.globals import request_ctx

from shop.config import BODY_MAX
from shop.errors import PROBLEM_JSON

from .bodies import JSONParser, limit_body, refuse_fields
from .converter import operation_id
from .headers import CACHE_HEADERS, IDEMPOTENCY_KEY, IF_MATCH, IF_NONE_MATCH, LIMIT_HEADERS
from .problem_schemas import PROBLEM_HEADERS, PROBLEM_SCHEMAS, ProblemSchema
from .query_parameters import check_query

if TYPE_CHECKING:
    from collections.abc import Callable

    from marshmallow import Schema

# The methods whose bodies have a defined meaning (RFC 9110, section 9.3).
METHODS_WITH_BODIES = {"POST", "PUT", "PATCH"}


class Blueprint(flask_smorest.Blueprint):  # type: ignore[misc]
    """A blueprint whose routes document themselves."""

    ARGUMENTS_PARSER = JSONParser()
    REPLAYED_HEADER = {"Idempotent-Replayed": "Idempotent-Replayed"}  # noqa: RUF012

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.before_request(_check_request)
        self._prepare_doc_cbks.append(self._add_common_answers)

    def register_views_in_doc(self, api: Any, *arguments: Any, **options: Any) -> None:
        """Delay the description of the views until the document is first read."""
        describe = super().register_views_in_doc
        api.pending_descriptions.append(partial(describe, api, *arguments, **options))

    def arguments(
        self, schema: Any, *, location: str = "json", body_max: int = BODY_MAX, **options: Any
    ) -> Callable[[Any], Any]:
        """Declare the fields of a body of `body_max` bytes at most, or the query's parameters."""
        if isinstance(schema, type):
            schema = schema()  # webargs would make an instance for each request
        declare = super().arguments(schema, location=location, **options)

        def decorate(view: Any) -> Any:
            declared = declare(view)
            if location == "query":
                declared.parameters = _parameter_names(schema)
            else:
                declared.body_max = declared._apidoc["body_max"] = body_max  # noqa: SLF001  (its own)
            return declared

        return decorate

    def _store_endpoint_docs(self, endpoint: str, view: Any, *args: Any, **options: Any) -> None:
        super()._store_endpoint_docs(endpoint, view, *args, **options)
        for method in options.get("methods", ["GET"]):
            info = self._docs[endpoint][method.lower()]
            info.setdefault("manual_doc", {})["operationId"] = operation_id(view.__name__)

    def alt_response(self, *args: Any, **options: Any) -> Callable[[Any], Any]:
        return _without_wrapper(super().alt_response(*args, **options))

    @staticmethod
    def doc(**documentation: Any) -> Callable[[Any], Any]:
        return _without_wrapper(flask_smorest.Blueprint.doc(**documentation))

    def problems(self, *statuses: int) -> Callable[[Any], Any]:
        """Document the problems of a route, besides those of every route."""

        def decorate(view: Any) -> Any:
            for status in statuses:
                view = self.alt_response(status, schema=ProblemSchema)(view)
            return view

        return decorate

    def conditional(self, view: Any) -> Any:
        """Document a write with `If-Match`."""
        view = self.doc(parameters=[IF_MATCH])(view)
        return self.problems(400, 412)(view)

    def idempotent(self, view: Any) -> Any:
        """Document a write with `Idempotency-Key`, which is carried out once for each key."""
        view = self.doc(parameters=[IDEMPOTENCY_KEY])(view)
        return self.problems(400, 409, 422)(view)

    def cached(self, schema: type[Schema], *headers: str) -> Callable[[Any], Any]:
        """Document a cached read: its answer, its headers, and 304."""
        names = _header_references(*CACHE_HEADERS, *headers)

        def decorate(view: Any) -> Any:
            view = self.response(200, schema, headers=names)(view)
            view = self.alt_response(304, headers=names, success=True)(view)
            return self.problems(400)(view)

        return decorate

    @staticmethod
    def _add_common_answers(
        doc: dict[str, Any], info: dict[str, Any], *, method: str, **_context: Any
    ) -> dict[str, Any]:
        """Add the problems that every call can answer with, and the headers of every answer."""
        doc.setdefault("security", [])  # public, unless the route says otherwise
        responses = doc.setdefault("responses", {})
        if HTTPStatus.NOT_MODIFIED in map(int, responses):
            doc.setdefault("parameters", []).append(deepcopy(IF_NONE_MATCH))
        statuses = {413, 422, 429, 500, 503}
        if method.upper() in METHODS_WITH_BODIES:
            statuses |= {400, 415}
        for status in statuses | {
            int(status) for status in responses if int(status) >= HTTPStatus.BAD_REQUEST
        }:
            responses[status] = {
                "description": HTTPStatus(status).phrase,
                "content": {PROBLEM_JSON: {"schema": PROBLEM_SCHEMAS.get(status, ProblemSchema)}},
                "headers": _header_references(*PROBLEM_HEADERS.get(status, ())),
            }
        longest = info.get("body_max", BODY_MAX)
        responses[413]["description"] += f": the body has more than {longest} bytes"
        for response in responses.values():
            response["headers"] = response.get("headers", {}) | _header_references(
                "X-Request-ID", *LIMIT_HEADERS
            )
        return doc


def _without_wrapper(document: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a decorator that documents a view and returns the view itself, without a wrapper."""

    def decorate(view: Any) -> Any:
        view._apidoc = document(view)._apidoc  # noqa: SLF001  (where the library keeps it)
        return view

    return decorate


def _check_request() -> None:
    """Refuse a body or parameters that the route does not declare, before its view is called."""
    req = request_ctx.request
    view = current_app.view_functions[req.endpoint or ""]
    limit_body(req, getattr(view, "body_max", BODY_MAX))
    if req.query_string:
        check_query(req, getattr(view, "parameters", ()))
    if req.method in METHODS_WITH_BODIES and not hasattr(view, "body_max"):
        refuse_fields(req)


def _parameter_names(schema: Schema) -> tuple[str, ...]:
    return tuple(field.data_key or name for name, field in schema.fields.items())


def _header_references(*names: str) -> dict[str, str]:
    return {name: name for name in names}
