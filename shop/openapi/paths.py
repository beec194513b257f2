"""The ids of rows in paths."""

from __future__ import annotations

from werkzeug.exceptions import NotFound
from werkzeug.routing import IntegerConverter

from shop.fields import INTEGER_MAX


class RowId(IntegerConverter):
    """The id of a row in a path. What cannot be one is not found, whatever the method."""

    regex = "[1-9][0-9]{0,9}"
    SCHEMA = {  # noqa: RUF012
        "type": "integer",
        "minimum": 1,
        "maximum": INTEGER_MAX,
        "examples": [7],
    }

    def to_python(self, value: str) -> int:
        # The bounds of werkzeug's own converter answer 405 where a path has several routes.
        if int(value) > INTEGER_MAX:
            raise NotFound
        return int(value)
