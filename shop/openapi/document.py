"""The document of the whole API: what it is called, how callers say who they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import flask_smorest

from shop.version import VERSION

from .headers import HEADERS
from .page import docs
from .paths import RowId
from .problems import ProblemSchema

if TYPE_CHECKING:
    from flask import Flask

SECURITY = {
    "key": "An API key with the scope.",
    "session": "The token of a session, from POST /sessions.",
}


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
