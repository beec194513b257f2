"""The document of the whole API: its title, its security schemes, its components."""

from __future__ import annotations

from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any

import flask_smorest

from shop.version import VERSION

from .converter import PathPlugin, SchemaPlugin
from .docs_page import docs
from .headers import HEADERS
from .path_ids import LongId, RowId
from .problem_schemas import ProblemSchema

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

INFO = {
    "description": "An e-commerce catalogue and its orders: the catalogue is public, carts belong "
    "to sessions, which read the orders that were made of them, and all else needs a key.\n\n"
    "Amounts are decimals in strings, times are RFC 3339 in UTC, and errors are problem documents "
    "(RFC 9457). Each answer tells how many requests its caller has left.",
    "contact": {"name": "The operators of this shop"},
    "license": {"name": "MIT", "identifier": "MIT"},
}
SERVERS = [{"url": "/", "description": "The service that this document comes from."}]
SECURITY = {
    "key": "An API key with the scope that the call needs.",
    "session": "The token of a session, from POST /sessions.",
}


_description_lock = Lock()


class Api(flask_smorest.Api):  # type: ignore[misc]
    """The API and its document. `shop.errors` answers errors."""

    ERROR_SCHEMA = ProblemSchema
    DEFAULT_ERROR_RESPONSE_NAME = None

    def init_app(self, app: Flask, **options: Any) -> None:
        # Each call describes the views of a blueprint; workers and commands start without them.
        self.pending_descriptions: list[Callable[[], None]] = []
        app.config |= {
            "API_TITLE": "shop",
            "API_VERSION": VERSION,
            "OPENAPI_VERSION": "3.1.0",
        }
        app.url_map.converters |= {"row_id": RowId, "long_id": LongId}
        plugins = {"flask_plugin": PathPlugin(), "marshmallow_plugin": SchemaPlugin()}
        super().init_app(app, spec_kwargs=plugins, **options)
        self.spec.to_dict = partial(_describe_views, self.pending_descriptions, self.spec.to_dict)
        for converter in (RowId, LongId):
            self.register_converter(converter, lambda one: one.schema())
        self.spec.options |= {"info": INFO, "servers": SERVERS}
        for name, description in SECURITY.items():
            scheme = {"type": "http", "scheme": "bearer", "description": description}
            self.spec.components.security_scheme(name, scheme)
        for name, (description, schema) in HEADERS.items():
            self.spec.components.header(name, {"description": description, "schema": schema})
        app.register_blueprint(docs)

    def _register_error_handlers(self) -> None:
        """Register none: `shop.errors` handles errors."""

    # These register no components, because no call would refer to them.

    def _register_responses(self) -> None: ...

    def _register_etag_headers(self) -> None: ...

    def _register_pagination_header(self) -> None: ...


def _describe_views(
    pending_descriptions: list[Callable[[], None]], to_dict: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """Return the document; the first call describes all views in it."""
    with _description_lock:
        while pending_descriptions:
            pending_descriptions[0]()
            del pending_descriptions[0]
        return to_dict()
