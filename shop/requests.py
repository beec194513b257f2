"""The request class of the application."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import flask

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

ENCODED = {byte: f"%{byte:02X}" for byte in range(0x80, 0x100)}


class Request(flask.Request):
    """A request whose query can be read, whatever bytes are in it."""

    def __init__(self, environ: WSGIEnvironment, *args: Any, **options: Any) -> None:
        super().__init__(environ, *args, **options)
        # Some clients send bytes as they are. werkzeug reads those that are UTF-8 and fails for
        # others; what is percent-encoded it leaves as it is if it cannot be read.
        if not self.query_string.isascii():
            self.query_string = self.query_string.decode("latin-1").translate(ENCODED).encode()
