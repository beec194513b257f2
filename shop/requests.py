"""The request class of the application."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import flask

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

ENCODED = {byte: f"%{byte:02X}" for byte in range(0x80, 0x100)}


class Request(flask.Request):
    """A request whose query can be read with any bytes in it."""

    def __init__(self, environ: WSGIEnvironment, *args: Any, **options: Any) -> None:
        super().__init__(environ, *args, **options)
        # Some clients send bytes without percent-encoding. werkzeug fails for those that are not
        # UTF-8, and leaves percent-encoded bytes as they are if they are not UTF-8.
        if not self.query_string.isascii():
            self.query_string = self.query_string.decode("latin-1").translate(ENCODED).encode()
