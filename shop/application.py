"""Flask, without features that the service does not use and each request would pay for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .database.retry import RetryingFlask
from .requests import Request

if TYPE_CHECKING:
    from collections.abc import Callable


class Application(RetryingFlask):
    request_class = Request

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function as it is: no function here is asynchronous.

        Flask and its extensions call this for each hook and for each decorator of a view.
        """
        return func
