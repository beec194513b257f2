"""Named rate limits: declared with Flask-Limiter, counted in Redis.

    default   every request of a client, over the whole API
    write     its writes besides; a route adds it with @write_limit

The numbers are settings. A client is `caller().client`: its key, else its address.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import request
from flask_limiter import ApplicationLimit, Limiter, RateLimitExceeded

from shop.config import current_settings
from shop.keys.caller import caller

from . import headers
from .window import SHARED_WINDOW

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

__all__ = ["POLICIES", "init_app", "limiter", "write_limit"]

# A policy's name, and the setting that holds its quota for one RATE_LIMIT_PERIOD.
POLICIES = {"default": "rate_limit_calls", "write": "write_limit_calls"}


def _limit(policy: str) -> Callable[[], str]:
    def limit() -> str:
        settings = current_settings()
        return f"{getattr(settings, POLICIES[policy])} per {settings.rate_limit_period} second"

    return limit


limiter = Limiter(
    lambda: caller().client,
    application_limits=[ApplicationLimit(_limit("default"), scope="default")],
    strategy=SHARED_WINDOW,
    storage_uri="memory://",  # for a worker that counts alone
    request_identifier=lambda: request.endpoint or "unmatched",
)
limiter.request_filter(lambda: caller().unlimited)
write_limit = limiter.shared_limit(_limit("write"), scope="write", override_defaults=False)


def init_app(app: Flask) -> None:
    app.config["RATELIMIT_ENABLED"] = app.config["SETTINGS"].rate_limit_enabled
    limiter.init_app(app)
    app.after_request(headers.add)
    app.register_error_handler(RateLimitExceeded, headers.refuse)
