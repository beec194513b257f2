"""`/openapi.json`, and the page at `/docs` that shows this document."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import flask

docs = flask.Blueprint("docs", __name__)
DOCS_POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:"
SWAGGER_UI = Path(str(resources.files("flask_swagger_ui") / "dist"))


@docs.get("/openapi.json")
def document() -> dict[str, Any]:
    """Return the document of the whole API."""
    apis = flask.current_app.extensions["flask-smorest"]["apis"]
    spec: dict[str, Any] = apis[""]["ext_obj"].spec.to_dict()
    return spec


@docs.get("/docs", strict_slashes=False)
def page() -> flask.Response:
    """Return the page that shows the API and tries its calls."""
    response = flask.make_response(flask.render_template("docs.html"))
    response.headers["Content-Security-Policy"] = DOCS_POLICY
    return response


@docs.get("/docs/assets/<path:name>")
def asset(name: str) -> flask.Response:
    """Return a script or a style of the page, from the package of Swagger UI."""
    return flask.send_from_directory(SWAGGER_UI, name, max_age=86_400)
