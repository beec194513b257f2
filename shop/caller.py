"""The caller of the current request, and the credential that it sends."""

from __future__ import annotations

import re

from flask import request

from .client_address import client_address, network_path
from .config import current_settings
from .facts import Caller, bearer_token, current_facts

SESSION_TOKEN = re.compile(r"session_[A-Za-z0-9_-]{43}")


def sent_token() -> str:
    """Return the token of the request, empty without one."""
    return bearer_token(request.headers.get("Authorization", ""))


def current_caller() -> Caller:
    """Return the request's caller; without a valid key, its address."""
    known = current_facts()
    if known.caller is None:
        known.caller = address_caller()
    return known.caller


def session_id() -> int:
    """Return the id of the caller's session, on a route that requires one."""
    found = current_caller().session_id
    assert found is not None  # noqa: S101  (the route has `require_session`)
    return found


def address_caller(*, sent_unknown_key: bool = False) -> Caller:
    """Return the caller of a request without a valid key or session: its client address."""
    client = request_address()
    return Caller(client, client, sent_unknown_key=sent_unknown_key)


def request_address() -> str:
    """Return the client address of the request."""
    forwarded = request.headers.get("X-Forwarded-For", "")
    return client_address(request.remote_addr or "", forwarded, network_path(current_settings()))
