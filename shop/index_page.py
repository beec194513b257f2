"""Answer `/` with the addresses of the API: a page for browsers, JSON for others."""

from __future__ import annotations

import flask

from .problem_pages import PAGE_HEADERS
from .version import VERSION

blueprint = flask.Blueprint("index_page", __name__)

INDEX = {
    "name": "shop",
    "version": VERSION,
    "documentation": "/docs",
    "openapi": "/openapi.json",
    "problems": "/problems",
    "health": "/health_check",
    "products": "/products",
    "categories": "/categories",
}
LIBRARY_COMMANDS = {"limiter", "openapi"}  # commands that operators do not need


@blueprint.get("/", strict_slashes=False)  # also for a request without a path
def index() -> flask.Response:
    """Answer with HTML if the request prefers it, as browsers do, else with JSON."""
    forms = ("application/json", "text/html")
    if flask.request.accept_mimetypes.best_match(forms) == "text/html":
        response = flask.make_response(flask.render_template("index.html", commands=_commands()))
        response.headers.extend(PAGE_HEADERS)
    else:
        response = flask.jsonify(INDEX)
    response.vary.add("Accept")
    return response


def _commands() -> dict[str, str]:
    """Return the operators' commands, each with its help."""
    found = flask.current_app.cli.commands
    names = sorted(found.keys() - LIBRARY_COMMANDS)
    return {name: found[name].get_short_help_str(100) for name in names}
