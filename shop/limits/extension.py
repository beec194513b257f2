"""Flask-Limiter, deciding all limits of a request together.

Limits are declared with Flask-Limiter. It asks for one after the other, each in a round trip or
two, and charges those that come before the one that refuses. Here its declarations are read once
for each route and tier, and a request asks the counter once for all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import flask_limiter
from flask import current_app, g, request
from flask_limiter.util import get_qualified_name

from shop.config import current_settings
from shop.keys.caller import caller

from . import headers
from .counter import Counter
from .decision import Charge, names, refusing

if TYPE_CHECKING:
    from flask import Flask, Response
    from flask_limiter._limits import RuntimeLimit

    from .costs import Cost

DECIDED = "shop.limits.decided"  # the environment's name for what was decided ahead of Flask


class Declared(NamedTuple):
    """A limit of a route, for clients of one tier."""

    policy: str
    quota: int
    period: int  # seconds
    cost: Cost
    limit: RuntimeLimit

    def applies(self) -> bool:
        return not (self.limit.is_exempt or self.limit.method_exempt)

    def charge(self) -> Charge:
        cost = self.cost() if callable(self.cost) else self.cost
        return Charge(self.policy, self.quota, self.period, cost)


class State(NamedTuple):
    """What belongs to one application."""

    counter: Counter
    declared: dict[tuple[str | None, str], list[Declared]]


class Limiter(flask_limiter.Limiter):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.costs: dict[tuple[str, str], Cost] = {}  # by the names of view and policy

    def init_app(self, app: Flask) -> None:
        settings = app.config["SETTINGS"]
        app.config["RATELIMIT_ENABLED"] = settings.rate_limit_enabled
        counter = Counter(app.extensions["shop.redis"], settings.web_concurrency)
        app.extensions["shop.limits"] = State(counter, {})
        super().init_app(app)

    def declared(self, endpoint: str | None, tier: str) -> list[Declared]:
        """Return the limits of a route. Reads the request's caller the first time."""
        declared = _state().declared
        found = declared.get((endpoint, tier))
        if found is None:
            found = declared[endpoint, tier] = self._read_declarations(endpoint)
        return found

    def _read_declarations(self, endpoint: str | None) -> list[Declared]:
        blueprint = endpoint.rpartition(".")[0] if endpoint else None
        resolve = self.limit_manager.resolve_limits
        everywhere, _ = resolve(current_app, endpoint, blueprint, in_middleware=True)
        _, own = resolve(current_app, endpoint, blueprint, in_middleware=False)
        return [self._declared(limit, _view_name(endpoint)) for limit in everywhere + own]

    def _declared(self, limit: RuntimeLimit, view: str) -> Declared:
        policy = limit.scope
        if not isinstance(policy, str) or not limit.shared or limit.key_func != self._key_func:
            raise RuntimeError(f"{limit.limit} is no named policy: use shop.limits.limit")
        if limit.per_method or limit.deduct_when or limit.meta_limits or limit.on_breach:
            raise RuntimeError(f"{policy} has options that are not supported")
        numbers = limit.limit
        cost = self.costs.get((view, policy), limit.cost)
        return Declared(policy, numbers.amount, numbers.get_expiry(), cost, limit)

    def _check_request_limit(  # type: ignore[override]
        self,
        callable_name: str | None = None,
        in_middleware: bool = True,  # noqa: FBT001, FBT002  (the library's signature)
    ) -> Response | None:
        """Decide a request before its view is called; return the answer that refuses it."""
        if in_middleware:
            return self._decide()
        # A view with a limit of its own asks once more: it has been decided with the others.
        if callable_name != _view_name(request.endpoint):
            raise RuntimeError(f"{callable_name} is no view: limits are declared on views")
        return None

    def _decide(self) -> Response | None:
        who = caller()
        limits = self.declared(request.endpoint, who.tier)
        charges = [limit.charge() for limit in limits if limit.applies()]
        if not charges:
            return None
        g.rate_limit_charges = charges
        g.rate_limit_usages = usages = request.environ.get(DECIDED) or _state().counter.decide(
            who.client, charges
        )
        enforced = current_settings().rate_limit_mode == "enforce"
        against = refusing(who.client, usages, enforced=enforced)
        if not against:
            return None
        g.refused = names(against)
        return headers.refuse(against)


def _view_name(endpoint: str | None) -> str:
    view = current_app.view_functions.get(endpoint or "")
    return get_qualified_name(view) if view else ""


def _state() -> State:
    state: State = current_app.extensions["shop.limits"]
    return state
