from __future__ import annotations

import math
from http import HTTPStatus
from typing import Any

from shop.caller import current_caller
from shop.facts import current_facts
from shop.openapi import Blueprint

from . import limit
from .schemas import RateLimitSchema

blueprint = Blueprint("limits", __name__, description="The quotas of the caller.")


@blueprint.route("/rate_limit")
@limit("default", cost=0)
@limit("write", cost=0)
@limit("session", cost=0)
@blueprint.response(200, RateLimitSchema)
@blueprint.doc(security=[{}, {"key": []}, {"session": []}])
def get_rate_limit() -> tuple[dict[str, Any], int, dict[str, str]]:
    """Get the caller's quotas, and what is left of them.

    This call is free, with an API key, with a session, or without either.
    """
    document = {
        "client": current_caller().client,
        "tier": current_caller().tier,
        "policies": [
            {
                "policy": usage.policy,
                "quota": usage.quota,
                "window": usage.period,
                "remaining": usage.remaining,
                "reset": math.ceil(usage.reset),
            }
            for usage in current_facts().usages
        ],
    }
    return document, HTTPStatus.OK, {"Cache-Control": "no-store"}
