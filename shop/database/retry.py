"""How a request that uses the database is carried out: in its place, and once more if undone."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from flask import Flask, g, has_app_context, request
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from .failures import UNDONE, sqlstate
from .writers import Writers

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue


SAFE = {"GET", "HEAD", "OPTIONS"}  # methods that write nothing (RFC 9110, section 9.2.1)


@event.listens_for(Session, "after_commit")
def _note_commit(_session: Session) -> None:
    if has_app_context():
        g.has_committed = True


class RetryingFlask(Flask):
    """Calls the view of a request again where nothing was done, and the next try may succeed.

    The pooled connection may have led to a server that is a standby now, or others were ahead in
    taking locks. What has been committed is not done twice: then the error stays one.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._writers = Writers()

    def dispatch_request(self) -> ResponseReturnValue:
        with nullcontext() if request.method in SAFE else self._writers.place():
            return self._dispatch()

    def _dispatch(self) -> ResponseReturnValue:
        g.has_committed = False
        try:
            return super().dispatch_request()
        except DBAPIError as error:
            if sqlstate(error) not in UNDONE or g.has_committed:
                raise
            self.extensions["sqlalchemy"].session.remove()
        return super().dispatch_request()
