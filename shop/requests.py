"""Requests as the application sees them."""

from __future__ import annotations

from string import printable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_from_bytes

import flask

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


class Request(flask.Request):
    """A request whose query can be read, whatever bytes it has."""

    def __init__(self, environ: WSGIEnvironment, *args: Any, **options: Any) -> None:
        super().__init__(environ, *args, **options)
        # Some clients send bytes as they are. Text in UTF-8 is meant by them; werkzeug fails for
        # any other, and leaves alone what is percent-encoded.
        if not self.query_string.isascii():
            self.query_string = quote_from_bytes(self.query_string, safe=printable).encode()
