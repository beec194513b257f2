"""Flask-Limiter, deciding all limits of a request together.

Limits are declared with Flask-Limiter. The library decides them one after the other, each in a
round trip or two, and charges those before the one that refuses. Here its declarations are read
once for each route and tier, and a request asks the counter once for all limits.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import flask_limiter
from flask import current_app, request
from flask_limiter import RequestLimit
from flask_limiter.util import get_qualified_name
from limits import RateLimitItemPerSecond, WindowStats

from shop.caller import current_caller
from shop.config import TIERS, current_settings
from shop.facts import current_facts
from shop.quotas import ADDRESS, CLIENT, Charge, Payers

from . import headers
from .counter import Counter
from .decision import count_decision, policy_names
from .mode import LimitMode
from .policies import GENERAL, OF_ADDRESS

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask, Response
    from flask_limiter._limits import RuntimeLimit

    from shop.facts import Caller
    from shop.quotas import Usage

    from .request_cost import Cost


class Declared(NamedTuple):
    """A limit that a route declares, for clients of one tier."""

    policy: str
    quota: int
    period: int  # seconds
    cost: Cost
    limit: RuntimeLimit

    def applies(self) -> bool:
        return not (self.limit.is_exempt or self.limit.method_exempt)

    def charge(self, *, least: int = 0) -> Charge:
        """Return the charge of the current request: in a general policy `least` or more."""
        cost = self.cost() if callable(self.cost) else self.cost
        if self.policy in GENERAL:
            cost = max(cost, least)
        payer = ADDRESS if self.policy in OF_ADDRESS else CLIENT
        return Charge(self.policy, self.quota, self.period, cost, payer)


class LimiterState(NamedTuple):
    """The counter and the declarations of one application."""

    counter: Counter
    mode: LimitMode
    declared: dict[tuple[str | None, str], list[Declared]]


class DecidedLimit(RequestLimit):
    """A policy that has decided a request, in the library's form. It does not ask Redis again."""

    def __init__(self, limiter: Limiter, payer: str, usage: Usage) -> None:
        item = RateLimitItemPerSecond(usage.quota, usage.period)
        super().__init__(limiter, item, [payer, usage.policy], not usage.passes, shared=True)
        self._left = WindowStats(time.time() + usage.reset, usage.remaining)

    @property
    def window(self) -> WindowStats:
        return self._left


class Limiter(flask_limiter.Limiter):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.declared_costs: dict[
            tuple[str, str], Cost
        ] = {}  # by the names of the view and the policy

    def init_app(self, app: Flask) -> None:
        settings = app.config["SETTINGS"]
        app.config["RATELIMIT_ENABLED"] = settings.rate_limit_enabled
        counter = Counter(app.extensions["shop.redis"], settings.web_concurrency)
        mode = LimitMode(app.extensions["shop.redis"], settings.rate_limit_mode)
        app.extensions["shop.limits"] = LimiterState(counter, mode, {})
        super().init_app(app)
        if settings.rate_limit_enabled:
            # `shop/answers.py` makes the headers, so the library's own hooks for them go.
            app.after_request_funcs[None].pop()
            app.teardown_request_funcs[None].pop()

    @property
    def current_limits(self) -> list[RequestLimit]:
        """Return the policies that have decided the current request, as they were then."""
        known, who = current_facts(), current_caller()
        payers = Payers(who.client, who.address or who.client)
        return [
            DecidedLimit(self, payers.record_of(charge), usage)
            for charge, usage in zip(known.charges, known.usages, strict=True)
        ]

    @property
    def current_limit(self) -> RequestLimit | None:
        """Return the limit that refuses the request, or else has the fewest requests left."""
        limits = self.current_limits
        return min(limits, key=lambda one: (not one.breached, one.remaining), default=None)

    def request_filter(self, fn: Callable[[], bool]) -> NoReturn:
        """Raise RuntimeError: the event loop decides without Flask, and would not ask a filter."""
        raise RuntimeError(
            f"{fn.__name__} would be asked by nobody: use limiter.exempt on the view"
        )

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
        cost = self.declared_costs.get(
            (view, "default" if policy in GENERAL else policy), limit.cost
        )
        return Declared(policy, numbers.amount, numbers.get_expiry(), cost, limit)

    def _check_request_limit(  # type: ignore[override]
        self,
        callable_name: str | None = None,
        in_middleware: bool = True,  # noqa: FBT001, FBT002  (the library's signature)
    ) -> Response | None:
        """Decide a request before its view is called; return the answer that refuses it."""
        if in_middleware:
            return self._decide()
        # The library calls this again for a view with a limit of its own: it is decided already.
        if callable_name != _view_name(request.endpoint):
            raise RuntimeError(f"{callable_name} is no view: limits are declared on views")
        return None

    def _decide(self) -> Response | None:
        who, known = current_caller(), current_facts()
        if known.held_charge:
            known.charges, known.usages = known.held_charge.charges, known.held_charge.usages
        elif charges := self._charges(who):
            payers = Payers(who.client, who.address or who.client)
            known.usages = known.loop_usages or _state().counter.decide(payers, charges)
            known.charges = charges
        else:
            return None
        enforced = _state().mode.enforced
        count_decision(who.client, known.usages, enforced=enforced)
        violated = [usage for usage in known.usages if not usage.passes and enforced]
        if not violated:
            return None
        known.refused_by = policy_names(violated)
        return headers.refuse(violated)

    def _charges(self, who: Caller, *, least: int = 0) -> list[Charge]:
        limits = self.declared(request.endpoint, who.tier)
        return [limit.charge(least=least) for limit in limits if limit.applies()]

    def is_exempt(self) -> bool:
        """Return whether the current route has no limits for any caller."""
        return not self.declared(request.endpoint, TIERS[0])

    def hold(self) -> bool:
        """Charge the caller, a client address, before its credential is looked up.

        Return whether the request passes. It costs one request at least. A charge that is not
        repaid is the decision of the request.
        """
        settings = current_settings()
        if not settings.rate_limit_enabled:
            return True
        charges = self._charges(current_caller(), least=1)
        current_facts().held_charge = held = _state().counter.hold(current_caller().client, charges)
        return held.passes or not _state().mode.enforced

    def repay(self) -> None:
        """Undo the charge of `hold`: the request will be decided for another caller."""
        held, current_facts().held_charge = current_facts().held_charge, None
        if held and held.receipt:
            _state().counter.repay(held.receipt)


def _view_name(endpoint: str | None) -> str:
    view = current_app.view_functions.get(endpoint or "")
    return get_qualified_name(view) if view else ""


def limit_mode() -> LimitMode:
    """Return the mode of the current application."""
    return _state().mode


def _state() -> LimiterState:
    state: LimiterState = current_app.extensions["shop.limits"]
    return state
