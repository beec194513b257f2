"""The headers of a limited response.

X-RateLimit-* tell the policy that is nearest to its quota. RateLimit-Policy and RateLimit tell
every policy (draft-ietf-httpapi-ratelimit-headers-10). Retry-After comes with 429 alone.
"""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import TYPE_CHECKING

from shop.errors import problem

from .window import Usage, usages

if TYPE_CHECKING:
    from flask import Response
    from flask_limiter import RateLimitExceeded


def refuse(_error: RateLimitExceeded) -> Response:
    """Answer 429 with the policy that was exceeded."""
    usage = _nearest(usages())
    return problem(
        HTTPStatus.TOO_MANY_REQUESTS,
        f"More than {usage.quota} requests in {usage.period} seconds (policy {usage.policy}).",
    )


def _nearest(used: list[Usage]) -> Usage:
    return min(used, key=lambda usage: (usage.passed, usage.remaining, -usage.reset))


def add(response: Response) -> Response:
    used = usages()
    if not used:
        return response
    nearest = _nearest(used)
    headers = response.headers
    headers["X-RateLimit-Limit"] = str(nearest.quota)
    headers["X-RateLimit-Remaining"] = str(nearest.remaining)
    headers["X-RateLimit-Reset"] = str(math.ceil(nearest.reset))
    headers["RateLimit-Policy"] = ", ".join(
        f'"{usage.policy}";q={usage.quota};w={usage.period}' for usage in used
    )
    headers["RateLimit"] = ", ".join(
        f'"{usage.policy}";r={usage.remaining};t={math.ceil(usage.reset)}' for usage in used
    )
    if response.status_code == HTTPStatus.TOO_MANY_REQUESTS:
        headers["Retry-After"] = str(math.ceil(nearest.reset) or 1)
    return response
