"""Named rate limits: declared with Flask-Limiter, counted in Redis by all workers together.

    @blueprint.route("")
    @limit("default", cost=2)   # the cost of the route in the policy that every route has
    @limit("write")             # one more policy

The policies are in `policies.py`, their numbers in `shop.config`. The client of a request is
`current_caller().client`, and its address `current_caller().address`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask_limiter import ApplicationLimit
from flask_limiter.util import get_qualified_name

from shop.caller import current_caller
from shop.config import current_settings

from .extension import Limiter, limit_mode
from .policies import POLICIES, quota
from .request_cost import PerRows, PerRowsOfSession
from .storage import SCHEME, STRATEGY

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

    from .request_cost import Cost

__all__ = ["PerRows", "PerRowsOfSession", "init_app", "limit", "limit_mode", "limiter"]


def _numbers(policy: str) -> Callable[[], str]:
    """Return a function that tells Flask-Limiter a policy's numbers; an empty text is no limit."""

    def numbers() -> str:
        settings = current_settings()
        calls = quota(settings, policy, current_caller().tier)
        return f"{calls} per {settings.rate_limit_period} second" if calls else ""

    return numbers


limiter = Limiter(
    lambda: current_caller().client,
    application_limits=[
        ApplicationLimit(_numbers("default"), scope="default"),
        ApplicationLimit(
            _numbers("address"), scope="address", exempt_when=lambda: current_caller().authenticated
        ),
        ApplicationLimit(
            _numbers("unknown_key"),
            scope="unknown_key",
            exempt_when=lambda: not current_caller().sent_unknown_key,
        ),
    ],
    storage_uri=f"{SCHEME}://",
    strategy=STRATEGY,
)


def limit(policy: str, *, cost: Cost = 1) -> Callable[[Any], Any]:
    """Limit a route by a policy, or set its cost in `default`, which every route has.

    `cost` is a number of requests, or a function of the current request that returns one; 0 is
    free. A cost above the quota takes the whole quota.
    """
    if policy not in POLICIES or policy == "address":
        raise ValueError(f"{policy} is none of the policies {', '.join(POLICIES)}")

    def declare(view: Any) -> Any:
        limiter.declared_costs[get_qualified_name(view), policy] = cost
        if policy == "default":
            return view
        return limiter.shared_limit(_numbers(policy), scope=policy, override_defaults=False)(view)

    return declare


def init_app(app: Flask) -> None:
    limiter.init_app(app)
