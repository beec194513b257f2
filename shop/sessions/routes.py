from __future__ import annotations

from typing import TYPE_CHECKING

from shop.caller import session_id
from shop.keys.auth import require_session
from shop.limits import limit
from shop.openapi import Blueprint
from shop.responses import private

from . import service
from .schemas import SessionSchema

if TYPE_CHECKING:
    from flask import Response

blueprint = Blueprint(
    "sessions",
    __name__,
    url_prefix="/sessions",
    description="Sessions of visitors without an account.",
)


@blueprint.route("", methods=["POST"])
@limit("write")
@limit("session")
@blueprint.response(201, SessionSchema)
def open_session() -> Response:
    """Open a session for a cart and its orders.

    Send the token with the calls of the cart and the orders, as `Authorization: Bearer TOKEN`. The
    session ends a day after its last use.
    """
    return private(service.open_session(), 201)


@blueprint.route("/current", methods=["DELETE"])
@limit("write")
@require_session
@blueprint.response(204)
@blueprint.problems(401)
def close_session() -> tuple[str, int]:
    """Close the session of the token, and delete its cart.

    The token is not valid any more, and only a key reads the orders that were made with it.
    """
    service.close_session(session_id())
    return "", 204
