"""Answer `/ops` with the operators' page, which is empty: its script fetches `/ops/status`.

The page has no limits, so that it opens where an address has used up its quota: that is when it is
needed. To refuse it would cost as much.
"""

from __future__ import annotations

import flask
from werkzeug.exceptions import NotFound

from .limits import limiter

blueprint = flask.Blueprint("ops_page", __name__, url_prefix="/ops")

ASSETS = {"ops.css", "ops.js"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)


@blueprint.get("", strict_slashes=False)
@limiter.exempt
def page() -> flask.Response:
    response = flask.make_response(flask.render_template("ops.html"))
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["Cache-Control"] = "no-cache"
    return response


@blueprint.get("/assets/<name>")
@limiter.exempt
def asset(name: str) -> flask.Response:
    if name not in ASSETS:
        raise NotFound
    return flask.current_app.send_static_file(name)
