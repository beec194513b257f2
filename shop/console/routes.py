from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shop.keys.auth import require_scope
from shop.limits import limit
from shop.openapi import Blueprint

from . import service
from .schemas import (
    CacheClearInput,
    ClearedCacheSchema,
    LimitModeInput,
    LimitModeSchema,
    QuotaResetInput,
    QuotaResetSchema,
    ServiceStatusSchema,
)

if TYPE_CHECKING:
    Answer = tuple[dict[str, Any], int, dict[str, str]]

READ, WRITE = "ops:read", "ops:write"
NO_STORE = {"Cache-Control": "no-store"}
blueprint = Blueprint(
    "console", __name__, url_prefix="/ops", description="The state of the service, for operators."
)


@blueprint.route("/status")
@require_scope(READ)
@blueprint.response(200, ServiceStatusSchema)
@blueprint.problems(401, 403)
def get_service_status() -> Answer:
    """Get the state of the whole service.

    The numbers of all hosts, which report every five seconds. Without Redis they are those of the
    host that answers.
    """
    return service.status(), 200, NO_STORE


@blueprint.route("/cache/clear", methods=["POST"])
@limit("write")
@require_scope(WRITE)
@blueprint.arguments(CacheClearInput)
@blueprint.response(200, ClearedCacheSchema)
@blueprint.problems(401, 403)
def clear_cache(body: dict[str, str]) -> Answer:
    """Forget all cached documents of a family.

    The next read of each is a miss. Redis frees their memory later.
    """
    service.clear_family(body["family"])
    return body, 200, NO_STORE


@blueprint.route("/limits/reset", methods=["POST"])
@limit("write")
@require_scope(WRITE)
@blueprint.arguments(QuotaResetInput)
@blueprint.response(200, QuotaResetSchema)
@blueprint.problems(401, 403)
def reset_client_quota(body: dict[str, str]) -> Answer:
    """Give a client its whole quota again.

    Those are the quotas of all policies that are counted for it.
    """
    return {**body, "had_used": service.reset_client(body["client"])}, 200, NO_STORE


@blueprint.route("/limits/mode", methods=["PUT"])
@limit("write")
@require_scope(WRITE)
@blueprint.arguments(LimitModeInput)
@blueprint.response(200, LimitModeSchema)
@blueprint.problems(401, 403)
def set_limit_mode(body: dict[str, Any]) -> Answer:
    """Set the mode of the limits for a time.

    It reaches all workers within five seconds. A Redis that is emptied ends it.
    """
    return service.set_limit_mode(body["mode"], body["seconds"]), 200, NO_STORE


@blueprint.route("/limits/mode", methods=["DELETE"])
@limit("write")
@require_scope(WRITE)
@blueprint.response(204)
@blueprint.problems(401, 403)
def reset_limit_mode() -> None:
    """Let the configured mode of the limits count again.

    It reaches all workers within five seconds.
    """
    service.reset_limit_mode()
