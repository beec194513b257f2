"""What is asked of a policy for one request, and what it says."""

from __future__ import annotations

from typing import NamedTuple

from flask import g


class Charge(NamedTuple):
    policy: str
    quota: int
    period: int  # seconds
    cost: int


class Usage(NamedTuple):
    """What a policy decided on a request, and what is left of it then."""

    policy: str
    quota: int
    period: int  # seconds
    used: int
    reset: float  # seconds until some of what is used is free again; 0 if nothing is
    cost: int  # of the request
    passes: bool
    wait: float  # seconds until the request would pass; 0 if it does

    @property
    def remaining(self) -> int:
        return max(0, self.quota - self.used)


def usages() -> list[Usage]:
    """Return what each policy has decided on the current request."""
    found: list[Usage] = g.get("rate_limit_usages", [])
    return found
