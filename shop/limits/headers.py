"""The headers of a limited response, and the answer that refuses a request.

X-RateLimit-* tell the policy that is nearest to its quota; RateLimit-Policy and RateLimit tell
every policy (draft-ietf-httpapi-ratelimit-headers-10). Seconds are rounded up, so that no client
comes back too early.
"""

from __future__ import annotations

import math
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from shop.errors import problem_response

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flask import Response

    from shop.quotas import Usage

# The same draft, section 5.1.
QUOTA_EXCEEDED = {
    "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
    "title": "Quota Exceeded",
}

# The requests that a policy counts, where they are not those of one client.
COUNTED = {
    "address": " of an address with all its sessions",
    "unknown_key": " with a key that nobody has",
}


def refuse(violated: Sequence[Usage]) -> Response:
    """Answer 429 with the policies that were exceeded."""
    detail, members, headers = refusal(violated)
    return problem_response(HTTPStatus.TOO_MANY_REQUESTS, detail, members=members, headers=headers)


def refusal(violated: Sequence[Usage]) -> tuple[str, dict[str, Any], dict[str, str]]:
    """Return the detail of the problem for violated policies, its members, and its headers."""
    exceeded = ", ".join(map(_exceeded, violated))
    members = QUOTA_EXCEEDED | {"violated-policies": [usage.policy for usage in violated]}
    wait = math.ceil(max(usage.wait for usage in violated))
    return f"More than {exceeded}.", members, {"Retry-After": str(wait)}


def _exceeded(usage: Usage) -> str:
    counted = COUNTED.get(usage.policy, "")
    cost = f", of which this one costs {usage.cost}" if usage.cost > 1 else ""
    return (
        f"{usage.quota} requests{counted} in {usage.period} seconds (policy {usage.policy}){cost}"
    )


def usage_headers(used: Sequence[Usage]) -> list[tuple[str, str]]:
    """Return the headers with the usage of each policy; none without a policy."""
    if not used:
        return []
    policies, limits, ranked = [], [], []
    for policy, quota, period, spent, reset, _, passes, _ in used:
        remaining, seconds = max(0, quota - spent), math.ceil(reset)
        policies.append(_policy_item(policy, quota, period))
        limits.append(f'"{policy}";r={remaining};t={seconds}')
        ranked.append((passes, remaining, -reset, quota, seconds))
    _, remaining, _, quota, seconds = min(ranked)
    return [
        ("X-RateLimit-Limit", str(quota)),
        ("X-RateLimit-Remaining", str(remaining)),
        ("X-RateLimit-Reset", str(seconds)),
        ("RateLimit-Policy", ", ".join(policies)),
        ("RateLimit", ", ".join(limits)),
    ]


@lru_cache
def _policy_item(policy: str, quota: int, period: int) -> str:
    return f'"{policy}";q={quota};w={period}'
