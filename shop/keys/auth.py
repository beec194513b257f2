"""Identify the caller of each request; let only those with a scope pass."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from flask import g, request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Forbidden, Unauthorized

from shop.config import DATABASE_UNAVAILABLE
from shop.extensions import db
from shop.openapi import Blueprint

from . import service
from .caller import caller, stranger

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

P = ParamSpec("P")
R = TypeVar("R")

NO_KEYS = (
    "Nobody can write yet: set ADMIN_API_KEY, or make a key with "
    "`flask keys create --name NAME --scope catalog:write`."
)


def init_app(app: Flask) -> None:
    app.before_request(_identify_caller)


def _identify_caller() -> None:
    if key := _bearer():
        try:
            g.caller = service.identify(key) or stranger()
        except DATABASE_UNAVAILABLE as error:
            # A read needs no key: without the database it may still be answered from the cache.
            # What needs one is refused when the limits of the address have been charged.
            g.unidentified = error
            db.session.rollback()


def _bearer() -> str | None:
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    return key.strip() or None if scheme.lower() == "bearer" else None


def require_scope(scope: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Refuse a caller without a valid key (401), or whose key lacks the scope (403)."""

    def decorate(view: Callable[P, R]) -> Callable[P, R]:
        @wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            if "unidentified" in g:
                raise g.unidentified
            if not caller().authenticated:
                _refuse()
            if scope not in caller().scopes:
                raise Forbidden(f"This key lacks the scope {scope}.")
            return view(*args, **kwargs)

        documented: Callable[P, R] = Blueprint.doc(security=[{"key": []}])(guarded)
        return documented

    return decorate


def _refuse() -> None:
    if not service.any_key():
        raise Forbidden(NO_KEYS)
    if _bearer():
        invalid = WWWAuthenticate("bearer", {"realm": "shop", "error": "invalid_token"})
        raise Unauthorized("This key is not valid.", www_authenticate=invalid)
    raise Unauthorized(
        "Send a key: Authorization: Bearer KEY.",
        www_authenticate=WWWAuthenticate("bearer", {"realm": "shop"}),
    )
